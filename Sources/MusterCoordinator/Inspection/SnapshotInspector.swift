import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Looks at every stored object that one snapshot needs, without any key.
///
/// Level check asks each object's size, and reads again what was found wanting before. Level scrub reads every byte again,
/// from the medium as far as the store can, in pieces of 1 MiB. A pack's id is
/// the hash of all its bytes, so a pack that has it has the very chunks that
/// were checked when it came in. A pack is read once in a run, however many
/// snapshots share it.
struct SnapshotInspector: Sendable {
    private static let namedSnapshots = 20

    let coordinator: Coordinator
    let run: RunID
    let level: VerificationLevel

    private var catalog: Catalog { coordinator.catalog }
    private var store: OpenStore { coordinator.store }

    /// Inspects the snapshot and closes it in the run.
    func inspect(_ id: SnapshotID) async throws {
        guard let snapshot = try await catalog.snapshot(id) else { return }
        var findings: [Failing] = []
        var bytesRead: Int64 = 0
        for replica in snapshot.replicas where replica.store == store.number {
            try await inspectManifest(of: snapshot, replica, &findings, &bytesRead)
        }
        try await inspectKeys(of: snapshot, &findings, &bytesRead)
        let packs = try await catalog.packs(neededBy: snapshot)
        for pack in packs where pack.store == store.number {
            let reason = try await inspect(pack)
            guard !reason.isEmpty else { continue }
            let name = pack.objectName?.description ?? ""
            findings.append(failing(snapshot, name, reason + (try await others(needing: pack.pack, than: id))))
        }
        let found = Set(packs.map(\.id)).count
        if found != Int(snapshot.packCount) {
            findings.append(failing(snapshot, "", "\(Int(snapshot.packCount) - found) packs have no replica"))
        }
        try await catalog.conclude(
            id, in: run, .inspected(findings), bytesRead: bytesRead, now: coordinator.clock.now())
    }

    private func inspectManifest(
        of snapshot: Catalog.Snapshot, _ replica: Catalog.ManifestReplica, _ findings: inout [Failing],
        _ bytesRead: inout Int64
    ) async throws {
        guard let generation = Generation(replica.generation),
            let receiptGeneration = Generation(replica.receiptGeneration)
        else { throw CatalogError.damaged(column: "generation") }
        let place = SnapshotPlace(snapshot)
        let manifest = ObjectName.manifest(place, generation)
        let isHashed = isHashed(replica.state)
        let (fault, read) = try await coordinator.fault(
            in: manifest, size: UInt64(snapshot.manifestBytes), hash: snapshot.manifestHash, isHashed: isHashed)
        if let fault { findings.append(failing(snapshot, manifest.description, fault.reason)) }

        let receipt = ObjectName.receipt(place, receiptGeneration)
        guard let expected = try await catalog.receipt(of: snapshot.id) else {
            throw CatalogError.damaged(column: "receipt")
        }
        let (receiptFault, receiptRead) = try await coordinator.fault(
            in: receipt, size: UInt64(expected.count),
            hash: SHA256Hasher.hash(expected, as: Digest<ReceiptKind>.self), isHashed: isHashed)
        bytesRead += read + receiptRead
        if let receiptFault { findings.append(failing(snapshot, receipt.description, receiptFault.reason)) }
        try await catalog.markManifest(
            of: snapshot.number, store: store.number, generation: replica.generation,
            as: fault?.state ?? receiptFault?.state ?? .present, isHashed: isHashed, now: coordinator.clock.now())
    }

    /// Without the node's key record no other machine could restore the snapshot.
    private func inspectKeys(
        of snapshot: Catalog.Snapshot, _ findings: inout [Failing], _ bytesRead: inout Int64
    ) async throws {
        guard let node = try await catalog.node(snapshot.node), let name = ObjectName(node.keyObject),
            let key = VerifyingKey(bytes: node.signingKey)
        else { throw CatalogError.damaged(column: "key_object") }
        do {
            if level == .check {
                guard try await store.store.byteCount(of: name) != nil else {
                    throw StoreError.notFound(store: store.name, object: name)
                }
            } else {
                let bytes = try await store.store.read(name, maximumBytes: Format.maximumRecordBytes, fresh: true)
                bytesRead += Int64(bytes.count)
                _ = try KeyRecord.parse(bytes).verified(by: key)
            }
        } catch let error as FormatError {
            findings.append(failing(snapshot, name.description, error.summary))
        } catch let error as StoreError {
            findings.append(failing(snapshot, name.description, try Coordinator.reason(of: error)))
        }
    }

    /// - Returns: why the pack is wanting; "" where it is sound.
    private func inspect(_ pack: Catalog.PackReplica) async throws -> String {
        if let known = try await catalog.inspection(of: pack.pack, store: pack.store, in: run) { return known }
        let (reason, bytesRead) = try await coordinator.inspect(pack, isHashed: isHashed(pack.state))
        try await catalog.record(reason, of: pack.pack, store: pack.store, bytesRead: bytesRead, in: run)
        return reason
    }

    /// What is known to be bad is read as a whole at any level: a size does not make it good again.
    private func isHashed(_ known: Catalog.ReplicaState) -> Bool { level > .check || known != .present }

    private func failing(_ snapshot: Catalog.Snapshot, _ object: String, _ reason: String) -> Failing {
        Failing(snapshot: snapshot.id.description, store: store.name, object: object, reason: reason)
    }

    private func others(needing pack: Int64, than id: SnapshotID) async throws -> String {
        let all = try await catalog.snapshots(needing: pack, limit: Self.namedSnapshots + 2)
        let others = all.filter { $0 != id }
        guard !others.isEmpty else { return "" }
        let named = others.prefix(Self.namedSnapshots).map(\.description).joined(separator: ", ")
        let more = others.count > Self.namedSnapshots ? " and more" : ""
        return "; also needed by \(named)\(more)"
    }
}
