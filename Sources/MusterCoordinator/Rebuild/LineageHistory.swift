import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Where each lineage stands while its snapshots are put back, one after the other.
///
/// As long as nothing is missing, a manifest's changes since its parent are all there is to know. After a gap, where
/// snapshots were given up or cannot be read, the packs that a snapshot needs are counted along its chain of bases.
struct LineageHistory {
    private struct Standing {
        var sequence: UInt64
        var manifest: ManifestHash
        /// The bases of that snapshot that were put back, the full one first, and itself: what comes next is based on
        /// one of them, as a base is the sequence with its lowest bit cleared.
        var bases: [(reference: ManifestReference, steps: Int64)]
    }

    /// What a manifest says of packs: all that a chain needs of it.
    private struct Link {
        let base: ManifestReference?
        let packs: PackChanges
    }

    /// Those of one lineage are asked for again and again, for as long as it has gaps.
    private static let mostLinks = 4096

    private let manifests: HistoryRebuild
    private var lineages: [LineageID: Standing] = [:]
    private var owners: [DatabaseID: NodeID] = [:]
    private var links: [SnapshotID: Link] = [:]
    /// Packs whose copies do not agree.
    private var toldApart: [PackID: PackCopies] = [:]

    init(manifests: HistoryRebuild) { self.manifests = manifests }

    /// - Returns: nil where the snapshot cannot be put back; that is among the findings.
    mutating func append(
        _ found: HistoryRebuild.Found, _ findings: inout RebuildFindings
    ) async throws -> Catalog.Restored? {
        let part = found.manifest.publicPart
        if let reason = misfit(part, found.entry.place) {
            findings.add(ObjectName.receiptText(found.entry.place), in: "", reason)
            return nil
        }
        let standing = lineages[part.lineage]
        let follows =
            standing.map { $0.sequence + 1 == part.sequence && $0.manifest == part.parent?.manifest }
            ?? (part.sequence == 0)
        var packs = found.packs
        var live: [PackID]?
        var bases = try await bases(of: part, standing)
        if bases == nil || !follows {
            guard let chain = try await chain(of: found.manifest, findings: &findings) else {
                findings.add(
                    ObjectName.receiptText(found.entry.place), in: "",
                    "a manifest that it is based on cannot be read: it cannot be restored from these stores")
                return nil
            }
            if bases == nil, let base = part.base { bases = [(base, Int64(chain.count - 2))] }
            if !follows {
                let needed = Self.live(chain)
                live = needed.sorted()
                for pack in needed where packs[pack] == nil { packs[pack] = try await copies(of: pack, &findings) }
            }
        }
        let baseSteps = bases?.last.map { $0.steps + 1 } ?? 0
        let own = ManifestReference(snapshot: part.snapshot, manifest: found.manifest.hash)
        lineages[part.lineage] = Standing(
            sequence: part.sequence, manifest: found.manifest.hash,
            bases: Array((bases ?? []).suffix(ManifestChain.maximumLength)) + [(own, baseSteps)])
        owners[part.database] = part.node
        return Catalog.Restored(
            commit: commit(found), withoutReceipt: found.withoutReceipt, packs: newPacks(packs, in: part.scope),
            live: live, baseSteps: baseSteps)
    }

    /// What thinned snapshots need is asked for again with each of them, and is read once.
    private mutating func copies(of pack: PackID, _ findings: inout RebuildFindings) async throws -> PackCopies {
        if let known = toldApart[pack] { return known }
        let copies = try await manifests.packCopies(pack, &findings)
        if copies.wasRead { toldApart[pack] = copies }
        return copies
    }

    /// Its bases down to a full one; nil where its base was not put back, so that nobody has read it yet.
    private func bases(
        of part: ManifestPublicPart, _ standing: Standing?
    ) async throws -> [(reference: ManifestReference, steps: Int64)]? {
        guard let base = part.base else { return [] }
        if let standing, let index = standing.bases.lastIndex(where: { $0.reference == base }) {
            return Array(standing.bases[...index])
        }
        // Whoever bases on whatever: what the catalog has by that name was verified.
        guard let steps = try await manifests.catalog.baseSteps(of: base.snapshot, manifest: base.manifest) else {
            return nil
        }
        return [(base, steps)]
    }

    /// Why this cannot be the next snapshot of its lineage; nil where it can.
    private func misfit(_ part: ManifestPublicPart, _ place: RebuildListing.Place) -> String? {
        guard part.snapshot == place.snapshot, part.database == place.database, part.lineage == place.lineage,
            part.sequence == place.sequence
        else { return "its manifest is another snapshot's" }
        if let owner = owners[part.database], owner != part.node { return "its database is another node's" }
        if let standing = lineages[part.lineage], part.sequence <= standing.sequence {
            return "its lineage stands at \(standing.sequence) already"
        }
        return nil
    }

    /// The manifest's own link first, then that of its base and so on to a full one; nil where one is missing.
    private mutating func chain(
        of manifest: Manifest, findings: inout RebuildFindings
    ) async throws -> [Link]? {
        var link = Link(base: manifest.publicPart.base, packs: manifest.publicPart.packs)
        remember(link, of: manifest.publicPart.snapshot)
        var chain = [link]
        while let base = link.base {
            guard chain.count < ManifestChain.maximumLength else { return nil }
            if let known = links[base.snapshot] {
                link = known
            } else {
                guard let next = try await manifests.manifest(base) else { return nil }
                link = Link(base: next.publicPart.base, packs: next.publicPart.packs)
                remember(link, of: base.snapshot)
            }
            chain.append(link)
        }
        return chain
    }

    private mutating func remember(_ link: Link, of snapshot: SnapshotID) {
        if links.count >= Self.mostLinks { links.removeAll(keepingCapacity: true) }
        links[snapshot] = link
    }

    private static func live(_ chain: [Link]) -> Set<PackID> {
        chain.reversed().reduce(into: Set<PackID>()) { live, link in
            live.subtract(link.packs.dropped)
            live.formUnion(link.packs.added)
        }
    }

    /// Nobody has read them, whatever their copies agree in: they are the first that a scrub reads.
    private func newPacks(_ packs: [PackID: PackCopies], in scope: ScopeID) -> [Catalog.NewPack] {
        packs.sorted { $0.key < $1.key }.map { id, copies in
            Catalog.NewPack(
                id: id, scope: scope, sizeBytes: copies.byteCount,
                replicas: copies.sound.map { ($0.store, $0.generation) },
                damaged: copies.damaged.map { ($0.store, $0.generation) }, chunks: [], isProven: false)
        }
    }

    private func commit(_ found: HistoryRebuild.Found) -> Catalog.Commit {
        var commit = Catalog.Commit(of: found.manifest, receivedAt: found.entry.receivedAt)
        commit.receipt = found.entry.receipt
        commit.places = found.places
        commit.wantedIn = found.wantedIn
        return commit
    }
}
