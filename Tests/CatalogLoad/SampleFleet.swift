import Foundation
import MusterCatalog
import MusterModel

/// A fleet whose nodes took one snapshot a day until `end`.
///
/// Each snapshot needs the packs that came with it and those of the one before; manifests are deltas as the format
/// has them: the base of sequence n is n with its lowest set bit cleared.
struct SampleFleet {
    /// So many nodes commit beside each other, as the coordinator's requests do.
    private static let lanes = 128
    static let day = Duration.seconds(86_400)

    let nodeCount: Int
    /// With the copies that are made of these: over as many the day is spread.
    let nodesInAll: Int
    let snapshotsEach: Int
    let packsEach: Int
    let end: Timestamp

    func write(to catalog: Catalog) async throws {
        let began = ContinuousClock.now
        let store =
            if let first = try await catalog.stores().first { first.number } else {
                try await catalog.add(store: "main", url: "file:///nowhere", at: end).number
            }
        for round in -1..<snapshotsEach {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<Self.lanes {
                    group.addTask {
                        for node in stride(from: lane, to: nodeCount, by: Self.lanes) {
                            if round < 0 {
                                try await join(node, in: store, catalog)
                            } else {
                                try await commit(round, of: node, in: store, catalog)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let seconds = (ContinuousClock.now - began) / .seconds(1)
            if round % 10 == 9 {
                let line = "\((round + 1) * nodeCount) snapshots after \(Int(seconds)) s\n"
                FileHandle.standardError.write(Data(line.utf8))
            }
        }
        try await catalog.settle()
        try await catalog.close()
    }

    // MARK: - What is derived

    private enum Kind: UInt64 {
        case node = 1, scope, key, token, database, lineage, snapshot, manifest, root, pack, chunk
    }

    private func bytes(_ kind: Kind, _ node: Int, _ index: Int = 0, count: Int = 32) -> [UInt8] {
        var state = kind.rawValue &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(node) << 32 ^ UInt64(index)
        return stride(from: 0, to: count, by: 8).flatMap { _ -> [UInt8] in
            // splitmix64, public domain, prng.di.unimi.it/splitmix64.c
            state &+= 0x9e37_79b9_7f4a_7c15
            var word = state
            word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
            word ^= word >> 31
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
    }

    private func made<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw Refused(outcome: "an id has the wrong length") }
        return value
    }

    private func node(_ number: Int) throws -> NodeID { try made(NodeID(bytes: bytes(.node, number, count: 16))) }

    private func scope(_ number: Int) throws -> ScopeID { try made(ScopeID(bytes: bytes(.scope, number, count: 16))) }

    private func snapshot(_ sequence: Int, of node: Int) throws -> SnapshotID {
        try made(SnapshotID(bytes: bytes(.snapshot, node, sequence, count: 16)))
    }

    private func manifest(_ sequence: Int, of node: Int) throws -> ManifestHash {
        try made(ManifestHash(bytes: bytes(.manifest, node, sequence)))
    }

    private func packs(_ range: Range<Int>, of node: Int) throws -> [PackID] {
        try range.map { try made(PackID(bytes: bytes(.pack, node, $0))) }
    }

    /// The indexes of the packs that a snapshot needs.
    private func need(_ sequence: Int) -> Range<Int> { max(0, sequence - 1) * packsEach..<(sequence + 1) * packsEach }

    private func time(_ sequence: Int, of node: Int) -> Timestamp {
        end - Self.day * (snapshotsEach - sequence) + Self.day * node / nodesInAll
    }

    // MARK: - What is written

    private func join(_ number: Int, in store: Int64, _ catalog: Catalog) async throws {
        let secret = bytes(.token, number)
        let joined = time(0, of: number)
        let name = "node-\(number)"
        _ = try await catalog.invite(secretHash: secret, nodeName: name, now: joined, expiresAt: joined + .seconds(600))
        let node = Catalog.Node(
            id: try node(number), name: name, scope: try scope(number), signingKey: bytes(.key, number),
            keyObject: "nodes/\(try node(number))/keys-1.0000000000000000", joinedAt: joined, agentVersion: "1")
        _ = try await catalog.redeem(
            Catalog.Registration(
                secretHash: secret, requestHash: bytes(.token, number, 1), node: node,
                certificate: Catalog.Certificate(
                    fingerprint: try made(CertificateFingerprint(bytes: bytes(.token, number, 2))), role: .node,
                    node: node.id, subject: name, issuedAt: joined, notAfter: end + .seconds(30 * 86_400)),
                certificatePEM: "certificate of \(name)"), now: joined)
        try await catalog.recordKeys(
            of: node.id, in: store, object: node.keyObject, byteCount: 300, quarantine: .zero, now: joined)
        var database = Catalog.Database(
            id: try made(DatabaseID(bytes: bytes(.database, number, count: 16))), node: node.id, nodeName: name,
            name: "app")
        (database.path, database.schedule, database.state) = ("/var/lib/app/app.db", "every 1d", "protected")
        database.intervalMilliseconds = 86_400_000
        let report = Catalog.Report(agentVersion: "1", clockOffset: .zero, databases: [database], isWhole: true)
        _ = try await catalog.record(report, from: node.id, now: joined)
    }

    private func commit(_ sequence: Int, of node: Int, in store: Int64, _ catalog: Catalog) async throws {
        let received = time(sequence, of: node)
        var commit = Catalog.Commit(
            snapshot: try snapshot(sequence, of: node), node: try self.node(node), scope: try scope(node),
            database: try made(DatabaseID(bytes: bytes(.database, node, count: 16))), databaseName: "app",
            lineage: try made(LineageID(bytes: bytes(.lineage, node, count: 16))), sequence: UInt64(sequence),
            manifestHash: try manifest(sequence, of: node), manifestBytes: 2000, createdAt: received,
            receivedAt: received, sizeBytes: 100 << 20,
            contentRoot: try made(ContentRoot(bytes: bytes(.root, node, sequence))), pageSize: 4096,
            pageCount: 25_600, method: "pinned")
        let (now, before) = (Set(need(sequence)), sequence == 0 ? [] : Set(need(sequence - 1)))
        commit.packsSinceParent = try changes(from: before, to: now, of: node)
        if sequence > 0 {
            commit.parent = try snapshot(sequence - 1, of: node)
            commit.parentManifest = try manifest(sequence - 1, of: node)
            let base = sequence & (sequence - 1)
            commit.base = Catalog.Base(
                snapshot: try snapshot(base, of: node), manifestHash: try manifest(base, of: node))
            commit.packs = try changes(from: Set(need(base)), to: now, of: node)
        } else {
            commit.packs = commit.packsSinceParent
        }
        commit.labels = ["tier": node % 50 == 0 ? "gold" : "plain"]
        if sequence % 30 == 0 { commit.labels["release"] = "r\(sequence / 30)" }
        commit.receipt = bytes(.manifest, node, sequence, count: 320)
        commit.places = [(store, "00000000000000aa", "00000000000000bb")]
        let outcome = try await catalog.commit(commit, packs: try newPacks(sequence, of: node, in: store))
        guard outcome == .committed else { throw Refused(outcome: "\(outcome)") }
        catalog.receiptIsStored(commit.snapshot)
    }

    private func changes(from old: Set<Int>, to new: Set<Int>, of node: Int) throws -> Catalog.PackChanges {
        func ids(_ indexes: Set<Int>) throws -> [PackID] {
            try indexes.sorted().flatMap { try packs($0..<$0 + 1, of: node) }
        }
        return Catalog.PackChanges(added: try ids(new.subtracting(old)), dropped: try ids(old.subtracting(new)))
    }

    private func newPacks(_ sequence: Int, of node: Int, in store: Int64) throws -> [Catalog.NewPack] {
        let fresh = sequence * packsEach..<(sequence + 1) * packsEach
        return try zip(fresh, packs(fresh, of: node)).map { index, id in
            let chunk: ChunkID = try made(ChunkID(bytes: bytes(.chunk, node, index)))
            return Catalog.NewPack(
                id: id, scope: try scope(node), sizeBytes: 100_000, replicas: [(store, "00000000000000cc")],
                chunks: [Catalog.ChunkPlace(id: chunk, offset: 8, length: 20_000)])
        }
    }
}
