/// Which commit of a rollback-journal database a read transaction saw.
///
/// Two transactions with equal marks saw the same commit. Every commit stores another change counter in the
/// header (sqlite.org/fileformat2.html, 1.3.8), and what a transaction wrote before it was rolled back is undone
/// before anybody gets SHARED again. In exclusive locking mode the counter changes with the first commit only, but
/// then nobody else reads until that mode is left.
package struct CommitMark: Equatable, Sendable {
    let file: FileState.Identity
    /// 100 bytes, the change counter among them; none where the database has no page yet.
    let header: [UInt8]
    package let pageSize: Int
    package let pageCount: UInt64
}

extension PinnedCapture {
    package func commitMark() throws(CaptureError) -> CommitMark {
        let first = pageCount == 0 ? [] : try readPages(1, count: 1)
        return CommitMark(
            file: FileState.Identity(device: fingerprint.device, inode: fingerprint.inode),
            header: Array(first.prefix(DatabaseHeader.byteCount)), pageSize: pageSize, pageCount: pageCount)
    }
}
