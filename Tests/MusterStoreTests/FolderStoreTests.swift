import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterStore

@Suite("A folder store")
struct FolderStoreTests {
    @Test func isFoundAgainWithItsID() async throws {
        let fixture = try await FolderFixture()
        try await fixture.store.put(.some(1), [1, 2, 3])
        let again = try await fixture.reopen()
        #expect(again.id == fixture.store.id)
        #expect(try await again.read(.some(1), maximumBytes: 3) == [1, 2, 3])
        let record = try String(contentsOfFile: "\(fixture.path)/format.json", encoding: .utf8)
        #expect(record.contains("\"created\" : \"2026-01-01T00:00:00Z\""))
    }

    @Test func isNotMadeAmongOtherFiles() async throws {
        let directory = try TemporaryDirectory()
        try Data("mine".utf8).write(to: directory.url.appending(path: "letter.txt"))
        await #expect(throws: StoreError.folderNotEmpty(path: directory.path)) {
            _ = try await FolderStore.create(at: directory.path, name: "s", random: .seeded(1), clock: ManualClock())
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["letter.txt"])
    }

    @Test func isNotMadeTwice() async throws {
        let fixture = try await FolderFixture()
        await #expect(throws: StoreError.alreadyExists(store: "disk", object: .format)) {
            _ = try await FolderStore.create(
                at: fixture.path, name: "disk", random: .seeded(1), clock: ManualClock())
        }
        #expect(try await fixture.reopen().id == fixture.store.id)
    }

    @Test func isMadeWhereMakingItWasCutShort() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("incoming")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try Data("half".utf8).write(to: URL(filePath: path + "/0123"))
        let store = try await FolderStore.create(
            at: directory.path, name: "s", random: .seeded(1), clock: ManualClock())
        #expect(try await store.objects(.all, maximumCount: 9).map(\.name) == [.format])
        #expect(try FileManager.default.contentsOfDirectory(atPath: path).isEmpty)
    }

    @Test(arguments: [
        nil, "", "{}", "[1]", #"{"version":1,"store":"xyz","created":""}"#,
        #"{"version":2,"store":"00112233445566778899aabbccddeeff","created":""}"#,
    ])
    func aForeignFolderIsNotOpened(record: String?) async throws {
        let directory = try TemporaryDirectory()
        if let record { try Data(record.utf8).write(to: directory.url.appending(path: "format.json")) }
        await #expect {
            _ = try await FolderStore.open(at: directory.path, name: "s", random: .seeded(1))
        } throws: { error in
            if case StoreError.notAStore = error { true } else { false }
        }
    }

    @Test func aMissingFolderIsNotOpened() async throws {
        let path = try TemporaryDirectory().file("nothing")
        await #expect(throws: StoreError.notAStore(path: path, reason: "there is no such folder")) {
            _ = try await FolderStore.open(at: path, name: "s", random: .seeded(1))
        }
    }

    @Test func leftoversOfACrashAreReapedAndLivingWritersAreNot() async throws {
        let fixture = try await FolderFixture()
        try Data("left".utf8).write(to: URL(filePath: fixture.path + "/incoming/dead"))
        let writer = try await fixture.store.beginPut()
        try await writer.write([1, 2, 3])
        #expect(try fixture.incoming().count == 2)

        _ = try await fixture.reopen()
        #expect(try fixture.incoming().count == 1)
        try await writer.commit(as: .some(1))
        #expect(try await fixture.store.read(.some(1), maximumBytes: 3) == [1, 2, 3])
        #expect(try fixture.incoming().isEmpty)
    }

    @Test func aWriterThatIsDroppedLeavesNothing() async throws {
        let fixture = try await FolderFixture()
        do {
            let writer = try await fixture.store.beginPut()
            try await writer.write([UInt8](repeating: 1, count: 10_000))
            #expect(try fixture.incoming().count == 1)
        }
        #expect(try fixture.incoming().isEmpty)
    }

    @Test func aReaderOnlyOpensWithoutTouchingAnything() async throws {
        let fixture = try await FolderFixture()
        try Data("left".utf8).write(to: URL(filePath: fixture.path + "/incoming/dead"))
        let reader = try await fixture.reopen(access: .readOnly)
        #expect(try fixture.incoming() == ["dead"])
        await #expect(throws: StoreError.readOnly(store: "disk")) { try await reader.put(.some(1), [1]) }
        await #expect(throws: StoreError.readOnly(store: "disk")) { try await reader.delete(.format) }
    }

    @Test func filesAreForTheirOwnerAlone() async throws {
        let fixture = try await FolderFixture()
        try await fixture.store.put(.some(1), [1])
        let name = try ObjectName.some(1).description
        for (path, mode) in [(name, 0o600), (String(name.prefix(8)), 0o700), ("incoming", 0o700), ("", 0o700)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(fixture.path)/\(path)")
            #expect(attributes[.posixPermissions] as? Int == mode, "\(path)")
        }
    }

    @Test func aLinkInAnObjectsPlaceIsNotFollowed() async throws {
        let fixture = try await FolderFixture()
        try await fixture.store.put(.some(1), [1])
        let secret = fixture.directory.file("secret")
        try Data("secret".utf8).write(to: URL(filePath: secret))
        let name = try #require(ObjectName("packs/link"))
        try FileManager.default.createSymbolicLink(
            atPath: "\(fixture.path)/\(name)", withDestinationPath: secret)

        await #expect(throws: StoreError.self) { try await fixture.store.read(name, maximumBytes: 100) }
        #expect(try await fixture.store.byteCount(of: name) == nil)
        #expect(try await fixture.store.objects(.packs, maximumCount: 9).map(\.name) == [.some(1)])
        await #expect(throws: StoreError.alreadyExists(store: "disk", object: name)) {
            try await fixture.store.put(name, [9])
        }
        #expect(try String(contentsOfFile: secret, encoding: .utf8) == "secret")
    }

    @Test(.timeLimit(.minutes(10)))
    func aPipeInAnObjectsPlaceDoesNotHang() async throws {
        let fixture = try await FolderFixture()
        let name = try #require(ObjectName("packs/pipe"))
        try await fixture.store.put(.some(1), [1])
        #expect(mkfifo("\(fixture.path)/\(name)", 0o600) == 0)
        await #expect(throws: StoreError.notFound(store: "disk", object: name)) {
            try await fixture.store.read(name, maximumBytes: 100)
        }
    }

    @Test func aFolderThatVanishedIsMadeAgain() async throws {
        let fixture = try await FolderFixture()
        try await fixture.store.put(.some(1), [1])
        try FileManager.default.removeItem(atPath: "\(fixture.path)/packs")
        try await fixture.store.put(.some(1), [2])
        #expect(try await fixture.store.read(.some(1), maximumBytes: 1) == [2])
    }

    @Test func foreignFilesAreNotListed() async throws {
        let fixture = try await FolderFixture()
        try await fixture.store.put(.some(1), [1])
        for name in [".hidden", "with space", "packs/.nfs0001"] {
            try Data("x".utf8).write(to: URL(filePath: fixture.path + "/" + name))
        }
        let listed = try await fixture.store.objects(.all, maximumCount: 9).map(\.name)
        #expect(Set(listed) == [.format, try .some(1)])
    }
}
