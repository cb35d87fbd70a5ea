import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Looks at every stored object that one snapshot needs, without any key.
///
/// Level check asks each object's size. Level scrub reads every byte again,
/// from the medium as far as the store can, in pieces of 1 MiB. A pack's id is
/// the hash of all its bytes, so a pack that has it has the very chunks that
/// were checked when it came in. A pack is read once in a run, however many
/// snapshots share it.
struct SnapshotInspector: Sendable {
    private static let pieceBytes: UInt64 = 1 << 20
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
            let name = Self.name(of: pack)
            findings.append(failing(snapshot, name, reason + (try await others(needing: pack.pack, than: id))))
        }
        let found = Set(packs.map(\.id)).count
        if found != Int(snapshot.packCount) {
            findings.append(failing(snapshot, "", "\(Int(snapshot.packCount) - found) packs have no replica"))
        }
        try await catalog.conclude(id, in: run, findings: findings, bytesRead: bytesRead, now: coordinator.clock.now())
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
        let fault = try await fault(
            in: manifest, size: UInt64(snapshot.manifestBytes), hash: snapshot.manifestHash, &bytesRead)
        if let fault { findings.append(failing(snapshot, manifest.description, fault.reason)) }

        let receipt = ObjectName.receipt(place, receiptGeneration)
        guard let expected = try await catalog.receipt(of: snapshot.id) else {
            throw CatalogError.damaged(column: "receipt")
        }
        let receiptFault = try await self.fault(
            in: receipt, size: UInt64(expected.count),
            hash: SHA256Hasher.hash(expected, as: Digest<ReceiptKind>.self), &bytesRead)
        if let receiptFault { findings.append(failing(snapshot, receipt.description, receiptFault.reason)) }
        try await catalog.markManifest(
            of: snapshot.number, store: store.number, generation: replica.generation,
            as: fault?.state ?? receiptFault?.state ?? .present, now: coordinator.clock.now())
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
            findings.append(failing(snapshot, name.description, try Self.reason(of: error)))
        }
    }

    /// - Returns: why the pack is wanting; "" where it is sound.
    private func inspect(_ pack: Catalog.PackReplica) async throws -> String {
        if let known = try await catalog.inspection(of: pack.pack, store: pack.store, in: run) { return known }
        var bytesRead: Int64 = 0
        let name = Self.name(of: pack)
        guard let object = ObjectName(name) else { throw CatalogError.damaged(column: "generation") }
        let fault = try await fault(in: object, size: UInt64(pack.sizeBytes), hash: pack.id, &bytesRead)
        try await catalog.mark(
            pack: pack.pack, store: pack.store, generation: pack.generation, as: fault?.state ?? .present,
            now: coordinator.clock.now())
        let reason = fault?.reason ?? ""
        try await catalog.record(reason, of: pack.pack, store: pack.store, bytesRead: bytesRead, in: run)
        if !reason.isEmpty {
            coordinator.logger.error(
                "object is damaged", metadata: ["store": "\(store.name)", "object": "\(name)", "reason": "\(reason)"])
        }
        return reason
    }

    private typealias Fault = (state: Catalog.ReplicaState, reason: String)

    private func fault<Kind>(
        in name: ObjectName, size: UInt64, hash: Digest<Kind>, _ bytesRead: inout Int64
    ) async throws -> Fault? {
        do {
            guard let actual = try await store.store.byteCount(of: name) else {
                return (.missing, "the object is missing")
            }
            guard actual == size else {
                return (.damaged, "the object has \(actual) bytes where \(size) were stored")
            }
            guard level > .check else { return nil }
            let digest: Digest<Kind> = try await digest(of: name, size: size)
            bytesRead += Int64(size)
            return digest == hash ? nil : (.damaged, "its bytes hash to \(digest), not to \(hash)")
        } catch let error as StoreError {
            return (.damaged, try Self.reason(of: error))
        }
    }

    private func digest<Kind>(of name: ObjectName, size: UInt64) async throws -> Digest<Kind> {
        let hash = ObjectHash<Kind>()
        var position: UInt64 = 0
        while position < size {
            let end = min(size, position + Self.pieceBytes)
            let piece = try await store.store.read(name, range: position..<end, fresh: true)
            try await coordinator.hashing.run { hash.update(piece) }
            position = end
        }
        return hash.finish()
    }

    /// What a store's error says of the object; one that will pass says nothing and ends the inspection.
    private static func reason(of error: StoreError) throws(StoreError) -> String {
        if case .notFound = error { return "the object is missing" }
        guard !error.isTransient else { throw error }
        return error.summary
    }

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

    private static func name(of pack: Catalog.PackReplica) -> String {
        Generation(pack.generation).map { ObjectName.pack(pack.id, $0).description } ?? ""
    }
}
