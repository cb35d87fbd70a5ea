import Foundation
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Testing

@Suite("Snapshots that tell what changed")
struct IncrementalTests {
    private let folder: TemporaryDirectory
    private let path: String

    init() throws {
        folder = try TemporaryDirectory()
        path = folder.file("source.db")
    }

    private func fleet(_ seed: UInt64) -> StoreFleet {
        StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 30), seed: seed)
    }

    private func execute(_ sql: String) throws {
        try SQLiteConnection(path: path, access: .readWrite).execute(sql)
    }

    /// A table of rows that take about four to a page.
    private func fill(_ rows: Int, pageSize: Int = 4096) throws {
        try execute(
            """
            PRAGMA page_size = \(pageSize); CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB, n INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(rows))
            INSERT INTO t SELECT i, randomblob(800), 0 FROM n
            """)
    }

    private func restored(_ taken: LineageRig.Taken, _ fleet: StoreFleet) async throws -> Data {
        let target = folder.file("restored-\(taken.id).db")
        try await fleet.restore(taken.id, to: target)
        defer { try? FileManager.default.removeItem(atPath: target) }
        return try Data(contentsOf: URL(filePath: target))
    }

    private var source: Data { get throws { try Data(contentsOf: URL(filePath: path)) } }

    /// As after a page of the state file was damaged: the agent lives on, and drops the ledger.
    @Test func aLedgerWithoutAPackThatItNamesIsRefused() async throws {
        try fill(2000)
        let rig = try LineageRig(fleet(41), path: path)
        _ = try await rig.take()
        try SQLiteConnection(path: rig.stateFile, access: .readWrite).execute("DELETE FROM ledger_pack")
        try execute("UPDATE t SET body = randomblob(800)")
        await #expect(throws: LedgerError.self) { _ = try await rig.take() }
    }

    @Test func aSmallChangeIsSentAsDifferences() async throws {
        try fill(20_000)
        let fleet = fleet(1)
        let rig = try LineageRig(fleet, path: path)
        let first = try #require(try await rig.take())
        #expect(first.manifest.publicPart.isFull)
        try execute("UPDATE t SET n = n + 1 WHERE id % 200 = 7")
        let second = try #require(try await rig.take())
        #expect(!second.manifest.publicPart.isFull)
        // 100 pages of 4 KiB of noise: as they are they would take 400 KB.
        #expect(second.manifest.publicPart.sealedBytesAdded < 8_000)
        #expect(second.manifest.bytes.count < 8_000)
        #expect(try await restored(second, fleet) == source)
    }

    @Test func fewChunksSupplyOneExtent() async throws {
        try fill(100, pageSize: 512)
        let fleet = fleet(6)
        let rig = try LineageRig(fleet, path: path)
        var most = 0
        for id in (1...40).reversed() {
            // One page more each time, out of 128, in an order in which merging packs joins no chunks.
            try execute("UPDATE t SET n = 1 WHERE id = \(id)")
            _ = try await rig.take()
            let ledger = try #require(try rig.state.ledger(of: rig.database)).ledger
            let chunks = try ledger.extents([0]).map { Set($0.supplies.map(\.scatter)).count }
            most = max(most, chunks.max() ?? 0)
        }
        #expect(most == 16)
        #expect(try await restored(try #require(rig.taken.last), fleet) == source)
    }

    @Test func withoutTheCacheItIsSentAsPages() async throws {
        try fill(20_000)
        let fleet = fleet(2)
        let rig = try LineageRig(fleet, path: path, cacheBytes: 0)
        _ = try await rig.take()
        try execute("UPDATE t SET n = n + 1 WHERE id % 200 = 7")
        let second = try #require(try await rig.take())
        #expect((300_000..<600_000).contains(second.manifest.publicPart.sealedBytesAdded))
        #expect(try await restored(second, fleet) == source)
    }

    @Test func nothingChangedMakesNoSnapshotUnlessAsked() async throws {
        try fill(500)
        let rig = try LineageRig(fleet(3), path: path)
        _ = try await rig.take()
        #expect(try await rig.take(skipsUnchanged: true) == nil)
        let asked = try #require(try await rig.take())
        #expect(asked.manifest.publicPart.sealedBytesAdded == 0)
    }

    @Test func aPackThatDiesAndComesBackIsCountedOnce() async throws {
        try fill(500)
        try execute("PRAGMA journal_mode = wal")
        let fleet = fleet(4)
        let rig = try LineageRig(fleet, path: path)
        // In WAL mode the header does not change with a commit, so equal rows make equal packs.
        for step in 0..<24 {
            try execute("UPDATE t SET n = \(step % 2) WHERE id = 5")
            _ = try await rig.take()
        }
        // The same pack was needed, not needed, and needed again.
        #expect(Set(rig.taken.map(\.packs)).count < rig.taken.count)
        #expect(try await restored(try #require(rig.taken.last), fleet) == source)
    }

    @Test func equalChangesOfDifferentPagesMakeOnePack() async throws {
        try fill(500)
        try execute("PRAGMA journal_mode = wal")
        let fleet = fleet(5)
        let rig = try LineageRig(fleet, path: path)
        for id in 200..<230 {
            _ = try await rig.take()
            // On each page in the same place: the header does not change with a commit in WAL mode.
            try execute("UPDATE t SET n = 1 WHERE id = \(id)")
        }
        let last = try #require(try await rig.take())
        // A pack that an earlier page needs still, and the rig holds each manifest to that.
        #expect(rig.taken.dropFirst().contains { $0.manifest.publicPart.packsSinceParent.added.isEmpty })
        #expect(try await restored(last, fleet) == source)
    }

    @Test(arguments: [512, 1024, 4096, 8192, 32_768, 65_536], [0, 1 << 30])
    func everySnapshotOfARandomHistoryComesBack(pageSize: Int, cacheBytes: Int) async throws {
        let seed = UInt64(pageSize + cacheBytes)
        print("random history: pages of \(pageSize), cache of \(cacheBytes), seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try fill(pageSize < 4096 ? 500 : 1500, pageSize: pageSize)
        let fleet = fleet(seed)
        let rig = try LineageRig(fleet, path: path, cacheBytes: cacheBytes)
        var images: [(taken: LineageRig.Taken, image: Data)] = []
        for step in 0..<40 {
            try change(&random)
            let taken = try #require(try await rig.take(loses: step % 13 == 12))
            images.append((taken, try source))
        }
        for (taken, image) in images {
            let isSame = try await restored(taken, fleet) == image
            #expect(isSame, "snapshot \(taken.manifest.publicPart.sequence)")
        }
        let newest = try #require(images.last)
        #expect(newest.taken.packs.count <= 64 + newest.image.count >> 24)
        #expect(newest.taken.manifest.publicPart.storedBytes <= 5 * UInt64(newest.image.count) / 2)
    }

    private func change(_ random: inout SeededGenerator) throws {
        let id = Int.random(in: 0..<1500, using: &random) + 1
        switch Int.random(in: 0..<10, using: &random) {
        case 0: try execute("DELETE FROM t WHERE id BETWEEN \(id) AND \(id + 60)")
        case 1: try execute("VACUUM")
        case 2:
            try execute(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)
                INSERT INTO t(body, n) SELECT randomblob(700), i FROM n
                """)
        case 3: try execute("UPDATE t SET body = randomblob(800) WHERE id BETWEEN \(id) AND \(id + 90)")
        default: try execute("UPDATE t SET n = n + 1 WHERE id % 97 = \(id % 97)")
        }
    }
}
