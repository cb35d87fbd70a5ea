import Foundation
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterEngine

@Suite("A snapshot comes back through its base chain")
struct ChainTests {
    /// A database in memory that is edited at random, grows and shrinks.
    struct Edits {
        var image: [[UInt8]]
        let pageSize: Int
        var generator: SeededGenerator

        init(pages: Int, pageSize: Int, seed: UInt64) {
            self.pageSize = pageSize
            generator = SeededGenerator(seed: seed)
            image = []
            for _ in 0..<pages { image.append(page()) }
        }

        /// Half of it compresses.
        mutating func page() -> [UInt8] {
            let fill = UInt8.random(in: 0...255, using: &generator)
            return (0..<pageSize).map { $0.isMultiple(of: 2) ? fill : UInt8.random(in: 0...255, using: &generator) }
        }

        mutating func edit() {
            for _ in 0..<Int.random(in: 0...20, using: &generator) where !image.isEmpty {
                let number = Int.random(in: 0..<image.count, using: &generator)
                if Bool.random(using: &generator) {
                    image[number] = page()
                } else {
                    let at = Int.random(in: 0..<pageSize - 8, using: &generator)
                    for index in at..<at + 8 { image[number][index] = UInt8.random(in: 0...255, using: &generator) }
                }
            }
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: image.removeLast(min(image.count, Int.random(in: 1...30, using: &generator)))
            case 1, 2: for _ in 0..<Int.random(in: 1...30, using: &generator) { image.append(page()) }
            // A page that is as it was some time ago is no special case.
            case 3 where image.count > 1: image[0] = image[image.count - 1]
            default: break
            }
        }
    }

    private static func restored(
        _ fleet: StoreFleet, _ written: ChainWriter.Written, from store: (any Store)? = nil,
        in folder: TemporaryDirectory
    ) async throws -> [UInt8] {
        let target = folder.file("out-\(Hex.encode(fleet.random.bytes(6))).db")
        try await fleet.restore(written.place.snapshot, to: target, from: store, checkIntegrity: false)
        let bytes = try [UInt8](Data(contentsOf: URL(filePath: target)))
        try FileManager.default.removeItem(atPath: target)
        return bytes
    }

    struct Shape: Sendable, CustomTestStringConvertible {
        let pages: Int
        let snapshots: Int
        let choices: ChainWriter.Choices
        var testDescription: String { "\(snapshots) snapshots of about \(pages) pages" }
    }

    static let shapes = [
        // More than one group of 1024 pages, changes in the manifest and in map chunks.
        Shape(pages: 2500, snapshots: 60, choices: .init(fullEvery: 25, inlineBytes: 1500)),
        Shape(pages: 200, snapshots: 200, choices: .init(fullEvery: 64, anew: 0.1, mergeAbove: 4)),
        // Around the edge between groups, which the database crosses up and down.
        Shape(pages: 1030, snapshots: 60, choices: .init(fullEvery: 60, inlineBytes: 3000, anew: 0.05, scatter: 0.6)),
        Shape(pages: 0, snapshots: 40, choices: .init(fullEvery: 32)),
    ]

    @Test("every snapshot restores byte for byte, whichever others are gone", arguments: shapes)
    func everySnapshotRestores(shape: Shape) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("ChainTests seed \(seed)")
        let folder = try TemporaryDirectory()
        let memory = MemoryStore(name: "memory", capacityBytes: 1 << 30)
        let fleet = StoreFleet(store: memory, seed: seed)
        var writer = ChainWriter(fleet, seed: seed, choices: shape.choices)
        var edits = Edits(pages: shape.pages, pageSize: 512, seed: seed)
        for _ in 0..<shape.snapshots {
            try await writer.snapshot(edits.image)
            edits.edit()
        }
        #expect(writer.written.contains { $0.chain.count > 3 })
        // What is kept is kept with its base chain's manifests and its live packs, and nothing else.
        let kept = writer.written.filter { _ in Int.random(in: 0..<3, using: &edits.generator) == 0 }
        try await Self.forgetAll(of: writer, but: kept, in: memory)
        for written in kept {
            let restored = try await Self.restored(fleet, written, in: folder)
            #expect(restored == Array(written.image.joined()), "sequence \(written.place.sequence)")
        }
        #expect(try await StoreSource(memory).snapshots == kept.map(\.place))
    }

    /// Expires all snapshots but `kept`, then deletes what nothing needs any more.
    private static func forgetAll(
        of writer: ChainWriter, but kept: [ChainWriter.Written], in store: MemoryStore
    ) async throws {
        let receipts = Set(kept.map(\.place))
        let manifests = Set(kept.flatMap(\.chain).map { writer.written[Int($0)].place })
        let packs = kept.reduce(into: Set<PackID>()) { $0.formUnion($1.live) }
        for object in try await store.objects(.all, maximumCount: 100_000) {
            let isNeeded =
                switch StoredItem(object.name) {
                case .receipt(let place, _): receipts.contains(place)
                case .manifest(let place, _): manifests.contains(place)
                case .pack(let id, _): packs.contains(id)
                default: true
                }
            if !isNeeded { try await store.delete(object.name) }
        }
    }

    @Test func thePlanNamesTheChainAndEveryPackOfIt() async throws {
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 28), seed: 1)
        var writer = ChainWriter(fleet, seed: 1)
        var edits = Edits(pages: 300, pageSize: 512, seed: 1)
        for _ in 0..<8 {
            try await writer.snapshot(edits.image)
            edits.edit()
        }
        let restore = SnapshotRestore(
            source: try await StoreSource(fleet.store), keys: [fleet.keys],
            verifyingKey: fleet.signingKey.verifyingKey, lanes: 2, random: fleet.random)
        let plan = try await restore.plan(writer.written[7].place.snapshot)
        #expect(plan.chain == [0, 4, 6, 7].map { writer.written[$0].place.snapshot })
        #expect(plan.packs == writer.written[7].live)
    }

    /// Who looks at a plan before it is carried out must not be told something else the second time.
    @Test func whatWasPlannedIsRestored() async throws {
        let folder = try TemporaryDirectory()
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 28), seed: 1)
        var writer = ChainWriter(fleet, seed: 1)
        let edits = Edits(pages: 300, pageSize: 512, seed: 1)
        let written = try await writer.snapshot(edits.image)
        let restore = SnapshotRestore(
            source: OneAnswer(try await StoreSource(fleet.store)), keys: [fleet.keys],
            verifyingKey: fleet.signingKey.verifyingKey, lanes: 2, random: fleet.random)
        let plan = try await restore.plan(written.place.snapshot)
        let path = folder.file("planned.db")
        try await restore.run(plan, to: path, checkIntegrity: false)
        #expect(try [UInt8](Data(contentsOf: URL(filePath: path))) == Array(written.image.joined()))
    }

    /// No read from memory hears of the cancellation, nor does the sync: it is looked at before the name is given.
    @Test func whatWasCancelledGetsNoName() async throws {
        let folder = try TemporaryDirectory()
        let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 28), seed: 1)
        var writer = ChainWriter(fleet, seed: 1)
        let edits = Edits(pages: 300, pageSize: 512, seed: 1)
        let written = try await writer.snapshot(edits.image)
        let restore = SnapshotRestore(
            source: try await StoreSource(fleet.store), keys: [fleet.keys],
            verifyingKey: fleet.signingKey.verifyingKey, lanes: 2, random: fleet.random)
        let plan = try await restore.plan(written.place.snapshot)
        let path = folder.file("cancelled.db")
        await #expect(throws: CancellationError.self) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.cancelAll()
                group.addTask { try await restore.run(plan, to: path, checkIntegrity: false) }
                try await group.waitForAll()
            }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    }

    /// Gives a manifest once.
    private final class OneAnswer: SnapshotSource {
        private let source: StoreSource
        private let given = Mutex(false)

        init(_ source: StoreSource) { self.source = source }

        var name: String { source.name }

        func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
            let isFirst = given.withLock { given in
                defer { given = true }
                return !given
            }
            guard isFirst else { throw ObjectUnavailable(reason: "it was given before") }
            return try await source.manifest(of: snapshot, after: refused)
        }

        func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
            try await source.read(pack, range, after: refused)
        }
    }

    @Test func chunksThatManyGroupsNeedAreReadInFewReads() async throws {
        let folder = try TemporaryDirectory()
        let memory = MemoryStore(name: "memory", capacityBytes: 1 << 28)
        let fleet = StoreFleet(store: memory, seed: 2)
        var writer = ChainWriter(
            fleet, seed: 2, choices: .init(inlineBytes: 4000, packBytes: 8 << 20, anew: 0, scatter: 0))
        var edits = Edits(pages: 10 * 1024, pageSize: 512, seed: 2)
        try await writer.snapshot(edits.image)
        // Each of ten groups has pages in the same few chunks of one pack.
        for number in stride(from: 0, to: edits.image.count, by: 37) { edits.image[number][3] ^= 1 }
        let written = try await writer.snapshot(edits.image)
        let counting = CountingStore(memory)
        #expect(try await Self.restored(fleet, written, from: counting, in: folder) == Array(written.image.joined()))
        // Of the pages' pack; the groups' maps, their extents, the change chunks; two manifests.
        #expect(counting.packReads <= 10 + 10 + 4 * 10, "\(counting.packReads) reads")
        #expect(counting.bytesRead <= 3 * written.image.count * 512 / 2, "\(counting.bytesRead) bytes")
    }

    @Test func aCacheKeepsToItsBound() {
        let cache = BoundedCache<Int, Int>(limitBytes: 100)
        for key in 0..<10 { cache.insert(key, for: key, byteCount: 30) }
        #expect((0..<10).compactMap { cache[$0] } == [7, 8, 9])
        _ = cache[7]
        cache.insert(10, for: 10, byteCount: 10)
        cache.insert(11, for: 11, byteCount: 20)
        #expect([7, 8, 9, 10, 11].compactMap { cache[$0] } == [7, 9, 10, 11])
        cache.insert(12, for: 12, byteCount: 101)
        #expect(cache[12] == nil && cache[7] == 7)
    }
}

/// Counts what is read of packs.
final class CountingStore: Store {
    private let base: any Store
    private let counts = Mutex<(reads: Int, bytes: Int)>((0, 0))

    init(_ base: any Store) { self.base = base }

    var name: String { base.name }
    var packReads: Int { counts.withLock(\.reads) }
    var bytesRead: Int { counts.withLock(\.bytes) }

    func beginPut() async throws(StoreError) -> any ObjectWriter { try await base.beginPut() }
    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await base.read(name, maximumBytes: maximumBytes, fresh: fresh)
    }
    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        counts.withLock { $0 = ($0.reads + 1, $0.bytes + range.count) }
        return try await base.read(name, range: range, fresh: fresh)
    }
    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? { try await base.byteCount(of: name) }
    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor { try await base.list(prefix) }
    func delete(_ name: ObjectName) async throws(StoreError) { try await base.delete(name) }
    func freeBytes() async throws(StoreError) -> UInt64 { try await base.freeBytes() }
}
