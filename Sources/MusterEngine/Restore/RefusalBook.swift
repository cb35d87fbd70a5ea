package import MusterModel
import Synchronization

/// The replicas that a restore met and could do without: bad ones, of which another replica was good.
///
/// A restore that is complete hides them otherwise, until the last good replica has gone bad too.
package final class RefusalBook: Sendable {
    private static let most = 100

    private let entries = Mutex<[Failing]>([])

    package init() {}

    /// The first ones, each replica once.
    package var all: [Failing] { entries.withLock { $0 } }

    func note(_ failing: Failing) {
        entries.withLock { entries in
            let isKnown = entries.contains { $0.store == failing.store && $0.object == failing.object }
            if !isKnown, entries.count < Self.most { entries.append(failing) }
        }
    }
}
