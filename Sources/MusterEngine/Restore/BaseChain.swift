import MusterFormat
import MusterModel

/// Reads a snapshot's manifest and those of its base chain, down to the full one, each held to the one before it.
struct BaseChain: Sendable {
    private struct Link {
        let publicPart: ManifestPublicPart
        let sealedPart: ManifestSealedPart
    }

    let snapshot: SnapshotID
    let source: any SnapshotSource
    let keys: [ScopeKeys]
    let verifyingKey: VerifyingKey
    let refusals: RefusalBook

    func plan() async throws -> RestorePlan {
        var links = [try await link(snapshot, expecting: nil)]
        while let last = links.last, let base = last.publicPart.base {
            guard links.count < ManifestChain.maximumLength else {
                throw damaged(snapshot, "its base chain is longer than \(ManifestChain.maximumLength)")
            }
            let next = try await link(base.snapshot, expecting: (base.manifest, last.publicPart))
            try check(next.publicPart, isBaseOf: last.publicPart)
            links.append(next)
        }
        links.reverse()
        guard let newest = links.last, let full = links.first, case .groups(let groups) = full.sealedPart.map else {
            preconditionFailure("a chain ends at a manifest without a base, and that one has groups")
        }
        return RestorePlan(
            publicPart: newest.publicPart, sealedPart: newest.sealedPart, packs: try packs(links.map(\.publicPart)),
            chain: links.map(\.publicPart.snapshot), full: full.publicPart, groups: groups,
            deltas: links.dropFirst().map { RestorePlan.Delta(publicPart: $0.publicPart, map: $0.sealedPart.map) })
    }

    /// - Parameter expected: the hash that a delta names, and that delta; nil for the snapshot itself.
    private func link(
        _ id: SnapshotID, expecting expected: (hash: ManifestHash, delta: ManifestPublicPart)?
    ) async throws -> Link {
        var (search, refused) = (ReplicaSearch(), Set<String>())
        while true {
            let object: ReplicaBytes
            do {
                object = try await source.manifest(of: id, after: refused)
            } catch let error as ObjectUnavailable {
                throw search.end(damaged(id, error.reason))
            }
            do {
                for (store, reason) in object.passedOver { note(damaged(id, reason).found(in: store)) }
                return try link(id, in: object.bytes, expecting: expected)
            } catch let error as RestoreError {
                guard case .damaged = error else { throw error }
                try search.refuse(object, because: error, after: refused)
                refused.insert(object.store)
                note(error.found(in: object.store))
            }
        }
    }

    private func note(_ error: RestoreError) {
        if let failing = error.failing { refusals.note(failing) }
    }

    private func link(
        _ id: SnapshotID, in bytes: [UInt8], expecting expected: (hash: ManifestHash, delta: ManifestPublicPart)?
    ) throws -> Link {
        do {
            let manifest = try Manifest.parse(bytes).verified(by: verifyingKey)
            let part = manifest.publicPart
            guard part.snapshot == id else { throw damaged(id, "it is the manifest of snapshot \(part.snapshot)") }
            if let expected, manifest.hash != expected.hash {
                throw damaged(id, "it is not the one that snapshot \(expected.delta.snapshot) is based on")
            }
            guard let key = keys.first(where: { $0.epoch == part.keyEpoch && $0.scope == part.scope }) else {
                throw RestoreError.noKey(snapshot: snapshot, keyEpoch: part.keyEpoch)
            }
            return Link(publicPart: part, sealedPart: try manifest.openSealedPart(with: key))
        } catch let error as FormatError {
            throw damaged(id, error.summary)
        }
    }

    private func check(_ base: ManifestPublicPart, isBaseOf delta: ManifestPublicPart) throws {
        guard base.sequence < delta.sequence else {
            throw damaged(base.snapshot, "sequence \(delta.sequence) is based on sequence \(base.sequence)")
        }
        let isSame =
            base.node == delta.node && base.database == delta.database && base.lineage == delta.lineage
            && base.scope == delta.scope && base.geometry.pageSize == delta.geometry.pageSize
            && base.geometry.pagesPerExtent == delta.geometry.pagesPerExtent
        guard isSame else {
            throw damaged(
                base.snapshot, "it is of another lineage than snapshot \(delta.snapshot), which is based on it")
        }
    }

    /// - Parameter chain: from the full manifest to the newest.
    private func packs(_ chain: [ManifestPublicPart]) throws -> Set<PackID> {
        var packs: Set<PackID> = []
        for part in chain {
            guard packs.isDisjoint(with: part.packs.added), packs.isSuperset(of: part.packs.dropped) else {
                throw damaged(part.snapshot, "its changes of packs do not fit its base")
            }
            packs.formUnion(part.packs.added)
            packs.subtract(part.packs.dropped)
        }
        return packs
    }

    private func damaged(_ id: SnapshotID, _ reason: String) -> RestoreError {
        .damaged(snapshot: snapshot, store: source.name, object: "manifest of snapshot \(id)", reason: reason)
    }
}
