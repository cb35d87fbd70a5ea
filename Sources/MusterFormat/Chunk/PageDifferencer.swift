/// Makes and applies differences between pages: zstd frames with the base page as prefix.
///
/// Keeps its contexts: make one for each lane, never share it.
package final class PageDifferencer {
    private var zstandard: Zstandard
    private var packed = ScratchBuffer(byteCount: 8 << 10)
    private var reopened = ScratchBuffer(byteCount: 4 << 10)

    /// - Parameter level: of zstd, 1 to 19.
    package init(level: Int = 3) { zstandard = Zstandard(level: level) }

    /// - Parameter base: nil where the extent chunk has no such page.
    /// - Returns: one frame, applied and compared before it is given out. It may be longer than the page.
    /// - Throws: `FormatError`, `selfCheckFailed` only: this machine computes wrongly.
    package func difference(of page: RawSpan, from base: RawSpan?) throws(FormatError) -> [UInt8] {
        try unsafe page.withUnsafeBytes { page throws(FormatError) in
            guard let base else { return try unsafe difference(of: page, prefix: .init(start: nil, count: 0)) }
            return try unsafe base.withUnsafeBytes { base throws(FormatError) in
                try unsafe difference(of: page, prefix: base)
            }
        }
    }

    /// Rebuilds a page into all of `output`.
    ///
    /// - Throws: `FormatError`; `output` then holds nothing of use.
    package func apply(
        _ frame: RawSpan, to base: RawSpan?, into output: inout MutableRawSpan
    ) throws(FormatError) {
        try unsafe output.withUnsafeMutableBytes { output throws(FormatError) in
            try unsafe frame.withUnsafeBytes { frame throws(FormatError) in
                guard let base else { return try unsafe apply(frame, .init(start: nil, count: 0), into: output) }
                try unsafe base.withUnsafeBytes { base throws(FormatError) in
                    try unsafe apply(frame, base, into: output)
                }
            }
        }
    }

    private func difference(
        of page: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer
    ) throws(FormatError) -> [UInt8] {
        precondition(
            (1...65_536).contains(page.count) && [0, page.count].contains(prefix.count),
            "a page has at most 64 KiB, and its base as many")
        let output = unsafe packed.bytes(Zstandard.mostBytes(page.count))
        let byteCount = unsafe zstandard.compress(page, prefix: apart(prefix, from: page), into: output)
        let frame = unsafe UnsafeRawBufferPointer(rebasing: output[..<byteCount])
        let check = unsafe reopened.bytes(page.count)
        guard unsafe zstandard.decompress(frame, prefix: prefix, into: check) == nil,
            unsafe page.elementsEqualByMemory(check)
        else { throw FormatError("difference", .selfCheckFailed) }
        return unsafe Array(frame)
    }

    /// Arrays that are equal may share their bytes, and libzstd ignores what of a prefix overlaps the input
    /// (zstd_compress_internal.h, ZSTD_window_update).
    private func apart(
        _ prefix: UnsafeRawBufferPointer, from page: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        guard let start = prefix.baseAddress, unsafe start == page.baseAddress else { return unsafe prefix }
        let copy = unsafe reopened.bytes(prefix.count)
        unsafe copy.copyMemory(from: prefix)
        return UnsafeRawBufferPointer(copy)
    }

    private func apply(
        _ frame: UnsafeRawBufferPointer, _ prefix: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        if let fault = unsafe zstandard.decompress(frame, prefix: prefix, into: output) {
            throw .malformed("difference", fault)
        }
    }
}
