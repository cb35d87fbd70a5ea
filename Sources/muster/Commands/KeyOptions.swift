import ArgumentParser
import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel
import MusterTransfer

/// Where the key for reading a snapshot comes from.
struct KeyOptions: ParsableArguments {
    @Option(help: "Use the keys in this agent's directory, and its own access to the coordinator.")
    var agentDir: String?

    @Option(help: "Use the fleet's recovery key in this file; the coordinator is asked as an admin.")
    var recoveryKey: String?

    @Option(
        help: "Of the node whose snapshot it is, as 'muster agent show' prints it there: HEX, of several SOURCE=HEX.")
    var sourceFingerprint: [String] = []

    var isGiven: Bool { agentDir != nil || recoveryKey != nil }

    func validate() throws {
        if agentDir != nil, recoveryKey != nil {
            throw ValidationError("give --agent-dir or --recovery-key, not both")
        }
        if agentDir != nil, !sourceFingerprint.isEmpty {
            throw ValidationError("--source-fingerprint goes with --recovery-key: a node has its own key at hand")
        }
    }

    /// Where to find snapshots: the named store, else the coordinator as the given keys reach it.
    func origin(_ stores: StoreOptions, _ admin: AdminOptions) async throws -> any SnapshotOrigin {
        if stores.places.count > 1 { return try await StoresOrigin(stores.places, stores.s3) }
        if let store = stores.store { return try await StoreOrigin(store, stores.s3) }
        return CoordinatorOrigin(coordinator: try coordinator(admin))
    }

    func coordinator(_ admin: AdminOptions) throws -> CoordinatorClient {
        guard let agentDir else { return try admin.coordinator() }
        let directory = AgentDirectory(path: agentDir)
        let tls = TLSFiles(
            authority: directory.authorityFile,
            identity: .init(certificate: directory.certificateFile, key: directory.certificateKeyFile))
        let configuration = try directory.configuration(overrides: Surroundings.agentOverrides)
        return CoordinatorClient(
            http: try HTTPClient(tls: tls), url: configuration.coordinatorURL, retry: Surroundings.retry)
    }

    static func recoveryKey(in path: String) throws -> RecoveryKey {
        // Missing, unreadable or no text: for the operator that is one mistake with one remedy.
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw RecoveryKeyUnreadable(path: path)
        }
        return try RecoveryKey(fileText: text)
    }

    /// The fingerprint that was given for a node.
    ///
    /// - Parameters:
    ///   - asked: as it was typed; nil where nobody named it.
    ///   - names: all nodes that are meant, as they were typed.
    func fingerprint(of asked: String?, among names: Set<String>? = nil) throws -> String? {
        try GivenFingerprints(
            sourceFingerprint, flag: "--source-fingerprint", names: names ?? [asked ?? ""])[asked ?? ""]
    }

    /// What opens the snapshots of one node.
    ///
    /// The record of a node's keys is signed by the key that it names, and sealed to a recovery key that is public: who
    /// keeps it could have made one up, and a history to it. So the key is held to what was given, or is remembered.
    /// - Parameters:
    ///   - asked: as the node was typed; nil where nobody named it.
    ///   - fingerprint: that was given for it.
    func keys(
        of nodeID: String, _ origin: any SnapshotOrigin, known: KnownNodes, asked: String? = nil,
        fingerprint: String? = nil
    ) async throws -> SnapshotKeys {
        guard let node = NodeID(nodeID) else {
            throw CoordinatorError.unreadable(path: "/v1/snapshots", reason: "'\(nodeID)' is no node id")
        }
        if let agentDir {
            let directory = AgentDirectory(path: agentDir)
            let configuration = try directory.configuration()
            let own = configuration.nodeID
            guard own == node else { throw AnotherNodesSnapshot(node: nodeID, agentDir: agentDir) }
            let identity = try NodeIdentity(directory: directory, node: own)
            return SnapshotKeys(
                nodeName: configuration.nodeName, keys: [identity.keys],
                verifyingKey: identity.signingKey.verifyingKey)
        }
        guard let recoveryKey else { throw KeyMissing() }
        let key = try Self.recoveryKey(in: recoveryKey)
        let record = try KeyRecord.verified(try await origin.keyRecord(of: node))
        guard record.node == node else {
            throw CoordinatorError.unreadable(path: "/v1/nodes/\(node)/keys", reason: "it is another node's record")
        }
        let secret = try record.openSecret(with: key)
        try known.accept(
            source: ToldNode(
                id: node, name: record.nodeName, key: record.signingKey, asked: asked, fingerprint: fingerprint),
            saidBy: origin is CoordinatorOrigin ? "the coordinator" : "the store")
        return SnapshotKeys(
            nodeName: record.nodeName, keys: [ScopeKeys(secret: secret, scope: record.scope, epoch: record.keyEpoch)],
            verifyingKey: record.signingKey)
    }
}

struct SnapshotKeys: Sendable {
    let nodeName: String
    let keys: [ScopeKeys]
    /// The key that must have signed the manifest.
    let verifyingKey: VerifyingKey
}

struct KeyMissing: ActionableError {
    var summary: String { "a snapshot is sealed, and no key was given" }
    var hint: String { "Give --agent-dir DIR on the node itself, or --recovery-key FILE elsewhere." }
    var isTransient: Bool { false }
}

private struct AnotherNodesSnapshot: ActionableError {
    let node, agentDir: String
    var summary: String { "the snapshot belongs to node \(node), not to the one in '\(agentDir)'" }
    var hint: String { "Use that node's --agent-dir, or --recovery-key FILE." }
    var isTransient: Bool { false }
}

private struct RecoveryKeyUnreadable: ActionableError {
    let path: String
    var summary: String { "the recovery key '\(path)' cannot be read" }
    var hint: String { "Give the file that 'muster coordinator init' wrote and you took offline." }
    var isTransient: Bool { false }
}
