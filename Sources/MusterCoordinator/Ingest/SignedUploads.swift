import HTTPTypes
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Packs that a node puts into the store by itself, under an address that is signed here (DESIGN.md, section 7).
///
/// 1. The name is drawn and recorded in the catalog; only then it is signed and handed out.
/// 2. The node puts the pack. The store refuses other bytes, another length and a second put, as the probe has seen.
/// 3. The node claims the pack. The coordinator asks the store for its size, reads its directory and records the copy, in
///    the transaction that ends the grant; only then the answer.
/// 4. The copy is the first that is scrubbed. What nobody claims gc deletes by its name.
///
/// A crash at any point leaves a row that 3 or 4 takes up. Why this suffices: proto/decisions/0013-signed-uploads.md.
extension Coordinator {
    /// DESIGN.md, section 7.
    private static let addressLifetime = Duration.seconds(15 * 60)
    /// Of one node: what it may put without claiming it.
    static let openGrants = 64

    /// A pack that a node is about to put.
    struct UploadWish: Sendable {
        let pack: PackID
        let byteCount: Int
    }

    /// What becomes of a wish.
    enum UploadAnswer: Sendable {
        /// There is nothing to put.
        case present
        case granted(SignedPut, generation: Generation, store: String, authority: String?)
        /// It goes through the coordinator.
        case refused
    }

    /// Where the node's packs may go directly, if anywhere.
    func uploadTarget(of node: NodeID) async throws -> UploadTarget? {
        guard settings.signedUploads else { return nil }
        for store in stores.keepers(of: node) where !store.isOnNode && store.takesObjects {
            guard try await isProven(store, for: .signedUploads), let signing = try await signing(store) else {
                continue
            }
            return UploadTarget(store: store, signing: signing)
        }
        return nil
    }

    struct UploadTarget: Sendable {
        let store: OpenStore
        let signing: any SignedPutStore
    }

    /// - Returns: nil for a store that does not answer.
    private func signing(_ store: OpenStore) async throws -> (any SignedPutStore)? {
        do {
            return try await store.store.direct() as? any SignedPutStore
        } catch {
            guard error.meansAbsence else { throw error }
            return nil
        }
    }

    func answer(
        _ wishes: [UploadWish], of node: NodeID, scope: ScopeID, _ target: UploadTarget
    ) async throws -> [UploadAnswer] {
        var answers: [UploadAnswer] = []
        var grants: [Catalog.UploadGrant] = []
        let now = clock.now()
        for wish in wishes {
            if try await isStored(wish.pack, scope), try await catalog.refresh(wish.pack, in: scope, now: now) {
                answers.append(.present)
                continue
            }
            let generation = Generation(from: random)
            let place = target.signing.signedPut(
                .pack(wish.pack, generation), byteCount: wish.byteCount, hash: wish.pack.bytes,
                lifetime: Self.addressLifetime)
            grants.append(
                Catalog.UploadGrant(
                    node: node, scope: scope, pack: wish.pack, sizeBytes: Int64(wish.byteCount),
                    store: target.store.number, generation: generation.description, expiresAt: place.expiresAt))
            answers.append(
                .granted(
                    place, generation: generation, store: target.store.name, authority: target.signing.authority))
        }
        var left = try await catalog.grant(grants, limit: Self.openGrants)
        return answers.map { answer in
            guard case .granted = answer else { return answer }
            left -= 1
            return left >= 0 ? answer : .refused
        }
    }

    /// Takes a pack up that its node has put.
    ///
    /// - Returns: its size.
    func claim(_ id: PackID, generation: Generation, of node: NodeID, scope: ScopeID) async throws -> Int64 {
        try await packLanes.pass(PackLane(id: id, scope: scope)) {
            let grant = try await catalog.openGrant(id, generation: generation.description, of: node)
            // Claimed before, or sent another way meanwhile: a copy that is good is never replaced by one that nobody
            // has read, and the other one is deleted when its grant ends.
            let replicas = try await catalog.replicas(of: id, in: scope)
            if try await isStored(replicas), try await catalog.refresh(id, in: scope, now: clock.now()),
                let size = replicas.first?.sizeBytes
            {
                return size
            }
            guard let grant, grant.scope == scope, let store = stores[grant.store] else { throw Refusal.noGrant(id) }
            // A directory may be large; it is in memory as long as this takes.
            let directory = try await uploadShares.pass(scope) {
                try await uploads.pass {
                    try await uploadedDirectory(grant, as: .pack(id, generation), in: store)
                }
            }
            let pack = Catalog.NewPack(
                id: id, scope: scope, sizeBytes: grant.sizeBytes, replicas: [(store.number, generation.description)],
                chunks: directory.entries.map {
                    Catalog.ChunkPlace(id: $0.id, offset: $0.offset, length: $0.byteCount)
                },
                isProven: false)
            guard try await catalog.claim(grant, as: pack, now: clock.now()) else { throw Refusal.noGrant(id) }
            logger.info(
                "pack claimed",
                metadata: ["pack": "\(id)", "store": "\(store.name)", "bytes": "\(grant.sizeBytes)"])
            return grant.sizeBytes
        }
    }

    /// What the store has under the name that was granted, as far as that can be told without reading all of it.
    private func uploadedDirectory(
        _ grant: Catalog.UploadGrant, as name: ObjectName, in store: OpenStore
    ) async throws -> PackDirectory {
        guard let byteCount = try await store.store.byteCount(of: name) else { throw Refusal.notUploaded(grant.pack) }
        guard byteCount == UInt64(grant.sizeBytes) else {
            throw Refusal.malformed(
                "pack \(grant.pack) has \(byteCount) bytes in the store where \(grant.sizeBytes) were announced")
        }
        return try await directory(of: grant.pack, Int(grant.sizeBytes)) {
            try await store.store.read(name, range: $0, fresh: true)
        }
    }
}

extension Refusal {
    fileprivate static func noGrant(_ id: PackID) -> Refusal {
        Refusal(
            .conflict, "no_grant", "pack \(id) was not to be put into a store by this node, or its time is over",
            hint: "Send it through the coordinator.")
    }
    fileprivate static func notUploaded(_ id: PackID) -> Refusal {
        Refusal(
            .conflict, "not_uploaded", "the store has no pack \(id) under the name that was granted",
            hint: "Send it through the coordinator.")
    }
}
