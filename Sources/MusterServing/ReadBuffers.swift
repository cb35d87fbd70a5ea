package import NIOCore

/// Keeps what a connection that waits has allocated small.
///
/// A channel reads up to four times in a row and keeps a buffer for each, and what TLS opens grows to what was read at
/// once: with the defaults that is 260 KiB for each connection of a node that ever sent anything, and a node has two.
package final class ReadBuffers: ChannelInboundHandler, RemovableChannelHandler, Sendable {
    package typealias InboundIn = NIOAny

    /// Two records of TLS (16 KiB each, RFC 8446, section 5.1).
    private static let mostBytes = 32 << 10

    package init() {}

    package func handlerAdded(context: ChannelHandlerContext) {
        // Options of a channel that is closed already do not matter.
        let options = context.channel.syncOptions
        try? options?.setOption(.maxMessagesPerRead, value: 1)
        try? options?.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(minimum: 1 << 10, initial: 4 << 10, maximum: Self.mostBytes))
    }
}
