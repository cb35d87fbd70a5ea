import Logging
import MusterServing

/// Tells the agent's metrics where its configuration wants that; otherwise it only waits for the end.
struct AgentMetricsListener: Sendable {
    let metrics: AgentMetrics
    let address: LoopbackAddress?
    let logger: Logger

    func run() async throws {
        guard let address else { return }
        let listener = MetricsListener(address, logger: logger, openPort: OpenPort()) { [metrics] in metrics.families }
        do {
            try await listener.run()
        } catch {
            guard !Task.isCancelled else { return }
            // Backups go on: nobody loses one because a port is taken.
            logger.error("metrics are not served", metadata: ["address": "\(address)", "reason": "\(error)"])
        }
    }
}
