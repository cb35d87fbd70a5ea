import Foundation
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel

/// Rebuilds a snapshot of this node from what the coordinator holds, in scratch space, and inspects it.
struct NodeVerification: Sendable {
    let coordinator: CoordinatorClient
    let identity: NodeIdentity
    let scratch: String
    let lanes: Int
    let environment: AgentEnvironment
    /// One at a time: each takes memory, scratch space and cores away from the snapshots.
    private let turnstile = Turnstile(room: 1)

    init(
        coordinator: CoordinatorClient, identity: NodeIdentity, scratch: String, lanes: Int,
        environment: AgentEnvironment
    ) {
        (self.coordinator, self.identity, self.scratch) = (coordinator, identity, scratch)
        (self.lanes, self.environment) = (lanes, environment)
    }

    /// - Returns: what failed; empty when the database is whole, its root equal and `integrity_check` clean.
    func verify(_ snapshot: SnapshotID) async throws -> [Failing] {
        try await turnstile.pass(weight: 1) { try await verifyNow(snapshot) }
    }

    private func verifyNow(_ snapshot: SnapshotID) async throws -> [Failing] {
        try FileManager.default.createDirectory(
            atPath: scratch, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let target = scratch + "/" + Hex.encode(environment.random.bytes(16)) + ".db"
        // Nothing of a verification stays; what a killed one left is removed at the next start.
        defer { try? FileManager.default.removeItem(atPath: target) }
        let restore = SnapshotRestore(
            source: CoordinatorSource(coordinator: coordinator), keys: [identity.keys],
            verifyingKey: identity.signingKey.verifyingKey, lanes: lanes, random: environment.random)
        do {
            _ = try await restore.run(snapshot, to: target, checkIntegrity: true)
            return []
        } catch let error as RestoreError {
            if let failing = error.failing { return [failing] }
            throw error
        }
    }
}
