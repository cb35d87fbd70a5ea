import Foundation

extension UnsafeRawBufferPointer {
    func elementsEqualByMemory(_ other: UnsafeMutableRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard count > 0, let start = baseAddress, let otherStart = other.baseAddress else { return count == 0 }
        return unsafe memcmp(start, otherStart, count) == 0
    }
}

extension [UInt8] {
    /// An array whose bytes are all written by `fill`, without being cleared first.
    init(
        uninitializedByteCount byteCount: Int, fill: (UnsafeMutableRawBufferPointer) throws(FormatError) -> Void
    ) throws(FormatError) {
        var failure: FormatError?
        self = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, initialized in
            let target = UnsafeMutableRawBufferPointer(buffer)
            do throws(FormatError) {
                try unsafe fill(target)
                initialized = byteCount
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}
