import MusterAgent
import MusterFormat
import MusterModel

/// One lineage of a database of 1 GiB of which four pages change before each snapshot: a full manifest,
/// then deltas on the bases that the format's rule gives them, each with one new pack of 16 KiB.
struct SnapshotHistory {
    /// After so many a pack is needed no longer, as where an agent merges small packs.
    private static let packLife = 8

    private let identity: NodeIdentity
    private let sealer: ChunkSealer
    private let geometry: DatabaseGeometry
    private let database: DatabaseID
    private let name: String
    private let lineage = LineageID(from: .system)
    private var references: [ManifestReference] = []
    private var needs: [Set<PackID>] = []
    private var packs: [PackID] = []

    init(identity: NodeIdentity) {
        self.init(
            identity: identity, sealer: ChunkSealer(keys: identity.keys), database: DatabaseID(from: .system),
            name: "load")
    }

    /// - Parameter sealer: of the identity's keys; the histories of one node can share one.
    init(identity: NodeIdentity, sealer: ChunkSealer, database: DatabaseID, name: String) {
        (self.identity, self.sealer, self.database, self.name) = (identity, sealer, database, name)
        guard let geometry = DatabaseGeometry(pageSize: 4096, pagesPerExtent: 16, pageCount: 262_144) else {
            preconditionFailure("this is a database")
        }
        self.geometry = geometry
    }

    mutating func next() throws -> (manifest: Manifest, pack: Pack) {
        let sequence = references.count
        let (pack, map) = sequence == 0 ? try makeFirst() : try makeChange()
        let before = needs.last ?? []
        let dropped = packs.count >= Self.packLife && sequence > Self.packLife ? [packs[sequence - Self.packLife]] : []
        let after = before.union([pack.id]).subtracting(dropped)
        let base = sequence == 0 ? nil : Int(ManifestChain.baseSequence(of: UInt64(sequence), lastFull: 0))
        let part = ManifestPublicPart(
            snapshot: SnapshotID(from: .system), node: identity.node, database: database, databaseName: name,
            lineage: lineage, sequence: UInt64(sequence), parent: references.last, base: base.map { references[$0] },
            scope: identity.scope, keyEpoch: identity.keyEpoch,
            capturedBegin: Timestamp(microseconds: Int64(sequence) * 1_000_000),
            capturedEnd: Timestamp(microseconds: Int64(sequence) * 1_000_000 + 1000), geometry: map.root.geometry,
            contentRoot: map.root.hash, packs: Self.changes(from: base.map { needs[$0] } ?? [], to: after),
            packsSinceParent: Self.changes(from: before, to: after), labels: [:], captureMethod: .followed,
            continuity: .proven, sealedBytesAdded: UInt64(pack.bytes.count), storedBytes: UInt64(pack.bytes.count))
        let manifest = try Manifest.make(
            publicPart: part,
            sealedPart: ManifestSealedPart(
                sourcePath: "/srv/load.db", map: map.map,
                inventory: SourceInventory(
                    userVersion: 0, applicationID: 0, schemaHash: nil, journalMode: "wal", autoVacuum: 0, encoding: 1,
                    writerVersion: 3_040_001, tables: []),
                sourceFingerprint: ""),
            keys: identity.keys, signer: identity.signingKey)
        references.append(ManifestReference(snapshot: part.snapshot, manifest: manifest.hash))
        needs.append(after)
        packs.append(pack.id)
        return (manifest, pack)
    }

    private typealias Map = (map: ManifestMap, root: (geometry: DatabaseGeometry, hash: ContentRoot))

    /// One extent is enough for a coordinator, which sees no page.
    private func makeFirst() throws -> (Pack, Map) {
        guard let geometry = DatabaseGeometry(pageSize: 4096, pagesPerExtent: 16, pageCount: 16) else {
            preconditionFailure("this is a database")
        }
        var builder = PackBuilder()
        var hasher = TreeHasher()
        var tree = ContentTree(geometry: geometry)
        let plain = RandomSource.system.bytes(geometry.extentBytes)
        let hash = hasher.extentHash(of: plain.span.bytes, pageSize: geometry.pageSize)
        tree.append(hash)
        let extent = ExtentEntry(
            extent: 0,
            place: ChunkPlace(
                builder.append(try sealer.seal(plain, as: .extent)), in: MapGroup.ownPack, keyEpoch: identity.keyEpoch),
            pageCount: 16, hash: hash)
        let map = try MapGroup(index: 0, extents: [extent]).encoded(in: geometry)
        let entry = builder.append(try sealer.seal(map, as: .map))
        let pack = builder.finish()
        let reference = MapGroupReference(
            index: 0, place: ChunkPlace(entry, in: pack.id, keyEpoch: identity.keyEpoch), plainByteCount: map.count,
            hash: tree.groups[0])
        return (pack, (.groups([reference]), (geometry, tree.contentRoot())))
    }

    private func makeChange() throws -> (Pack, Map) {
        var builder = PackBuilder()
        let plain = RandomSource.system.bytes(4 * geometry.pageSize)
        let entry = builder.append(try sealer.seal(plain, as: .scatter))
        let pack = builder.finish()
        let scatter = ScatterEntry(
            kind: .scatter, place: ChunkPlace(entry, in: pack.id, keyEpoch: identity.keyEpoch),
            plainByteCount: plain.count, pages: [5, 999, 70_000, 200_000])
        let changes = MapChanges(
            continued: scatter.pages.map { page in
                ContinuedExtent(extent: geometry.extent(ofPage: page), hash: SHA256Hasher.hash(plain))
            },
            scatter: [scatter])
        return (pack, (.changes(changes), (geometry, SHA256Hasher.hash(plain))))
    }

    private static func changes(from old: Set<PackID>, to new: Set<PackID>) -> PackChanges {
        PackChanges(added: new.subtracting(old), dropped: old.subtracting(new))
    }
}
