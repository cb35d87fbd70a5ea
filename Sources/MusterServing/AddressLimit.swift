package import NIOCore
import Synchronization

/// How many connections each address has on one plane; one address must not take them all.
package final class AddressCounts: Sendable {
    private let limit: Int
    private let counts = Mutex<[String: Int]>([:])

    package init(limit: Int) { self.limit = limit }

    /// - Returns: false if the address has as many as it may.
    func enter(_ address: String) -> Bool {
        counts.withLock { counts in
            guard counts[address, default: 0] < limit else { return false }
            counts[address, default: 0] += 1
            return true
        }
    }

    func leave(_ address: String) {
        counts.withLock { counts in
            let left = counts[address, default: 1] - 1
            counts[address] = left > 0 ? left : nil
        }
    }
}

/// Counts one connection under its peer's address, and closes it where there are too many.
///
/// `@unchecked Sendable`: a channel's handlers run on its event loop alone.
package final class AddressLimit: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
    package typealias InboundIn = NIOAny

    private let counts: AddressCounts
    private var counted: String?

    package init(_ counts: AddressCounts) { self.counts = counts }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { enter(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        enter(context)
        context.fireChannelActive()
    }

    private func enter(_ context: ChannelHandlerContext) {
        guard counted == nil else { return }
        let address = context.channel.remoteAddress?.ipAddress ?? "unknown"
        guard counts.enter(address) else { return context.channel.close(promise: nil) }
        counted = address
    }

    package func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) { leave() }

    private func leave() {
        if let counted { counts.leave(counted) }
        counted = nil
    }
}
