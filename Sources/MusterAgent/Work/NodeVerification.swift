import Foundation
import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite

/// Rebuilds a snapshot of this node from what the stores hold, in scratch space, and inspects it.
///
/// What the node still has near is not looked at: the cache of packs would prove nothing about the stores.
struct NodeVerification: Sendable {
    private static let lookInterval = Duration.seconds(2)

    let coordinator: CoordinatorClient
    let identity: NodeIdentity
    let state: AgentState
    let scratch: String
    let limits: InspectionLimits
    let lanes: Int
    let environment: AgentEnvironment
    /// One at a time: each takes memory, scratch space and cores away from the snapshots.
    private let turnstile = Turnstile(room: 1)
    private let pace: InspectionPace

    init(
        coordinator: CoordinatorClient, identity: NodeIdentity, state: AgentState, scratch: String,
        limits: InspectionLimits, lanes: Int, environment: AgentEnvironment
    ) {
        (self.coordinator, self.identity, self.state, self.scratch) = (coordinator, identity, state, scratch)
        // The node's own work comes first: half of what it may use is enough.
        (self.limits, self.lanes, self.environment) = (limits, max(1, lanes / 2), environment)
        pace = InspectionPace(bytesPerSecond: limits.bytesPerSecond, environment: environment)
    }

    /// - Returns: what failed, and what a drill measured; empty when the database is whole.
    func prove(
        _ snapshot: SnapshotID, of database: DatabaseID, isDrill: Bool, _ expectations: DrillExpectations
    ) async throws -> ProofOutcome {
        try await turnstile.pass(weight: 1) {
            var order = SnapshotProof.Order(snapshot, isDrill: isDrill)
            order.expectations = expectations
            order.questions.seconds = limits.time.inSeconds
            order.questions.secondsForAssertion = limits.timeOfAssertion.inSeconds
            order.questions.heapBytes = Int64(limits.memoryBytes)
            if isDrill { order.countsBefore = { [state] in try state.drillCounts(before: DrilledSnapshot($0)) } }
            let outcome = try await proveNow(order)
            if let drill = outcome.drill, let plan = outcome.plan, outcome.failed.isEmpty {
                try state.keep(drill: drill.rows, of: DrilledSnapshot(plan.publicPart))
            }
            return outcome
        }
    }

    private func proveNow(_ order: SnapshotProof.Order) async throws -> ProofOutcome {
        try FileManager.default.createDirectory(
            atPath: scratch, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let target = scratch + "/" + Hex.encode(environment.random.bytes(16)) + ".db"
        // Nothing of a verification stays; what a killed one left is removed at the next start.
        defer { try? FileManager.default.removeItem(atPath: target) }
        let source = PacedSource(CoordinatorSource(coordinator: coordinator), pace)
        let proof = SnapshotProof(
            restore: SnapshotRestore(
                source: source, keys: [identity.keys], verifyingKey: identity.signingKey.verifyingKey, lanes: lanes,
                random: environment.random),
            inspector: environment.inspector, monotonic: environment.monotonic)
        let space = ScratchSpace(folder: scratch, limits: limits)
        return try await withThrowingTaskGroup(of: ProofOutcome?.self) { group in
            group.addTask {
                try await proof.run(
                    order, to: target, store: source.name,
                    onPlan: { plan in
                        try space.check(plan.restoredBytes)
                        pace.expect(writtenBytes: plan.restoredBytes, ofReadBytes: plan.publicPart.storedBytes)
                    })
            }
            group.addTask {
                try await watch(space)
                return nil
            }
            defer { group.cancelAll() }
            guard let outcome = try await group.next(), let outcome else { throw CancellationError() }
            return outcome
        }
    }

    /// Ends with an error when others need the disk, or when it takes too long.
    private func watch(_ space: ScratchSpace) async throws {
        // Twice, as it is for the rebuilding and again for the inspection.
        let deadline = environment.monotonic() + limits.time * 2
        while environment.monotonic() < deadline {
            try await environment.sleep(Self.lookInterval)
            try space.check(0)
        }
        throw InspectionTooLong(limit: limits.time * 2)
    }
}
