/// The plain bytes of a difference chunk: for each page `u32 length ‖ frame`.
package enum DifferenceChunk {
    /// A length and at least one byte of a frame.
    static let leastBytesPerPage = 5
    private static let lengthBytes = 4

    /// What a frame adds to a difference chunk.
    package static func byteCount(ofFrame frameByteCount: Int) -> Int { lengthBytes + frameByteCount }

    /// - Parameter frames: in the order of the entry's pages, each as `PageDifferencer` gave it.
    package static func encode(frames: some Sequence<[UInt8]>) -> [UInt8] {
        var plain: [UInt8] = []
        for frame in frames {
            precondition(!frame.isEmpty, "a difference is never empty")
            plain += littleEndianBytes(UInt32(frame.count))
            plain += frame
        }
        return plain
    }

    /// Where the frames are.
    ///
    /// - Parameter count: pages of the chunk, as the map states it.
    /// - Throws: `FormatError` unless exactly so many frames fill the chunk.
    package static func frames(in plain: [UInt8], count: Int) throws(FormatError) -> [Range<Int>] {
        let object = "difference chunk"
        guard count > 0, count <= plain.count / leastBytesPerPage else {
            throw .malformed(object, "\(count) pages in \(plain.count) bytes")
        }
        var frames: [Range<Int>] = []
        frames.reserveCapacity(count)
        var position = 0
        for _ in 0..<count {
            guard plain.count - position > lengthBytes else { throw .malformed(object, "it ends before its last page") }
            let length = Int(littleEndian(plain[position..<position + lengthBytes], as: UInt32.self))
            position += lengthBytes
            guard length > 0, length <= plain.count - position else {
                throw .malformed(object, "a difference of \(length) bytes where \(plain.count - position) are left")
            }
            frames.append(position..<position + length)
            position += length
        }
        guard position == plain.count else {
            throw .malformed(object, "\(plain.count - position) bytes follow its end")
        }
        return frames
    }
}
