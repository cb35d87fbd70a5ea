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
    private let onWait: @Sendable (_ reason: String) -> Void

    /// - Parameters:
    ///   - end: from then on a failure counts, whatever it is.
    ///   - onWait: told why nothing can be read, and "" once something can again.
    init(
        _ source: any SnapshotSource, until end: Timestamp, environment: AgentEnvironment,
        onWait: @escaping @Sendable (_ reason: String) -> Void = { _ in }
    ) {
        (self.source, self.end, self.environment, self.onWait) = (source, end, environment, onWait)
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
                let replica = try await read()
                onWait("")
                return replica
            } catch let error as any ActionableError where error.isTransient && environment.clock.now() < end {
                onWait(error.summary)
                environment.logger.warning(
                    "restore waits for what it reads from", metadata: ["reason": "\(error.summary)"])
            }
            // Chance keeps lanes and fleet from coming back all at once.
            let pause = Self.pauseAfterFailure * (0.5 + environment.random.unitInterval())
            try await cancelWhenGracefulShutdown { try await environment.sleep(pause) }
            if Task.isShuttingDownGracefully { throw CancellationError() }
        }
    }
}
