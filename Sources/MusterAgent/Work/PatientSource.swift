import Logging
import MusterEngine
import MusterModel
import ServiceLifecycle

/// Waits for a coordinator that is away, read by read, so that what a long restore has done so far is kept.
struct PatientSource: SnapshotSource {
    private static let pauseAfterFailure = Duration.seconds(5)

    private let source: any SnapshotSource
    private let end: Timestamp
    private let environment: AgentEnvironment

    /// - Parameter end: from then on a failure counts, whatever it is.
    init(_ source: any SnapshotSource, until end: Timestamp, environment: AgentEnvironment) {
        (self.source, self.end, self.environment) = (source, end, environment)
    }

    var name: String { source.name }

    func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        try await patiently { try await source.manifest(of: snapshot, after: refused) }
    }

    func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
        try await patiently { try await source.read(pack, range, after: refused) }
    }

    /// - Throws: `CancellationError` too where the agent is to end: its next life gets the order again.
    private func patiently(_ read: () async throws -> ReplicaBytes) async throws -> ReplicaBytes {
        while true {
            do {
                return try await read()
            } catch let error as any ActionableError where error.isTransient && environment.clock.now() < end {
                environment.logger.warning(
                    "restore waits for the coordinator", metadata: ["reason": "\(error.summary)"])
            }
            // Chance keeps lanes and fleet from coming back all at once.
            let pause = Self.pauseAfterFailure * (0.5 + environment.random.unitInterval())
            try await cancelWhenGracefulShutdown { try await environment.sleep(pause) }
            if Task.isShuttingDownGracefully { throw CancellationError() }
        }
    }
}
