import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

/// P3 for base chains: what is flipped, missing, swapped, stale or a lie gives an error that names it, and no file.
@Suite("Damage of a base chain is refused")
struct ChainDamageTests {
    private static let choices = ChainWriter.Choices(inlineBytes: 400, anew: 0.3, scatter: 0.5)

    private struct Chain {
        let memory = MemoryStore(name: "memory", capacityBytes: 1 << 26)
        let fleet: StoreFleet
        let folder: TemporaryDirectory
        var writer: ChainWriter
        var edits: ChainTests.Edits

        init(seed: UInt64, snapshots: Int = 7, choices: ChainWriter.Choices = ChainDamageTests.choices) async throws {
            folder = try TemporaryDirectory()
            fleet = StoreFleet(store: memory, seed: seed)
            writer = ChainWriter(fleet, seed: seed, choices: choices)
            edits = ChainTests.Edits(pages: 40, pageSize: 512, seed: seed)
            for _ in 0..<snapshots { try await add() }
        }

        mutating func add(
            change: (inout ManifestPublicPart, inout ManifestSealedPart) -> Void = { _, _ in }
        ) async throws {
            // Every extent differs in a page, so that there is something to say of each.
            for number in stride(from: writer.written.count % 4, to: edits.image.count, by: 4) {
                edits.image[number][9] &+= 1
            }
            edits.image.append(edits.page())
            try await writer.snapshot(edits.image, change: change)
        }

        var newest: ChainWriter.Written {
            get throws { try #require(writer.written.last) }
        }

        /// - Returns: the error; nil where the exact database came back.
        func restore(_ written: ChainWriter.Written, from store: any Store, _ what: String) async throws
            -> RestoreError?
        {
            let target = folder.file("out-\(Hex.encode(fleet.random.bytes(6))).db")
            do {
                try await fleet.restore(written.place.snapshot, to: target, from: store, checkIntegrity: false)
            } catch let error as RestoreError {
                #expect(!FileManager.default.fileExists(atPath: target), "\(what) left a file")
                return error
            }
            let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
            #expect(restored == Array(written.image.joined()), "\(what) gave another database")
            try FileManager.default.removeItem(atPath: target)
            return nil
        }

        /// The manifests of the chain and the packs that the newest snapshot needs, with what an error calls them.
        func objects() async throws -> [(name: ObjectName, called: String)] {
            let newest = try newest
            let chain = Set(newest.chain.map { writer.written[Int($0)].place })
            return try await memory.objects(.all, maximumCount: 1000).compactMap { object in
                switch StoredItem(object.name) {
                case .manifest(let place, _) where chain.contains(place):
                    (object.name, "manifest of snapshot \(place.snapshot)")
                case .pack(let id, _) where newest.live.contains(id): (object.name, "pack \(id)")
                default: nil
                }
            }
        }

        func bytes(_ name: ObjectName) async throws -> [UInt8] {
            try await memory.read(name, maximumBytes: 1 << 24, fresh: false)
        }
    }

    @Test func flippedBytesAreLoudOrHarmless() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("ChainDamageTests seed \(seed)")
        let chain = try await Chain(seed: seed)
        let newest = try chain.newest
        #expect(newest.chain == [0, 4, 6])
        var generator = SeededGenerator(seed: seed)
        var refused = 0
        for (name, called) in try await chain.objects() {
            let bytes = try await chain.bytes(name)
            for _ in 0..<20 {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                var flipped = bytes
                flipped[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                let store = OverlayStore(chain.memory, [name: flipped])
                let error = try await chain.restore(newest, from: store, "a flip at \(index) of \(name)")
                if error != nil { refused += 1 }
                // A pack's directory is not read, and a pack may hold chunks that others need.
                #expect(error != nil || called.hasPrefix("pack "), "a flip at \(index) of \(name) went unseen")
                if let error { #expect(error.failing?.object == called) }
            }
        }
        #expect(refused > 100)
    }

    @Test func whatIsMissingTruncatedSwappedOrStaleIsNamed() async throws {
        let chain = try await Chain(seed: 21)
        let other = try await Chain(seed: 22)
        let newest = try chain.newest
        let own = try await chain.memory.objects(.all, maximumCount: 1000).map(\.name)
        let strangers = try await other.memory.objects(.all, maximumCount: 1000).map(\.name)
        for (name, called) in try await chain.objects() {
            let kind = name.description.prefix { $0 != "/" }
            let bytes = try await chain.bytes(name)
            let stranger = try #require(strangers.first { $0.description.hasPrefix(kind) })
            let stale = try #require(own.last { $0.description.hasPrefix(kind) && $0 != name })
            for (what, replacement) in [
                ("missing", nil), ("empty", []), ("truncated", Array(bytes.prefix(bytes.count / 2))),
                ("swapped", try await other.bytes(stranger)), ("stale", try await chain.bytes(stale)),
            ] as [(String, [UInt8]?)] {
                let store = OverlayStore(chain.memory, [name: replacement])
                let error = try await chain.restore(newest, from: store, "\(what) \(name)")
                // Half of a pack may be all that the snapshot needs of it.
                if error == nil, what == "truncated" { continue }
                #expect(error?.failing?.object == called, "\(what) \(name): \(String(describing: error))")
                #expect(error?.failing?.snapshot == newest.place.snapshot.description)
            }
        }
    }

    @Test func whatOtherSnapshotsHaveIsNotNeeded() async throws {
        let chain = try await Chain(seed: 23)
        let newest = try chain.newest
        let needed = Set(try await chain.objects().map(\.name))
        var overlay: [ObjectName: [UInt8]?] = [:]
        for object in try await chain.memory.objects(.all, maximumCount: 1000) {
            let isReceipt = object.name.description.hasPrefix("receipts/")
            if !needed.contains(object.name), !isReceipt { overlay[object.name] = .some(nil) }
        }
        #expect(!overlay.isEmpty)
        #expect(try await chain.restore(newest, from: OverlayStore(chain.memory, overlay), "alone") == nil)
    }

    /// What a node may sign that is not so.
    struct Lie: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let reason: String
        let tell: @Sendable (inout ManifestPublicPart, inout ManifestSealedPart) -> Void

        init(
            _ description: String, reason: String,
            _ tell: @escaping @Sendable (inout ManifestPublicPart, inout ManifestSealedPart) -> Void
        ) {
            (testDescription, self.reason, self.tell) = (description, reason, tell)
        }
    }

    static let lies = [
        Lie("a base of other bytes", reason: "is based on") { part, _ in
            part.base?.manifest = SHA256Hasher.hash([1])
        },
        Lie("a base that came later", reason: "is based on sequence") { part, _ in part.sequence = 5 },
        Lie("another lineage", reason: "of another lineage") { part, _ in
            part.lineage = LineageID(from: RandomSource.seeded(1))
        },
        Lie("another database", reason: "of another lineage") { part, _ in
            part.database = DatabaseID(from: RandomSource.seeded(1))
        },
        Lie("another node", reason: "of another lineage") { part, _ in
            part.node = NodeID(from: RandomSource.seeded(1))
        },
        Lie("larger extents than the base", reason: "of another lineage") { part, sealedPart in
            part.geometry = geometry(8, part.geometry.pageCount) ?? part.geometry
            sealedPart.map = .changes(MapChanges())
        },
        Lie("a pack that is not listed", reason: "not one of its packs") { part, _ in part.packs.added = [] },
        Lie("a pack that the base does not have is dropped", reason: "do not fit its base") { part, _ in
            part.packs.dropped.insert(SHA256Hasher.hash([1]))
        },
        Lie("another root", reason: "another content root") { part, _ in part.contentRoot = SHA256Hasher.hash([1]) },
        Lie("no changes at all", reason: "no chunk for a page") { _, sealedPart in
            sealedPart.map = .changes(MapChanges())
        },
        Lie("a chunk left out", reason: "hash to what the map says") { _, sealedPart in
            change(&sealedPart) { $0.scatter.removeLast() }
        },
        Lie("an extent that the base does not have", reason: "which its base does not have") { part, sealedPart in
            part.geometry = geometry(4, part.geometry.pageCount + 8) ?? part.geometry
            let extent = part.geometry.extentCount - 1
            change(&sealedPart) { $0.continued.append(ContinuedExtent(extent: extent, hash: SHA256Hasher.hash([1]))) }
        },
        Lie("a page that nothing supplies", reason: "no chunk for") { part, _ in
            part.geometry = geometry(4, part.geometry.pageCount + 5) ?? part.geometry
        },
        Lie("a difference from another base", reason: "hash to what the map says") { _, sealedPart in
            change(&sealedPart) { changes in
                // The row of an extent that has differences now, with the chunk of another one of its size.
                guard let other = changes.placed.first(where: { $0.pageCount == 4 }),
                    let mine = changes.continued.first(where: { $0.extent > other.extent })
                else { return }
                changes.continued.removeAll { $0.extent == mine.extent }
                changes.placed.append(
                    ExtentEntry(extent: mine.extent, place: other.place, pageCount: 4, hash: mine.hash))
                changes.placed.sort { $0.extent < $1.extent }
            }
        },
        Lie("a position of another page", reason: "hash to what the map says") { _, sealedPart in
            change(&sealedPart) { changes in
                for index in changes.scatter.indices where changes.scatter[index].kind == .scatter {
                    let entry = changes.scatter[index]
                    guard entry.pages.count > 1, entry.dead.isEmpty, entry.pages[0] > 1 else { continue }
                    changes.scatter[index] = ScatterEntry(
                        kind: .scatter, place: entry.place, plainByteCount: entry.plainByteCount,
                        pages: [entry.pages[0] - 1] + entry.pages.dropFirst())
                }
            }
        },
    ]

    private static func geometry(_ pagesPerExtent: Int, _ pageCount: UInt64) -> DatabaseGeometry? {
        DatabaseGeometry(pageSize: 512, pagesPerExtent: pagesPerExtent, pageCount: pageCount)
    }

    private static func change(_ sealedPart: inout ManifestSealedPart, _ body: (inout MapChanges) -> Void) {
        guard case .changes(var changes) = sealedPart.map else { return }
        body(&changes)
        sealedPart.map = .changes(changes)
    }

    @Test(arguments: lies) func aLieOfTheNodeIsRefused(lie: Lie) async throws {
        var chain = try await Chain(seed: 31, snapshots: 7, choices: .init(anew: 0.3, scatter: 0.5))
        let honest = try chain.newest
        #expect(try await chain.restore(honest, from: chain.memory, "the truth") == nil)
        // Sequence 7 is based on 6.
        try await chain.add { part, sealedPart in lie.tell(&part, &sealedPart) }
        let newest = try chain.newest
        let error = try await chain.restore(newest, from: chain.memory, lie.testDescription)
        let failing = try #require(error?.failing, "\(lie) gave a database, or another error")
        #expect(failing.reason.contains(lie.reason), "\(failing.reason)")
        #expect(failing.snapshot == newest.place.snapshot.description)
    }

    @Test func aChainOfMoreThan64IsRefused() async throws {
        var choices = Self.choices
        choices.fullEvery = 100
        choices.base = { sequence, _ in sequence - 1 }
        let chain = try await Chain(seed: 41, snapshots: 65, choices: choices)
        #expect(try await chain.restore(chain.writer.written[63], from: chain.memory, "64") == nil)
        let error = try await chain.restore(chain.writer.written[64], from: chain.memory, "65")
        #expect(error?.failing?.reason == "its base chain is longer than 64")
    }

    @Test func aPackThatTheBaseHasIsNotAddedAgain() async throws {
        var chain = try await Chain(seed: 61)
        let base = try chain.newest
        try await chain.add { part, _ in
            if let again = base.live.subtracting(part.packs.dropped).first { part.packs.added.insert(again) }
        }
        let error = try await chain.restore(try chain.newest, from: chain.memory, "a pack that is added twice")
        #expect(error?.failing?.reason == "its changes of packs do not fit its base")
    }

    @Test func aBaseFromAnotherLineageOfTheSameDatabaseIsRefused() async throws {
        var chain = try await Chain(seed: 51)
        var other = ChainWriter(chain.fleet, database: chain.writer.database, seed: 5, choices: Self.choices)
        let foreign = try await other.snapshot(chain.edits.image)
        try await chain.add { part, _ in
            part.base = ManifestReference(snapshot: foreign.place.snapshot, manifest: foreign.manifest.hash)
        }
        let error = try await chain.restore(try chain.newest, from: chain.memory, "another lineage")
        #expect(error?.failing?.object == "manifest of snapshot \(foreign.place.snapshot)")
        #expect(error?.failing?.reason.hasPrefix("it is of another lineage") == true)
    }
}
