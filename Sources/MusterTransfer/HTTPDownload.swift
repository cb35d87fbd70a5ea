/// An answer whose body is read piece by piece, by one reader.
///
/// At most `downloadBufferBytes` wait here: a slow reader slows the server
/// down. Dropping it before its end cancels the request.
package struct HTTPDownload: AsyncSequence, Sendable {
    package typealias Failure = TransferError

    package let head: HTTPHead
    private let lease: Lease

    /// The most bytes that ever waited for the reader.
    package var peakBufferedBytes: Int { lease.stream.peakByteCount }

    init(head: HTTPHead, lease: Lease) { (self.head, self.lease) = (head, lease) }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(lease: lease) }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let lease: Lease

        package mutating func next() async throws(TransferError) -> [UInt8]? { try await lease.stream.next() }

        package mutating func next(isolation actor: isolated (any Actor)?) async throws(TransferError) -> [UInt8]? {
            try await lease.stream.next()
        }
    }

    /// Keeps the client alive while a reader is left, and ends the request when none is.
    final class Lease: Sendable {
        let stream: BodyStream
        private let client: HTTPClient

        init(client: HTTPClient, stream: BodyStream) { (self.client, self.stream) = (client, stream) }

        deinit { stream.cancel() }
    }
}
