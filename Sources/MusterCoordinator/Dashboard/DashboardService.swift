import Hummingbird
import Logging
import MusterModel
import ServiceLifecycle

/// The dashboard's listener.
///
/// That its port is taken must not keep snapshots from arriving: then it says so, and tries again later.
struct DashboardService: Service {
    private static let retryInterval = Duration.seconds(60)

    let coordinator: Coordinator
    let listener: @Sendable (ListenAddress) throws -> Application<PlaneResponder>
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(
        coordinator: Coordinator, listener: @escaping @Sendable (ListenAddress) throws -> Application<PlaneResponder>
    ) {
        (self.coordinator, self.listener) = (coordinator, listener)
    }

    func run() async throws {
        guard let address = coordinator.settings.dashboardListen else {
            // The service that ends would end all others.
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                await rounds.wait(true, after: 0, atMost: .seconds(24 * 3600))
            }
            return
        }
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            do {
                return try await listener(address).run()
            } catch {
                await coordinator.ports.fail(.dashboard, reason: "\(address): \(error)")
                coordinator.logger.error(
                    "the dashboard cannot listen", metadata: ["address": "\(address)", "reason": "\(error)"])
            }
            await rounds.wait(true, after: 0, atMost: Self.retryInterval)
        }
    }
}
