import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Testing

/// P6: what one store has damaged or lost comes from another.
@Suite("A restore from several stores")
struct ReplicaTests {
    enum Damage: CaseIterable { case flipped, truncated, missing }

    private struct Pair {
        let fleet: StoreFleet
        let one, two: MemoryStore
        let snapshot: SnapshotID
        let original: [UInt8]
        let folder: TemporaryDirectory

        /// Two stores with the same objects.
        static func make(seed: UInt64) async throws -> Pair {
            let folder = try TemporaryDirectory()
            let path = folder.file("small.db")
            let connection = try SQLiteConnection(path: path, access: .readWrite)
            try connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
            try connection.execute(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
                INSERT INTO t SELECT i, randomblob(4000) FROM n
                """)
            let (one, two) = (MemoryStore(name: "one"), MemoryStore(name: "two"))
            let fleet = StoreFleet(store: one, seed: seed)
            let (id, _) = try await fleet.snapshot(path)
            for object in try await one.objects(.all, maximumCount: 100) {
                try await two.put(object.name, try await one.read(object.name, maximumBytes: 1 << 24, fresh: false))
            }
            return Pair(
                fleet: fleet, one: one, two: two, snapshot: id,
                original: try [UInt8](Data(contentsOf: URL(filePath: path))), folder: folder)
        }

        func restored(from stores: [any Store]) async throws -> [UInt8] {
            try await restoredTelling(from: stores).bytes
        }

        /// Also what was refused on the way.
        func restoredTelling(from stores: [any Store]) async throws -> (bytes: [UInt8], refused: [Failing]) {
            var sources: [StoreSource] = []
            for store in stores { sources.append(try await StoreSource(store)) }
            let restore = SnapshotRestore(
                source: StoresSource(sources), keys: [fleet.keys], verifyingKey: fleet.signingKey.verifyingKey,
                lanes: 2, random: fleet.random)
            let target = folder.file("out-\(Hex.encode(fleet.random.bytes(6))).db")
            _ = try await restore.run(snapshot, to: target, checkIntegrity: true)
            return (try [UInt8](Data(contentsOf: URL(filePath: target))), restore.refusals.all)
        }

        func damaged(_ damage: Damage, _ name: ObjectName, in store: MemoryStore) async throws -> OverlayStore {
            var bytes = try await store.read(name, maximumBytes: 1 << 24, fresh: false)
            switch damage {
            case .flipped: for index in stride(from: 40, to: bytes.count, by: 997) { bytes[index] ^= 4 }
            case .truncated: bytes.removeLast(bytes.count / 2)
            case .missing: return OverlayStore(store, [name: nil])
            }
            return OverlayStore(store, [name: bytes])
        }
    }

    @Test(arguments: Damage.allCases, [ObjectPrefix.packs, .manifests])
    func aBadReplicaIsPassedOverForAGoodOne(damage: Damage, kind: ObjectPrefix) async throws {
        let pair = try await Pair.make(seed: 31)
        for object in try await pair.one.objects(kind, maximumCount: 100) {
            let bad = try await pair.damaged(damage, object.name, in: pair.one)
            #expect(try await pair.restored(from: [bad, pair.two]) == pair.original, "\(object.name)")
            #expect(try await pair.restored(from: [pair.two, bad]) == pair.original, "\(object.name)")
        }
    }

    /// A good replica must not hide the bad one: the next fault would find no other.
    @Test(arguments: Damage.allCases, [ObjectPrefix.packs, .manifests])
    func theBadReplicaThatWasPassedOverIsNamed(damage: Damage, kind: ObjectPrefix) async throws {
        let pair = try await Pair.make(seed: 34)
        let object = try #require(try await pair.one.objects(kind, maximumCount: 100).first)
        let bad = try await pair.damaged(damage, object.name, in: pair.one)
        let refused = try await pair.restoredTelling(from: [bad, pair.two]).refused
        #expect(refused.map(\.store) == ["one"] && refused[0].snapshot == "\(pair.snapshot)", "\(refused)")
        #expect(
            refused[0].object.hasPrefix(kind == .packs ? "pack " : "manifest of snapshot ")
                && !refused[0].reason.isEmpty)
        #expect(try await pair.restoredTelling(from: [pair.two, bad]).refused == [], "nobody met it")
        #expect(try await pair.restoredTelling(from: [pair.one, pair.two]).refused == [])
    }

    /// Each has another object damaged.
    @Test func whatNoStoreHasWholeOneByOneComesFromBoth() async throws {
        let pair = try await Pair.make(seed: 32)
        let pack = try #require(try await pair.one.objects(.packs, maximumCount: 10).first)
        let manifest = try #require(try await pair.one.objects(.manifests, maximumCount: 10).first)
        let one = try await pair.damaged(.flipped, pack.name, in: pair.one)
        let two = try await pair.damaged(.flipped, manifest.name, in: pair.two)
        #expect(try await pair.restored(from: [one, two]) == pair.original)
    }

    @Test func whereNoneIsGoodTheFirstIsBlamed() async throws {
        let pair = try await Pair.make(seed: 33)
        let pack = try #require(try await pair.one.objects(.packs, maximumCount: 10).first)
        let one = try await pair.damaged(.flipped, pack.name, in: pair.one)
        let two = try await pair.damaged(.flipped, pack.name, in: pair.two)
        let error = await #expect(throws: RestoreError.self) { try await pair.restored(from: [one, two]) }
        let failing = try #require(error?.failing)
        #expect(failing.store == "one" && failing.object.hasPrefix("pack "))
        let left = try FileManager.default.contentsOfDirectory(atPath: pair.folder.url.path(percentEncoded: false))
        #expect(left.filter { $0.hasPrefix("out-") } == [])
    }
}
