import Foundation
import MusterTestSupport
import Testing

@testable import MusterFormat
@testable import MusterModel

/// Regenerate with `MUSTER_WRITE_VECTORS=1 swift test --filter VectorTests`: only when version 1 was not yet
/// released, or for a file that is new.
@Suite("Stored bytes do not change", .serialized)
struct VectorTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    /// Files without a zstd frame, whose bytes another libzstd does not change.
    private static let uncompressed: Set = [
        "keys.json", "hash-tree.json", "snapshot.map.plain", "chunk-extent-stored.sealed",
        "chunk-scatter-stored.sealed",
        "node.keys", "coordinator.sealed", "recovery.key", "grant-keys.json", "restore.grant", "restore-own.grant",
    ]
    private static let folder = root.appending(path: "proto/vectors")

    @Test func todaysCodeWritesTheCommittedBytes() throws {
        let difference = try Data(contentsOf: Self.folder.appending(path: GoldenVectors.differencePlainName))
        let files = try GoldenVectors.files(differencePlain: Array(difference))
        if ProcessInfo.processInfo.environment["MUSTER_WRITE_VECTORS"] == "1" {
            for (name, bytes) in files { try Data(bytes).write(to: Self.folder.appending(path: name)) }
        }
        for (name, bytes) in files.sorted(by: { $0.key < $1.key })
        where Zstandard.version == 10_504 || Self.uncompressed.contains(name) {
            let committed = Array(try Data(contentsOf: Self.folder.appending(path: name)))
            #expect(committed == bytes, "\(name) changed")
        }
        let present = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path())
        #expect(Set(present) == Set(files.keys).union([GoldenVectors.differencePlainName, "README.md"]))
    }

    @Test func anIndependentReaderAgrees() throws {
        let reading = try runReader(on: Self.folder)
        #expect(reading.status == 0, "\(reading.output)")
    }

    @Test(arguments: [
        "snapshot.pack", "snapshot.manifest", "snapshot.receipt", "node.keys", "coordinator.sealed", "hash-tree.json",
        "chunk-extent-zstd.sealed", "chunk-extent-stored.sealed", "chunk-difference.sealed", "keys.json",
        "delta-1.manifest", "delta-1.pack", "delta-2.manifest", "delta-2.pack", "delta-3.manifest",
        "grant-keys.json", "restore.grant", "restore-own.grant",
    ])
    func theIndependentReaderSeesAChange(name: String) throws {
        let copy = FileManager.default.temporaryDirectory.appending(path: "muster-vectors-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: Self.folder.resolvingSymlinksInPath(), to: copy)
        defer {
            // A temporary folder that stays behind harms nobody.
            try? FileManager.default.removeItem(at: copy)
        }
        let file = copy.appending(path: name)
        var bytes = Array(try Data(contentsOf: file))
        bytes[bytes.count / 2] ^= 1
        try Data(bytes).write(to: file)
        let reading = try runReader(on: copy)
        #expect(reading.status != 0, "the reader took a changed \(name)")
    }

    /// Debian's Python, whose `cryptography` is a package of the system.
    private func runReader(on folder: URL) throws -> (status: Int32, output: String) {
        let reader = Self.root.appending(path: "Tests/MusterFormatTests/read_vectors.py").path()
        // Without -B it would leave compiled modules among the sources.
        return try ChildProcess.run("/usr/bin/python3", ["-B", reader, folder.path()])
    }
}
