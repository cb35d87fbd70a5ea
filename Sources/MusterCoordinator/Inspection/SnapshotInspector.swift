import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import Synchronization

/// Looks at every stored object that one snapshot needs, without any key: its manifest and those of its base chain,
/// its receipt, the node's key record, its packs.
///
/// Level check asks each object's size, and reads again what was found wanting before. Level scrub reads every byte again,
/// from the medium as far as the store can, in pieces of 1 MiB. A pack's id is
/// the hash of all its bytes, so a pack that has it has the very chunks that
/// were checked when it came in. An object is read once in a run, however many
/// snapshots share it.
struct SnapshotInspector: Sendable {
    private static let namedSnapshots = 20

    let coordinator: Coordinator
    let run: RunID
    let level: VerificationLevel
    /// What is read as a whole is read no faster than the scrub reads.
    let isPaced: Bool
    /// What was read of objects, which the run counts as it is read.
    private let read = ByteTally()

    init(coordinator: Coordinator, run: RunID, level: VerificationLevel, isPaced: Bool) {
        (self.coordinator, self.run, self.level, self.isPaced) = (coordinator, run, level, isPaced)
    }

    private var catalog: Catalog { coordinator.catalog }

    /// Inspects the snapshot in every store that has it, and closes it in the run.
    ///
    /// A store that is away says nothing about the snapshot; what the others say counts.
    func inspect(_ id: SnapshotID) async throws {
        guard let snapshot = try await catalog.snapshot(id) else { return }
        var findings: [Failing] = []
        var absent: [String] = []
        var bytesRead: Int64 = 0
        let (began, readBefore) = (coordinator.clock.now(), read.value)
        var lookedAt = 0
        for replica in snapshot.replicas {
            guard let store = coordinator.stores[replica.store] else { continue }
            lookedAt += 1
            do {
                findings += try await inspect(snapshot, in: store, &bytesRead)
            } catch let error as StoreError where error.meansAbsence {
                absent.append(error.summary)
            }
        }
        // What is in stores that were given up alone is nowhere.
        if lookedAt == 0 { findings.append(failing(snapshot, nil, "", "no store has it")) }
        let outcome: Catalog.ItemOutcome =
            findings.isEmpty && !absent.isEmpty
            ? .unfinished(reason: absent.joined(separator: "; ")) : .inspected(findings)
        let now = coordinator.clock.now()
        let effort = Catalog.Effort(
            seconds: max(0, (now - began).inSeconds), bytesRead: bytesRead + read.value - readBefore,
            uncountedBytes: bytesRead)
        try await catalog.conclude(id, in: run, outcome, effort, now: now)
    }

    private func inspect(
        _ snapshot: Catalog.Snapshot, in store: OpenStore, _ bytesRead: inout Int64
    ) async throws -> [Failing] {
        var findings = try await inspectManifest(of: snapshot, for: snapshot, in: store)
        findings += try await inspectReceipt(of: snapshot, in: store)
        for base in try await catalog.baseChain(of: snapshot) {
            findings += try await inspectManifest(of: base, for: snapshot, in: store)
        }
        try await inspectKeys(of: snapshot, in: store, &findings, &bytesRead)
        return findings + (try await inspectPacks(of: snapshot, in: store))
    }

    // MARK: - Manifests and receipts

    /// - Parameter owner: the snapshot itself, or one of its base chain.
    private func inspectManifest(
        of owner: Catalog.Snapshot, for snapshot: Catalog.Snapshot, in store: OpenStore
    ) async throws -> [Failing] {
        guard let replica = owner.replicas.first(where: { $0.store == store.number }) else {
            return [failing(snapshot, store, "", "the manifest of snapshot \(owner.id) has no replica")]
        }
        guard let generation = Generation(replica.generation) else {
            throw CatalogError.damaged(column: "generation")
        }
        let name = ObjectName.manifest(SnapshotPlace(owner), generation)
        let isHashed = isHashed(replica.manifestState)
        let reason = try await once(name, in: store) {
            if isHashed { await spend(owner.manifestBytes, in: store) }
            let (fault, bytesRead) = try await coordinator.fault(
                in: name, of: store, size: UInt64(owner.manifestBytes), hash: owner.manifestHash, isHashed: isHashed)
            try await catalog.mark(
                .manifest, of: owner.number, store: store.number, generation: replica.generation,
                as: fault?.state ?? .present, isHashed: isHashed, now: coordinator.clock.now())
            return (fault?.reason ?? "", bytesRead)
        }
        guard !reason.isEmpty else { return [] }
        let built = try await catalog.snapshots(basedOn: owner.id, limit: Self.namedSnapshots + 2)
        return [failing(snapshot, store, name.description, reason + others([owner.id] + built, than: snapshot.id))]
    }

    private func inspectReceipt(
        of snapshot: Catalog.Snapshot, in store: OpenStore
    ) async throws -> [Failing] {
        // Without a replica that is said of the manifest already.
        guard let replica = snapshot.replicas.first(where: { $0.store == store.number }) else { return [] }
        guard let generation = Generation(replica.receiptGeneration) else {
            throw CatalogError.damaged(column: "receipt_generation")
        }
        guard let expected = try await catalog.receipt(of: snapshot.id) else {
            throw CatalogError.damaged(column: "receipt")
        }
        let name = ObjectName.receipt(SnapshotPlace(snapshot), generation)
        let isHashed = isHashed(replica.receiptState)
        let reason = try await once(name, in: store) {
            let (fault, bytesRead) = try await coordinator.fault(
                in: name, of: store, size: UInt64(expected.count),
                hash: SHA256Hasher.hash(expected, as: Digest<ReceiptKind>.self), isHashed: isHashed)
            try await catalog.mark(
                .receipt, of: snapshot.number, store: store.number, generation: replica.receiptGeneration,
                as: fault?.state ?? .present, isHashed: isHashed, now: coordinator.clock.now())
            return (fault?.reason ?? "", bytesRead)
        }
        return reason.isEmpty ? [] : [failing(snapshot, store, name.description, reason)]
    }

    // MARK: - Keys and packs

    /// Without the node's key record no other machine could restore the snapshot.
    private func inspectKeys(
        of snapshot: Catalog.Snapshot, in store: OpenStore, _ findings: inout [Failing], _ bytesRead: inout Int64
    ) async throws {
        guard let node = try await catalog.node(snapshot.node), let key = VerifyingKey(bytes: node.signingKey) else {
            throw CatalogError.damaged(column: "signing_key")
        }
        let replicas = try await catalog.keyReplicas(of: node.id)
        guard let replica = replicas.first(where: { $0.store == store.number }),
            let name = ObjectName(replica.object)
        else { return findings.append(failing(snapshot, store, "", "the node's key record is not there")) }
        do {
            // So small that its size is not worth asking for.
            bytesRead += Int64(try await coordinator.readKeys(replica, of: node.id, key, in: store).count)
        } catch let error as FormatError {
            findings.append(failing(snapshot, store, name.description, error.summary))
        } catch let error as StoreError where !error.meansAbsence {
            findings.append(failing(snapshot, store, name.description, try Coordinator.reason(of: error)))
        }
    }

    private func inspectPacks(of snapshot: Catalog.Snapshot, in store: OpenStore) async throws -> [Failing] {
        var findings: [Failing] = []
        let packs = try await catalog.packs(neededBy: snapshot)
        for pack in packs where pack.store == store.number {
            guard let name = pack.objectName else { throw CatalogError.damaged(column: "generation") }
            let reason = try await once(name, in: store) {
                if isHashed(pack.state) { await spend(pack.sizeBytes, in: store) }
                return try await coordinator.inspect(pack, in: store, isHashed: isHashed(pack.state))
            }
            guard !reason.isEmpty else { continue }
            let needing = try await catalog.snapshots(needing: pack.pack, limit: Self.namedSnapshots + 2)
            findings.append(failing(snapshot, store, name.description, reason + others(needing, than: snapshot.id)))
        }
        let found = Set(packs.filter { $0.store == store.number }.map(\.id)).count
        if found != Int(snapshot.packCount) {
            findings.append(
                failing(snapshot, store, "", "\(Int(snapshot.packCount) - found) packs have no replica there"))
        }
        return findings
    }

    // MARK: - One object

    /// Inspects an object unless this run has done so, for this snapshot or another.
    ///
    /// - Returns: why the object is wanting; "" where it is sound.
    private func once(
        _ name: ObjectName, in store: OpenStore, _ inspect: () async throws -> (reason: String, bytesRead: Int64)
    ) async throws -> String {
        let object = name.description
        if let known = try await catalog.inspection(of: object, store: store.number, in: run) { return known }
        let (reason, bytesRead) = try await inspect()
        read.add(bytesRead)
        try await catalog.record(reason, of: object, store: store.number, bytesRead: bytesRead, in: run)
        return reason
    }

    private func spend(_ byteCount: Int64, in store: OpenStore) async {
        if isPaced { await coordinator.readingPace(of: store).spend(Int(byteCount)) }
    }

    /// What is known to be bad is read as a whole at any level: a size does not make it good again.
    private func isHashed(_ known: Catalog.ReplicaState) -> Bool { level > .check || known != .present }

    private func failing(
        _ snapshot: Catalog.Snapshot, _ store: OpenStore?, _ object: String, _ reason: String
    ) -> Failing {
        Failing(snapshot: snapshot.id.description, store: store?.name ?? "", object: object, reason: reason)
    }

    /// Names the other snapshots that one damaged object hits.
    private func others(_ hit: [SnapshotID], than id: SnapshotID) -> String {
        let others = hit.filter { $0 != id }
        guard !others.isEmpty else { return "" }
        let named = others.prefix(Self.namedSnapshots).map(\.description).joined(separator: ", ")
        let more = others.count > Self.namedSnapshots ? " and more" : ""
        return "; also needed by \(named)\(more)"
    }
}

private final class ByteTally: Sendable {
    private let sum = Atomic<Int64>(0)

    var value: Int64 { sum.load(ordering: .relaxed) }
    func add(_ bytes: Int64) { sum.wrappingAdd(bytes, ordering: .relaxed) }
}
