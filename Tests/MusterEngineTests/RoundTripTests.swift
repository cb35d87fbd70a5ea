import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Testing

@Suite("Snapshot and restore")
struct RoundTripTests {
    struct Shape: CustomTestStringConvertible, Sendable {
        let pageSize: Int
        let journalMode: String
        let rows: Int
        var testDescription: String { "\(journalMode), pages of \(pageSize), \(rows) rows" }
    }

    static let shapes =
        [512, 4096, 65_536].flatMap { pageSize in
            ["wal", "delete", "truncate", "persist", "memory", "off"].map {
                Shape(pageSize: pageSize, journalMode: $0, rows: 500)
            }
        } + [
            Shape(pageSize: 4096, journalMode: "wal", rows: 0), Shape(pageSize: 4096, journalMode: "delete", rows: 0),
            Shape(pageSize: 1024, journalMode: "wal", rows: 60_000),
        ]

    @Test("a restored database is the captured one, byte for byte", arguments: shapes)
    func aRestoredDatabaseIsTheCapturedOne(shape: Shape) async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("live ünï \"quoted\"\n.db")
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("PRAGMA page_size = \(shape.pageSize); PRAGMA journal_mode = \(shape.journalMode)")
        try connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        try connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(shape.rows))
            INSERT INTO t SELECT i, randomblob(i % 300) FROM n WHERE \(shape.rows) > 0
            """)
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 30), seed: 1)
        let reference = Captured()
        let (id, prepared) = try await fleet.snapshot(path) { reference.set(try $0.referenceImage()) }
        let target = folder.file("restored.db")
        try await fleet.restore(id, to: target)
        let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
        #expect(restored == reference.get())
        #expect(UInt64(restored.count) == prepared.geometry.sizeBytes)
        #expect(FileManager.default.fileExists(atPath: target + "-wal") == false)
    }

    @Test func anEmptyDatabaseComesBackEmpty() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("empty.db")
        try Data().write(to: URL(filePath: path))
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 20), seed: 2)
        let (id, prepared) = try await fleet.snapshot(path)
        #expect(prepared.geometry.pageCount == 0)
        #expect(prepared.packsSinceParent.added.isEmpty)
        try await fleet.restore(id, to: folder.file("restored.db"))
        #expect(try Data(contentsOf: URL(filePath: folder.file("restored.db"))).isEmpty)
    }

    @Test func aSecondSnapshotSendsOnlyWhatChanged() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("live.db")
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        try connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO t SELECT i, randomblob(300) FROM n
            """)
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 30), seed: 3)
        let first = try await fleet.snapshot(path)
        try connection.execute("UPDATE t SET body = randomblob(300) WHERE id = 77")
        let second = try await fleet.snapshot(path)
        #expect(first.prepared.figures.presentChunkCount == 0)
        #expect(second.prepared.figures.chunkCount - second.prepared.figures.presentChunkCount <= 2)
        try await fleet.restore(second.id, to: folder.file("second.db"))
        try await fleet.restore(first.id, to: folder.file("first.db"))
    }

    @Test func aSmallSnapshotIsOneSmallPackInsideItsCommit() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("small.db")
        try SQLiteConnection(path: path, access: .readWrite).execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 20), seed: 4)
        let (_, prepared) = try await fleet.snapshot(path)
        #expect(prepared.inlinePacks.count == 1)
        #expect(prepared.packsSinceParent.added.count == 1)
    }

    @Test func aLargeOneFillsPacksToTheirTargetAndComesBack() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("large.db")
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        try connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
            INSERT INTO t SELECT i, randomblob(3000) FROM n
            """)
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 30), seed: 5)
        var settings = fleet.settings()
        settings.targetPackBytes = 2 << 20
        let (id, prepared) = try await fleet.snapshot(path, settings: settings)
        #expect(prepared.packsSinceParent.added.count > 10)
        try await fleet.restore(id, to: folder.file("restored.db"))
        let same =
            try Data(contentsOf: URL(filePath: path)) == Data(contentsOf: URL(filePath: folder.file("restored.db")))
        #expect(same)
    }

    @Test func whatStandsAtTheTargetIsNeverReplaced() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("live.db")
        try SQLiteConnection(path: path, access: .readWrite).execute("CREATE TABLE t (a)")
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 20), seed: 6)
        let (id, _) = try await fleet.snapshot(path)
        let before = try Data(contentsOf: URL(filePath: path))
        await #expect(throws: RestoreError.self) { try await fleet.restore(id, to: path) }
        #expect(try Data(contentsOf: URL(filePath: path)) == before)
    }

    @Test func staleSidecarsOfTheTargetsNameAreMovedAside() async throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("live.db")
        try SQLiteConnection(path: path, access: .readWrite).execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 20), seed: 7)
        let (id, _) = try await fleet.snapshot(path)
        let target = folder.file("restored.db")
        for suffix in ["-wal", "-shm", "-journal"] { try Data("stale".utf8).write(to: URL(filePath: target + suffix)) }
        try await fleet.restore(id, to: target)
        for suffix in ["-wal", "-shm", "-journal"] {
            #expect(!FileManager.default.fileExists(atPath: target + suffix))
            #expect(FileManager.default.fileExists(atPath: target + suffix + ".before-restore"))
        }
    }
}

/// One value that a capture's thread hands to the test.
final class Captured: @unchecked Sendable {
    // Written by the capture's thread before the snapshot returns, read after it.
    private var value: [UInt8]?
    func set(_ value: [UInt8]?) { self.value = value }
    func get() -> [UInt8]? { value }
}
