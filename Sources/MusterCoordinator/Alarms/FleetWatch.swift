import Logging
import MusterModel
import ServiceLifecycle
import Synchronization

/// What the last look at the fleet found, for whoever asks between two looks.
final class FleetWatch: Sendable {
    private let last = Mutex<FleetFigures?>(nil)
    /// One look at a time; who comes meanwhile waits for its own.
    let lane = Lanes<Bool>()

    var figures: FleetFigures? { last.withLock { $0 } }

    func keep(_ figures: FleetFigures) { last.withLock { $0 = figures } }
}
