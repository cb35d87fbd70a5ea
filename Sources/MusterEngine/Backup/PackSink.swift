package import MusterModel

/// Where a chunk that is already on the other side stands.
package struct PresentChunk: Hashable, Sendable {
    package let pack: PackID
    /// Bytes from the start of the pack.
    package let offset: UInt32
    package let length: UInt32

    package init(pack: PackID, offset: UInt32, length: UInt32) {
        (self.pack, self.offset, self.length) = (pack, offset, length)
    }
}

/// Where a pipeline's packs go: the coordinator in production.
package protocol PackSink: Sendable {
    /// Those of the chunks that are already there, with their places.
    func present(_ chunks: [ChunkID]) async throws -> [ChunkID: PresentChunk]

    /// Returns once the pack is durable on the other side.
    ///
    /// - Parameter onBytesSent: bytes of this pack given to the network so far.
    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async throws

    /// Bytes of a pack that this node pushed before; nil where they are not to be had now.
    func read(_ pack: PackID, _ range: Range<Int>) async throws -> [UInt8]?
}
