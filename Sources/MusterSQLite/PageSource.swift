/// Anything that can serve the bytes of a database image: a file, a restored snapshot, chunks in a store.
package protocol PageSource: AnyObject, Sendable {
    var byteCount: UInt64 { get }
    /// Fills all of `bytes` from the image, beginning at `offset`; never asked for bytes after `byteCount`.
    func read(at offset: UInt64, into bytes: inout MutableRawSpan) throws
}
