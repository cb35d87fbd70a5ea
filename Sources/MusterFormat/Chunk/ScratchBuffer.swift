/// Memory for intermediate bytes that grows to the largest use and stays.
@safe
struct ScratchBuffer: ~Copyable {
    private var memory: UnsafeMutableRawBufferPointer

    init(byteCount: Int) { unsafe memory = .allocate(byteCount: byteCount, alignment: 64) }

    deinit { unsafe memory.deallocate() }

    /// - Returns: the first `byteCount` bytes; what was there before is gone if it had to grow.
    mutating func bytes(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < byteCount {
            unsafe memory.deallocate()
            unsafe memory = .allocate(byteCount: byteCount, alignment: 64)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<byteCount])
    }
}
