import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A manifest is whole, signed and sound, or refused")
struct ManifestTests {
    @Test func whatWasMadeIsRead() throws {
        let fixture = try Fixture()
        let snapshot = try SmallSnapshot(fixture)
        let made = try snapshot.manifest(fixture)
        let unverified = try Manifest.parse(made.bytes)
        #expect(unverified.signingKeyID == fixture.signer.verifyingKey.id)
        let manifest = try unverified.verified(by: fixture.signer.verifyingKey)
        #expect(manifest == made)
        #expect(manifest.hash == SHA256Hasher.hash(made.bytes))
        #expect(manifest.publicPart == snapshot.publicPart)
        #expect(try manifest.openSealedPart(with: fixture.keys) == snapshot.sealedPart)
        #expect(try snapshot.manifest(fixture).bytes == made.bytes)
    }

    @Test func thePagesAreFoundThroughIt() throws {
        let fixture = try Fixture()
        let snapshot = try SmallSnapshot(fixture)
        let manifest = try snapshot.manifest(fixture)
        let opener = ChunkOpener(keys: fixture.keys)
        func open(_ place: ChunkPlace, as kind: SealedKind, _ byteCount: Int) throws -> [UInt8] {
            #expect(place.pack == snapshot.pack.id)
            return try opener.open(
                Array(snapshot.pack.bytes[place.range]).span.bytes, as: kind, expecting: place.chunk,
                plainByteCount: byteCount)
        }
        let decoder = MapDecoder(manifest.publicPart)
        #expect(try manifest.openSealedPart(with: fixture.keys) == snapshot.sealedPart)
        for reference in snapshot.groups {
            let group = try decoder.group(
                from: try open(reference.place, as: .map, reference.plainByteCount), of: reference)
            for entry in group.extents {
                let byteCount = snapshot.geometry.byteCount(ofExtent: entry.extent)
                let bytes = try open(entry.place, as: .extent, byteCount)
                #expect(bytes == Fixture.extent(entry.extent, of: snapshot.geometry))
            }
        }
    }

    @Test func anEmptyDatabaseHasAManifest() throws {
        let fixture = try Fixture()
        var snapshot = try SmallSnapshot(fixture)
        let geometry = try #require(DatabaseGeometry(pageSize: 4096, pagesPerExtent: 16, pageCount: 0))
        var tree = ContentTree(geometry: geometry)
        snapshot.publicPart.geometry = geometry
        snapshot.publicPart.contentRoot = tree.contentRoot()
        snapshot.publicPart.packs = PackChanges(added: [])
        snapshot.publicPart.packsSinceParent = PackChanges(added: [])
        snapshot.groups = []
        let manifest = try snapshot.manifest(fixture)
        #expect(try manifest.openSealedPart(with: fixture.keys).map == .groups([]))
    }

    @Test func everyFlippedBitIsRefused() throws {
        let fixture = try Fixture()
        let manifest = try SmallSnapshot(fixture).manifest(fixture)
        manifest.bytes.forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") {
                try Manifest.parse(flipped).verified(by: fixture.signer.verifyingKey)
            }
        }
    }

    @Test func everyFlippedBitOfTheSealedPartIsRefusedUnderAForgedSignatureToo() throws {
        let fixture = try Fixture()
        let manifest = try SmallSnapshot(fixture).manifest(fixture)
        let unsigned = Array(manifest.bytes.dropLast(64))
        let sealedStart = try #require(sealedPartStart(of: unsigned))
        for bit in sealedStart * 8..<unsigned.count * 8 {
            var flipped = unsigned
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let forged = flipped + fixture.signer.sign(flipped, as: .manifest)
            let verified = try Manifest.parse(forged).verified(by: fixture.signer.verifyingKey)
            #expect(throws: FormatError.self, "bit \(bit)") { try verified.openSealedPart(with: fixture.keys) }
        }
    }

    @Test func aSealedPartOpensBesideItsOwnPublicPartOnly() throws {
        let fixture = try Fixture()
        let snapshot = try SmallSnapshot(fixture)
        var other = snapshot
        other.publicPart.snapshot = try fixture.id(0x77)
        let (first, second) = (try snapshot.manifest(fixture).bytes, try other.manifest(fixture).bytes)
        let (a, b) = (Array(first.dropLast(64)), Array(second.dropLast(64)))
        let (startA, startB) = (try #require(sealedPartStart(of: a)), try #require(sealedPartStart(of: b)))
        let mixed = Array(a[..<(startA - 4)]) + b[(startB - 4)...]
        let signed = mixed + fixture.signer.sign(mixed, as: .manifest)
        let verified = try Manifest.parse(signed).verified(by: fixture.signer.verifyingKey)
        #expect(throws: FormatError("manifest of snapshot \(snapshot.publicPart.snapshot)", .sealBroken)) {
            try verified.openSealedPart(with: fixture.keys)
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let fixture = try Fixture()
        let bytes = try SmallSnapshot(fixture).manifest(fixture).bytes
        for count in 0..<bytes.count {
            #expect(throws: FormatError.self) { try Manifest.parse(Array(bytes.prefix(count))) }
        }
        #expect(throws: FormatError.self) { try Manifest.parse(bytes + [0]) }
        #expect(throws: FormatError.self) { try Manifest.parse([UInt8](repeating: 0, count: (64 << 20) + 1)) }
    }

    @Test func anotherKeyIsRefused() throws {
        let fixture = try Fixture()
        let manifest = try SmallSnapshot(fixture).manifest(fixture)
        #expect(throws: FormatError.self) {
            try Manifest.parse(manifest.bytes).verified(by: fixture.coordinator.verifyingKey)
        }
        let otherEpoch = ScopeKeys(secret: fixture.secret, scope: fixture.scope, epoch: 2)
        #expect(throws: FormatError.self) { try manifest.openSealedPart(with: otherEpoch) }
    }

    /// Each changes one thing that must not be.
    struct Lie: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let tell: @Sendable (inout SmallSnapshot, Fixture) throws -> Void

        init(_ description: String, _ tell: @escaping @Sendable (inout SmallSnapshot, Fixture) throws -> Void) {
            (testDescription, self.tell) = (description, tell)
        }
    }

    static let lies = [
        Lie("a root of other pages") { it, _ in it.publicPart.contentRoot = SHA256Hasher.hash([1]) },
        Lie("a group hash of other extents") { it, _ in it.groups[0].hash = SHA256Hasher.hash([1]) },
        Lie("one page more") { it, _ in
            it.publicPart.geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 11))
        },
        Lie("a group missing") { it, _ in it.groups = [] },
        Lie("a group twice") { it, _ in it.groups += it.groups },
        Lie("a group behind the end") { it, _ in it.groups[0].index = 1 },
        Lie("a group in a pack that is not listed") { it, _ in
            it.groups[0].place.pack = SHA256Hasher.hash([1])
        },
        Lie("a map chunk at offset 0") { it, _ in it.groups[0].place.offset = 0 },
        Lie("a map chunk beyond the largest pack") { it, _ in it.groups[0].place.offset = 64 << 20 },
        Lie("a map chunk of 2 MiB") { it, _ in it.groups[0].plainByteCount = 2 << 20 },
        Lie("pages without a pack") { it, _ in
            it.publicPart.packs = PackChanges(added: [])
            it.publicPart.packsSinceParent = PackChanges(added: [])
        },
        Lie("a first snapshot with a parent") { it, fixture in
            it.publicPart.parent = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
        },
        Lie("a later snapshot without a parent") { it, _ in it.publicPart.sequence = 1 },
        Lie("a first snapshot with a base") { it, fixture in
            it.publicPart.base = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
        },
        Lie("a parent that is itself") { it, _ in
            it.publicPart.sequence = 1
            it.publicPart.parent = ManifestReference(
                snapshot: it.publicPart.snapshot, manifest: SHA256Hasher.hash([1]))
        },
        Lie("a fork in the middle") { it, fixture in
            let head = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
            it.publicPart.sequence = 1
            it.publicPart.parent = head
            it.publicPart.forkedFrom = ForkPoint(lineage: try fixture.id(9), head: head)
        },
        Lie("a full manifest that drops a pack") { it, _ in
            it.publicPart.packs.dropped = [SHA256Hasher.hash([1])]
            it.publicPart.packsSinceParent = it.publicPart.packs
        },
        Lie("a pack added and dropped") { it, _ in it.publicPart.packsSinceParent.dropped = it.publicPart.packs.added },
        Lie("a full manifest that lacks a new pack") { it, fixture in
            it.publicPart.sequence = 1
            it.publicPart.parent = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
            it.publicPart.packsSinceParent.added = [SHA256Hasher.hash([1])]
        },
        Lie("a full manifest that drops what it needs") { it, fixture in
            it.publicPart.sequence = 1
            it.publicPart.parent = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
            it.publicPart.packsSinceParent = PackChanges(added: [], dropped: it.publicPart.packs.added)
        },
        Lie("a delta that adds and drops a pack") { it, fixture in
            let head = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
            (it.publicPart.sequence, it.publicPart.parent, it.publicPart.base) = (1, head, head)
            it.sealedPart.map = .changes(MapChanges())
            it.publicPart.packs.dropped = it.publicPart.packs.added
        },
        Lie("two first pack lists") { it, _ in it.publicPart.packsSinceParent = PackChanges(added: []) },
        Lie("no name") { it, _ in it.publicPart.databaseName = "" },
        Lie("a long name") { it, _ in it.publicPart.databaseName = String(repeating: "n", count: 256) },
        Lie("65 labels") { it, _ in
            it.publicPart.labels = Dictionary(uniqueKeysWithValues: (0..<65).map { ("l\($0)", "") })
        },
        Lie("a label without a key") { it, _ in it.publicPart.labels = ["": "x"] },
        Lie("a huge size") { it, _ in it.publicPart.storedBytes = .max },
        Lie("a long path") { it, _ in it.sealedPart.sourcePath = String(repeating: "p", count: 4097) },
    ]

    @Test(arguments: lies)
    func aManifestThatNoReaderWouldTakeIsNotMade(lie: Lie) throws {
        let fixture = try Fixture()
        var snapshot = try SmallSnapshot(fixture)
        try lie.tell(&snapshot, fixture)
        #expect(throws: FormatError.self) { try snapshot.manifest(fixture) }
    }

    @Test func manyTablesDoNotStopABackup() throws {
        let fixture = try Fixture()
        var snapshot = try SmallSnapshot(fixture)
        snapshot.sealedPart.inventory = SourceInventory(
            userVersion: 0, applicationID: 0, schemaHash: nil, journalMode: "delete", autoVacuum: 0, encoding: 1,
            writerVersion: 0,
            tables: [.init(name: String(repeating: "x", count: 2000), rowEstimate: 1)]
                + (0..<20_000).map { .init(name: "t\($0)", rowEstimate: 1) })
        let inventory = try snapshot.manifest(fixture).openSealedPart(with: fixture.keys).inventory
        #expect(inventory.tables.count == 10_000)
        #expect(inventory.tableCount == 20_001)
    }

    @Test func aLaterFullManifestCountsFromItsParent() throws {
        let fixture = try Fixture()
        var snapshot = try SmallSnapshot(fixture)
        snapshot.publicPart.sequence = 1
        snapshot.publicPart.parent = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
        snapshot.publicPart.packsSinceParent = PackChanges(added: [], dropped: [SHA256Hasher.hash([2])])
        let manifest = try snapshot.manifest(fixture)
        #expect(manifest.publicPart.isFull)
        #expect(try manifest.openSealedPart(with: fixture.keys) == snapshot.sealedPart)
    }

    @Test func deltasCarryPartOfTheMap() throws {
        let fixture = try Fixture()
        var snapshot = try SmallSnapshot(fixture)
        let head = ManifestReference(snapshot: try fixture.id(8), manifest: SHA256Hasher.hash([1]))
        snapshot.publicPart.sequence = 3
        snapshot.publicPart.parent = head
        snapshot.publicPart.base = head
        snapshot.publicPart.packs = PackChanges(added: [SHA256Hasher.hash([2])], dropped: [SHA256Hasher.hash([3])])
        snapshot.publicPart.packsSinceParent = PackChanges(added: [], dropped: [])
        snapshot.sealedPart.map = .changes(MapChanges())
        let manifest = try snapshot.manifest(fixture)
        #expect(!manifest.publicPart.isFull)
        #expect(manifest.publicPart.packs == snapshot.publicPart.packs)
    }

    /// Where the sealed part begins, behind its length.
    private func sealedPartStart(of unsigned: [UInt8]) -> Int? {
        let open: UInt32 = littleEndian(unsigned[8..<12])
        return 12 + Int(open) + 4
    }
}
