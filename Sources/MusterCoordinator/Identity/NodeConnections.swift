import MusterModel
import NIOCore
import Synchronization

/// The open connections of each node, so that those of one that was revoked end: an upload or a long poll under way
/// would go on with what its certificate once was.
final class NodeConnections: Sendable {
    /// For the answer that says why.
    private static let grace = TimeAmount.seconds(1)

    private let open = Mutex<[NodeID: [ObjectIdentifier: any Channel]]>([:])

    func note(_ channel: any Channel, of node: NodeID) {
        let key = ObjectIdentifier(channel)
        let isNew = open.withLock { open in
            guard open[node]?[key] == nil else { return false }
            open[node, default: [:]][key] = channel
            return true
        }
        guard isNew else { return }
        // Called at once where the channel is closed already.
        channel.closeFuture.whenComplete { [weak self] _ in self?.forget(key, of: node) }
    }

    private func forget(_ key: ObjectIdentifier, of node: NodeID) {
        open.withLock { open in
            open[node]?[key] = nil
            if open[node]?.isEmpty == true { open[node] = nil }
        }
    }

    var nodes: [NodeID] { open.withLock { Array($0.keys) } }

    func count(of node: NodeID) -> Int { open.withLock { $0[node]?.count ?? 0 } }

    /// Closes them all, each after a moment.
    func end(_ node: NodeID) {
        for channel in open.withLock({ Array($0[node, default: [:]].values) }) {
            channel.eventLoop.scheduleTask(in: Self.grace) { channel.close(promise: nil) }
        }
    }
}
