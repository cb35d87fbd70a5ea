import MusterModel
import Synchronization

/// Which poll of each node's agent came last.
///
/// A poll outlives whoever sent it: nothing tells the coordinator at once that nobody waits for the answer any
/// more. What such a poll took would be lost, and done twice once it is handed out again. An agent sends one after the
/// other, so the last one knows of every job that came before.
final class PollBook: Sendable {
    struct Poll: Hashable, Sendable {
        fileprivate let node: NodeID
        fileprivate let number: UInt64
    }

    private let newest = Mutex<[NodeID: UInt64]>([:])

    func begin(of node: NodeID) -> Poll {
        newest.withLock { newest in
            newest[node, default: 0] += 1
            return Poll(node: node, number: newest[node, default: 0])
        }
    }

    /// False once a later one has come.
    func isNewest(_ poll: Poll) -> Bool { newest.withLock { $0[poll.node] == poll.number } }
}
