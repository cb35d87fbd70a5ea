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
    /// As they were typed: names or ids; nil where nobody named the source.
    let askedTarget: String
    let askedSource: String?
    /// As they were given for these two; nil where they were not.
    let targetFingerprint: String?
    let sourceFingerprint: String?

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
            let target = try possibleTarget(order)
            let isCompared = try known.standing(of: target) == .compared
            return order.isOwn || isCompared ? nil : "its fingerprint is to be compared: \(target.key.id)"
        } catch {
            return (error as? any ActionableError)?.summary ?? "\(error)"
        }
    }

    func grant(_ order: RestoreOrder) async throws -> RestoreGrant {
        let target = try possibleTarget(order)
        return order.isOwn ? try await ownGrant(order, target) : try await foreignGrant(order, target)
    }

    /// - Throws: what no comparing of fingerprints settles.
    private func possibleTarget(_ order: RestoreOrder) throws -> ToldNode {
        let key = try Self.signingKey(of: order.target)
        guard order.target.state == "active" else { throw TargetEnded(order: order) }
        if order.isOwn {
            // Source and target are one: what was given for either is held to the one key.
            guard order.sourceFingerprint.map({ key.id.description.hasPrefix($0) }) ?? true else {
                throw SourceKeyDiffers(order: order, key: key)
            }
        } else {
            guard recoveryKey != nil else { throw RecoveryKeyWanted(order: order) }
            _ = try Self.grantKey(of: order.target, key)
        }
        return ToldNode(
            id: try Self.id(of: order.target), name: order.target.name, key: key, asked: order.askedTarget,
            fingerprint: order.targetFingerprint)
    }

    /// Nothing is sealed, so nobody has to compare; what was given or is remembered counts all the same.
    private func ownGrant(_ order: RestoreOrder, _ target: ToldNode) async throws -> RestoreGrant {
        _ = try known.standing(of: target)
        guard let scope = ScopeID(order.target.scopeID) else { throw Self.unreadable("scope_id", order.target.scopeID) }
        let terms = try terms(order, sourceKey: target.key, scope: scope, keyEpoch: 0)
        let part = try await publicPart(of: terms.snapshot, signedBy: target.key)
        try order.asked.check(order.snapshot, part, nodeName: order.target.name)
        return try RestoreGrant(terms)
    }

    /// What a node signed of its snapshot; no key opens the rest here.
    private func publicPart(of snapshot: SnapshotID, signedBy key: VerifyingKey) async throws -> ManifestPublicPart {
        do {
            let manifest = try Manifest.parse(try await origin.source.manifest(of: snapshot)).verified(by: key)
            guard manifest.publicPart.snapshot == snapshot else {
                throw Self.unreadable("manifest", manifest.publicPart.snapshot.description)
            }
            return manifest.publicPart
        } catch let error as ObjectUnavailable {
            throw RestoreError.damaged(
                snapshot: snapshot, store: origin.source.name, object: "manifest of snapshot \(snapshot)",
                reason: error.reason)
        }
    }

    private func foreignGrant(_ order: RestoreOrder, _ target: ToldNode) async throws -> RestoreGrant {
        guard let recoveryKey else { throw RecoveryKeyWanted(order: order) }
        let recipient = try Self.grantKey(of: order.target, target.key)
        try known.require(target: target)
        guard let source = NodeID(order.snapshot.nodeID) else {
            throw Self.unreadable("node_id", order.snapshot.nodeID)
        }
        // The record is signed by the key that it names: it proves nothing of whose key that is.
        let record = try KeyRecord.verified(try await origin.keyRecord(of: source))
        guard record.node == source else { throw Self.unreadable("key record", "\(record.node)") }
        try known.accept(
            source: ToldNode(
                id: source, name: record.nodeName, key: record.signingKey, asked: order.askedSource,
                fingerprint: order.sourceFingerprint))
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

private struct SourceKeyDiffers: ActionableError {
    let order: RestoreOrder
    let key: VerifyingKey
    var summary: String {
        "node '\(order.target.name)' restores its own snapshot, and has fingerprint \(key.id), not "
            + (order.sourceFingerprint ?? "")
    }
    var hint: String {
        "Find out on the node, with 'muster agent show --dir DIR', which one is right. If it is not the coordinator's, "
            + "the coordinator is not to be trusted."
    }
    var isTransient: Bool { false }
}

private struct TargetEnded: ActionableError {
    let order: RestoreOrder
    var summary: String { "node '\(order.target.name)' is \(order.target.state)" }
    var hint: String { "Restore onto a node that is active; 'muster node list' shows them." }
    var isTransient: Bool { false }
}

private struct NoGrantKey: ActionableError {
    let node: String
    var summary: String { "node '\(node)' has not said yet what secrets for it are sealed to" }
    var hint: String { "Start its agent and let it report; an agent of an older version cannot do it." }
    var isTransient: Bool { true }
}
