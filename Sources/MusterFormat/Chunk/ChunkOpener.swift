package import MusterModel

/// Opens sealed chunks of one scope and key epoch. Keeps its contexts: make one for each lane, never share it.
package final class ChunkOpener {
    private var lane: SealLane

    package init(keys: ScopeKeys) { lane = SealLane(keys: keys, level: 3) }

    package var keyEpoch: UInt32 { lane.keys.epoch }

    /// Checks the id, then opens a chunk into all of `output`, whose size is the one that the map states.
    ///
    /// - Throws: `FormatError`; `output` then holds nothing of use.
    package func open(
        _ sealed: RawSpan, as kind: SealedKind, expecting id: ChunkID, into output: inout MutableRawSpan
    ) throws(FormatError) {
        try unsafe output.withUnsafeMutableBytes { target throws(FormatError) in
            try unsafe sealed.withUnsafeBytes { source throws(FormatError) in
                try unsafe open(source, as: kind, expecting: id, into: target)
            }
        }
    }

    /// - Parameter plainByteCount: as the map states it; it bounds what is allocated.
    package func open(
        _ sealed: RawSpan, as kind: SealedKind, expecting id: ChunkID, plainByteCount: Int
    ) throws(FormatError) -> [UInt8] {
        guard (1...kind.maximumPlainBytes).contains(plainByteCount) else {
            throw .malformed("chunk \(id)", "a plain size of \(plainByteCount) bytes")
        }
        return try unsafe sealed.withUnsafeBytes { source throws(FormatError) in
            try unsafe [UInt8](uninitializedByteCount: plainByteCount) { target throws(FormatError) in
                try unsafe open(source, as: kind, expecting: id, into: target)
            }
        }
    }

    func openManifestPart(
        _ sealed: [UInt8], context: [UInt8], plainByteCount: Int, object: String
    ) throws(FormatError) -> [UInt8] {
        try unsafe sealed.span.withUnsafeBytes { source throws(FormatError) in
            try unsafe [UInt8](uninitializedByteCount: plainByteCount) { target throws(FormatError) in
                try unsafe lane.open(source, as: .manifest, context: context, into: target) { object }
            }
        }
    }

    private func open(
        _ sealed: UnsafeRawBufferPointer, as kind: SealedKind, expecting id: ChunkID,
        into output: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        let actual = unsafe lane.hash(sealed, as: ChunkID.self)
        guard actual == id else {
            throw FormatError(
                "chunk \(id)", .wrongHash(expected: id.description, actual: actual.description))
        }
        try unsafe lane.open(sealed, as: kind, context: nil, into: output) { "chunk \(id)" }
    }
}
