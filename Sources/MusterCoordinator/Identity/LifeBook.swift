import MusterModel
import Synchronization

/// Which life of each node's agent was heard of last.
///
/// A poll outlives the agent that sent it: nothing tells the coordinator at once that nobody waits for
/// the answer any more. What such a poll took would be lost, and done twice once it is handed out again.
final class LifeBook: Sendable {
    private let lives = Mutex<[NodeID: String]>([:])

    func begin(_ boot: String, of node: NodeID) { lives.withLock { $0[node] = boot } }

    /// False once a later life has asked.
    func isNewest(_ boot: String, of node: NodeID) -> Bool { lives.withLock { $0[node] == boot } }
}
