import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel

/// One restore that a node is to do: what, by whom, to where.
struct RestoreOrder {
    let snapshot: Muster_V1_Snapshot
    let target: Muster_V1_Node
    let path: String
    /// What was asked for; the manifest that the node signed is held to it.
    let asked: AnswerCheck

    /// The node has the key itself.
    var isOwn: Bool { snapshot.nodeID == target.id }
}

/// Makes the grants by which nodes do restores, and opens for it what the recovery key opens.
struct RestoreOrders {
    private let origin: CoordinatorOrigin
    private let recoveryKey: RecoveryKey?
    private let known: KnownNodes
    private let life: Duration

    init(
        _ coordinator: CoordinatorClient, recoveryKey: RecoveryKey?, known: KnownNodes, life: Duration
    ) {
        origin = CoordinatorOrigin(coordinator: coordinator)
        (self.recoveryKey, self.known, self.life) = (recoveryKey, known, life)
    }

    /// What is in the way of an order, without asking anybody; nil where nothing is.
    func obstacle(_ order: RestoreOrder) -> String? {
        do {
            let key = try Self.signingKey(of: order.target)
            guard order.target.state == "active" else { return "node '\(order.target.name)' is \(order.target.state)" }
            guard !order.isOwn else { return nil }
            guard recoveryKey != nil else { return RecoveryKeyWanted(order: order).summary }
            _ = try Self.grantKey(of: order.target, key)
            let isKnown = try known.isKnown(try Self.id(of: order.target), key)
            return isKnown ? nil : "its fingerprint is to be compared: \(key.id)"
        } catch {
            return (error as? any ActionableError)?.summary ?? "\(error)"
        }
    }

    func grant(_ order: RestoreOrder) async throws -> RestoreGrant {
        let targetKey = try Self.signingKey(of: order.target)
        guard order.isOwn else { return try await foreignGrant(order, targetKey) }
        guard let scope = ScopeID(order.target.scopeID) else { throw Self.unreadable("scope_id", order.target.scopeID) }
        return try RestoreGrant(try terms(order, sourceKey: targetKey, scope: scope, keyEpoch: 0))
    }

    private func foreignGrant(_ order: RestoreOrder, _ targetKey: VerifyingKey) async throws -> RestoreGrant {
        guard let recoveryKey else { throw RecoveryKeyWanted(order: order) }
        let recipient = try Self.grantKey(of: order.target, targetKey)
        try known.require(try Self.id(of: order.target), named: order.target.name, targetKey)
        guard let source = NodeID(order.snapshot.nodeID) else {
            throw Self.unreadable("node_id", order.snapshot.nodeID)
        }
        let record = try KeyRecord.verified(try await origin.keyRecord(of: source))
        guard record.node == source else { throw Self.unreadable("key record", "\(record.node)") }
        let secret = try record.openSecret(with: recoveryKey)
        let terms = try terms(order, sourceKey: record.signingKey, scope: record.scope, keyEpoch: record.keyEpoch)
        let keys = ScopeKeys(secret: secret, scope: record.scope, epoch: record.keyEpoch)
        let plan = try await SnapshotRestore(
            source: origin.source, keys: [keys], verifyingKey: record.signingKey, lanes: 1,
            random: Surroundings.random
        ).plan(terms.snapshot)
        try order.asked.check(order.snapshot, plan.publicPart, nodeName: record.nodeName)
        return try RestoreGrant(
            terms, secret: secret, to: recipient, by: recoveryKey, random: Surroundings.random)
    }

    private func terms(
        _ order: RestoreOrder, sourceKey: VerifyingKey, scope: ScopeID, keyEpoch: UInt32
    ) throws -> RestoreGrant.Terms {
        guard let snapshot = SnapshotID(order.snapshot.id) else { throw UnreadableSnapshot(id: order.snapshot.id) }
        guard let source = NodeID(order.snapshot.nodeID), let root = ContentRoot(order.snapshot.checksum) else {
            throw Self.unreadable("checksum", order.snapshot.checksum)
        }
        let now = Surroundings.clock.now()
        return RestoreGrant.Terms(
            id: GrantID(from: Surroundings.random), sourceNode: source, sourceKey: sourceKey, scope: scope,
            keyEpoch: keyEpoch, snapshot: snapshot, contentRoot: root, targetNode: try Self.id(of: order.target),
            targetPath: order.path, issuedAt: now, expiresAt: now + life)
    }

    // MARK: - What the coordinator says of the target

    static func signingKey(of node: Muster_V1_Node) throws -> VerifyingKey {
        guard let key = Hex.decode(node.signingKey).flatMap({ VerifyingKey(bytes: $0) }) else {
            throw unreadable("signing_key", node.signingKey)
        }
        return key
    }

    private static func id(of node: Muster_V1_Node) throws -> NodeID {
        guard let id = NodeID(node.id) else { throw unreadable("id", node.id) }
        return id
    }

    private static func grantKey(of node: Muster_V1_Node, _ key: VerifyingKey) throws -> GrantPublicKey {
        guard !node.grantKey.isEmpty else { throw NoGrantKey(node: node.name) }
        guard let grantKey = GrantPublicKey(statement: Array(node.grantKey), of: try id(of: node), signer: key) else {
            throw unreadable("grant_key", Hex.encode(Array(node.grantKey)))
        }
        return grantKey
    }

    private static func unreadable(_ field: String, _ text: String) -> CoordinatorError {
        .unreadable(path: "/v1/nodes", reason: "\(field) '\(text)' is not what belongs there")
    }
}

private struct RecoveryKeyWanted: ActionableError {
    let order: RestoreOrder
    var summary: String {
        "node '\(order.target.name)' has no key for a snapshot of node '\(order.snapshot.node)'"
    }
    var hint: String { "Give the fleet's --recovery-key FILE: what opens this one snapshot is sealed to the node." }
    var isTransient: Bool { false }
}

private struct NoGrantKey: ActionableError {
    let node: String
    var summary: String { "node '\(node)' has not said yet what secrets for it are sealed to" }
    var hint: String { "Start its agent and let it report; an agent of an older version cannot do it." }
    var isTransient: Bool { true }
}
