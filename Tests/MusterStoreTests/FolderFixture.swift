import Foundation
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

/// A folder store in a folder of the test's own.
struct FolderFixture {
    let directory: TemporaryDirectory
    let path: String
    let store: FolderStore

    init() async throws {
        directory = try TemporaryDirectory()
        path = directory.file("store")
        store = try await FolderStore.create(at: path, name: "disk", random: .seeded(7), clock: ManualClock())
    }

    func reopen(access: FolderStore.Access = .readWrite) async throws -> FolderStore {
        try await FolderStore.open(at: path, name: "disk", random: .seeded(8), access: access)
    }

    /// The names of unfinished objects.
    func incoming() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/incoming")
    }
}

extension ObjectName {
    /// A pack's name that a test does not care about.
    static func some(_ seed: UInt64) throws -> ObjectName {
        let random = RandomSource.seeded(seed)
        let id = try #require(PackID(bytes: random.bytes(32)))
        return .pack(id, Generation(from: random))
    }
}
