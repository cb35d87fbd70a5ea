import CZstd

/// zstd frames, made and opened in one pass with contexts that are used again and again.
///
/// In one pass the output is the window, so a frame costs no memory beyond the
/// output that the caller allots, whatever window it asks for.
@safe
struct Zstandard: ~Copyable {
    /// Which libzstd this is, as 10504 for 1.5.4: another one may compress to other bytes.
    static var version: UInt32 { ZSTD_versionNumber() }

    private let compressing: OpaquePointer
    private let decompressing: OpaquePointer

    init(level: Int = 3) {
        unsafe compressing = required(ZSTD_createCCtx(), "ZSTD_createCCtx")
        unsafe decompressing = required(ZSTD_createDCtx(), "ZSTD_createDCtx")
        unsafe requireSuccess(
            ZSTD_CCtx_setParameter(compressing, ZSTD_c_compressionLevel, Int32(level)), "ZSTD_c_compressionLevel")
    }

    deinit {
        unsafe requireSuccess(ZSTD_freeCCtx(compressing), "ZSTD_freeCCtx")
        unsafe requireSuccess(ZSTD_freeDCtx(decompressing), "ZSTD_freeDCtx")
    }

    /// - Returns: the frame's length, or nil where it would not fit into `output`.
    mutating func compress(_ plain: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        let code = unsafe ZSTD_compress2(
            compressing, output.baseAddress, output.count, plain.baseAddress, plain.count)
        guard ZSTD_isError(code) != 0 else { return code }
        precondition(ZSTD_getErrorCode(code) == ZSTD_error_dstSize_tooSmall, "ZSTD_compress2 failed")
        return nil
    }

    /// The longest frame that so many plain bytes become.
    static func mostBytes(_ plainByteCount: Int) -> Int { ZSTD_compressBound(plainByteCount) }

    /// The same with a prefix that is not in the frame.
    ///
    /// - Parameter output: at least `mostBytes`.
    mutating func compress(
        _ plain: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Int {
        // A prefix is for one frame only (zstd.h), so each frame gets its own.
        unsafe requireSuccess(
            ZSTD_CCtx_refPrefix(compressing, prefix.baseAddress, prefix.count), "ZSTD_CCtx_refPrefix")
        guard let byteCount = unsafe compress(plain, into: output) else {
            preconditionFailure("ZSTD_compressBound was too small")
        }
        return byteCount
    }

    /// The same as below with a prefix that is not in the frame.
    mutating func decompress(
        _ frame: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> String? {
        unsafe requireSuccess(
            ZSTD_DCtx_refPrefix(decompressing, prefix.baseAddress, prefix.count), "ZSTD_DCtx_refPrefix")
        let fault = unsafe decompress(frame, into: output)
        // A frame that was refused before it was opened leaves its prefix for the next one.
        unsafe requireSuccess(ZSTD_DCtx_refPrefix(decompressing, nil, 0), "ZSTD_DCtx_refPrefix")
        return fault
    }

    /// Opens exactly one frame that states exactly `output.count` plain bytes and has nothing behind it.
    ///
    /// - Returns: what is wrong with the frame, or nil.
    mutating func decompress(
        _ frame: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> String? {
        guard unsafe ZSTD_getFrameContentSize(frame.baseAddress, frame.count) == UInt64(output.count) else {
            return "the zstd frame does not state \(output.count) plain bytes"
        }
        guard unsafe ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count else {
            return "not exactly one zstd frame"
        }
        let code = unsafe ZSTD_decompressDCtx(
            decompressing, output.baseAddress, output.count, frame.baseAddress, frame.count)
        guard ZSTD_isError(code) == 0, code == output.count else { return "the zstd frame is damaged" }
        return nil
    }
}

private func requireSuccess(_ code: Int, _ call: StaticString) {
    precondition(ZSTD_isError(code) == 0, "\(call) failed")
}
