package import MusterModel

/// A chunk compressed and encrypted, named by the SHA-256 of its bytes.
package struct SealedChunk: Sendable, Hashable {
    package let id: ChunkID
    package let bytes: [UInt8]
    /// What the map states, so that opening is bounded.
    package let plainByteCount: Int
}

/// Seals chunks under one scope's keys. Keeps its contexts: make one for each lane, never share it.
package final class ChunkSealer {
    private var lane: SealLane

    /// - Parameter level: of zstd, 1 to 19.
    package init(keys: ScopeKeys, level: Int = 3) { lane = SealLane(keys: keys, level: level) }

    /// Compresses, seals, opens again and compares.
    ///
    /// - Parameter plain: 1 byte to 1 MiB.
    /// - Throws: `FormatError`, `selfCheckFailed` only: this machine computes wrongly, and nothing may leave it.
    package func seal(_ plain: RawSpan, as kind: SealedKind) throws(FormatError) -> SealedChunk {
        precondition(kind != .manifest, "a manifest's sealed part is no chunk")
        precondition((1...Format.maximumPlainChunkBytes).contains(plain.byteCount), "a chunk has 1 byte to 1 MiB")
        return try unsafe plain.withUnsafeBytes { bytes throws(FormatError) in
            let sealed = try unsafe lane.seal(bytes, as: kind, context: nil)
            let id = unsafe sealed.withUnsafeBytes { unsafe lane.hash($0, as: ChunkID.self) }
            return SealedChunk(id: id, bytes: sealed, plainByteCount: plain.byteCount)
        }
    }

    package func seal(_ plain: [UInt8], as kind: SealedKind) throws(FormatError) -> SealedChunk {
        try unsafe seal(plain.span.bytes, as: kind)
    }

    func sealManifestPart(_ plain: [UInt8], context: [UInt8]) throws(FormatError) -> [UInt8] {
        try unsafe plain.span.withUnsafeBytes { bytes throws(FormatError) in
            try unsafe lane.seal(bytes, as: .manifest, context: context)
        }
    }
}

extension SealedChunk {
    /// A chunk that was sealed before, for another pack.
    ///
    /// - Throws: `FormatError`, `wrongHash`, where the bytes are not the chunk's.
    package init(copying bytes: [UInt8], id: ChunkID) throws(FormatError) {
        let actual: ChunkID = SHA256Hasher.hash(bytes)
        guard actual == id else {
            throw FormatError("chunk \(id)", .wrongHash(expected: id.description, actual: actual.description))
        }
        // What it opens to stands in the map, which knows.
        self.init(id: id, bytes: bytes, plainByteCount: 0)
    }
}
