import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Testing

/// P3: a flipped, missing, swapped or truncated byte gives an error that names the object, and no file.
@Suite("Damage is refused")
struct DamageTests {
    private static func smallFleet(_ folder: TemporaryDirectory, seed: UInt64) async throws -> Small {
        let path = folder.file("small.db")
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("PRAGMA page_size = 1024; CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        try connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
            INSERT INTO t SELECT i, 'row ' || i || hex(randomblob(12)) FROM n
            """)
        let memory = MemoryStore(name: "memory", capacityBytes: 1 << 20)
        let fleet = StoreFleet(store: memory, seed: seed)
        let (id, _) = try await fleet.snapshot(path)
        return Small(
            fleet: fleet, memory: memory, snapshot: id, folder: folder,
            original: try [UInt8](Data(contentsOf: URL(filePath: path))))
    }

    struct Small {
        let fleet: StoreFleet
        let memory: MemoryStore
        let snapshot: SnapshotID
        let folder: TemporaryDirectory
        let original: [UInt8]

        /// Restores from `store`: the exact database, or an error and no file. Anything else is an issue.
        func restoreIsExactOrLoud(from store: any Store, _ what: String) async throws -> Bool {
            let target = folder.file("out-\(Hex.encode(fleet.random.bytes(6))).db")
            do {
                try await fleet.restore(snapshot, to: target, from: store, checkIntegrity: false)
            } catch is any ActionableError {
                #expect(!FileManager.default.fileExists(atPath: target), "\(what) left a file")
                return false
            }
            let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
            #expect(restored == original, "\(what) gave another database")
            try FileManager.default.removeItem(atPath: target)
            return true
        }
    }

    /// Every byte of every object in a small store, each with one random bit flipped.
    @Test(.timeLimit(.minutes(15))) func everyFlippedByteOfASmallStoreIsLoudOrHarmless() async throws {
        let folder = try TemporaryDirectory()
        let small = try await Self.smallFleet(folder, seed: 11)
        let objects = try await small.memory.objects(.all, maximumCount: 100)
        #expect(objects.map(\.byteCount).reduce(0, +) <= 256 << 10)
        var (refused, exact) = (0, 0)
        var generator = SeededGenerator(seed: 11)
        for object in objects {
            let bytes = try await small.memory.read(object.name, maximumBytes: 1 << 20, fresh: false)
            // What a restore from this snapshot never reads cannot change it; what it reads must not pass.
            let isReceipt = object.name.description.hasPrefix("receipts/")
            for index in bytes.indices {
                var flipped = bytes
                flipped[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                let store = OverlayStore(small.memory, [object.name: flipped])
                if try await small.restoreIsExactOrLoud(from: store, "a flip at \(index) of \(object.name)") {
                    exact += 1
                    #expect(
                        isReceipt || Self.isSlack(object.name, index, bytes),
                        "a flip at \(index) of \(object.name) went unseen")
                } else {
                    refused += 1
                }
            }
        }
        print("flipped every byte of \(objects.count) objects: \(refused) refused, \(exact) harmless")
        #expect(refused > 1000)
    }

    /// A pack's magic and directory are not read by a restore, which knows every chunk's place and id from the map.
    private static func isSlack(_ name: ObjectName, _ index: Int, _ bytes: [UInt8]) -> Bool {
        guard name.description.hasPrefix("packs/"), case .pack(let id, _)? = StoredItem(name) else { return false }
        guard let directory = try? PackDirectory.read(of: id, packByteCount: bytes.count, read: { Array(bytes[$0]) })
        else {
            return false
        }
        return !directory.entries.contains { $0.range.contains(index) }
    }

    @Test func aMissingATruncatedAndASwappedObjectAreNamed() async throws {
        let folder = try TemporaryDirectory()
        let small = try await Self.smallFleet(folder, seed: 12)
        let other = try await Self.smallFleet(TemporaryDirectory(), seed: 13)
        let objects = try await small.memory.objects(.all, maximumCount: 100).map(\.name)
        let strangers = try await other.memory.objects(.all, maximumCount: 100).map(\.name)
        for name in objects where !name.description.hasPrefix("receipts/") {
            let bytes = try await small.memory.read(name, maximumBytes: 1 << 20, fresh: false)
            let kind = name.description.prefix { $0 != "/" }
            let stranger = try #require(strangers.first { $0.description.hasPrefix(kind) })
            let foreign = try await other.memory.read(stranger, maximumBytes: 1 << 20, fresh: false)
            for (what, replacement) in [
                ("missing", nil), ("empty", []), ("truncated", Array(bytes.dropLast(bytes.count / 2))),
                ("swapped", foreign),
            ] as [(String, [UInt8]?)] {
                let store = OverlayStore(small.memory, [name: replacement])
                let target = folder.file("\(what).db")
                let error = await #expect(throws: RestoreError.self, "\(what) \(name)") {
                    try await small.fleet.restore(small.snapshot, to: target, from: store)
                }
                let failing = try #require(error?.failing)
                #expect(failing.snapshot == small.snapshot.description)
                #expect(failing.object.hasPrefix(kind.dropLast()), "\(what): \(failing.object)")
                #expect(!FileManager.default.fileExists(atPath: target))
            }
        }
    }
}

/// A store in which some objects read otherwise, or are not there at all.
struct OverlayStore: Store {
    private let base: any Store
    private let changed: [ObjectName: [UInt8]?]

    init(_ base: any Store, _ changed: [ObjectName: [UInt8]?]) { (self.base, self.changed) = (base, changed) }

    var name: String { base.name }

    func beginPut() async throws(StoreError) -> any ObjectWriter { try await base.beginPut() }

    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        guard let change = changed[name] else {
            return try await base.read(name, maximumBytes: maximumBytes, fresh: fresh)
        }
        guard let change else { throw .notFound(store: self.name, object: name) }
        return change
    }

    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        guard let change = changed[name] else { return try await base.read(name, range: range, fresh: fresh) }
        guard let change else { throw .notFound(store: self.name, object: name) }
        // Like a file system: what is behind the end does not come.
        return Array(change.dropFirst(Int(range.lowerBound)).prefix(range.count))
    }

    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        guard let change = changed[name] else { return try await base.byteCount(of: name) }
        return change.map { UInt64($0.count) }
    }

    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor { try await base.list(prefix) }
    func delete(_ name: ObjectName) async throws(StoreError) { try await base.delete(name) }
    func freeBytes() async throws(StoreError) -> UInt64 { try await base.freeBytes() }
}
