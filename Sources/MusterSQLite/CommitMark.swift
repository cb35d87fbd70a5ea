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

/// Short captures of one database, one after the other, with nobody of this process at it in between.
package final class CaptureSeries: Sendable {
    private let files: SourceFiles
    private let identity: FileState.Identity
    private let lease: CaptureLease
    private let surroundings: CaptureSurroundings

    /// - Throws: `.alreadyBeingCaptured`, and what `PinnedCapture.begin` throws for the path.
    package init(
        path: String, options: CaptureOptions, elapsed: @escaping @Sendable () -> Duration,
        shouldStop: @escaping @Sendable () -> Bool
    ) throws(CaptureError) {
        files = try SourceFiles(resolving: path)
        identity = try files.state().identity
        lease = try CaptureLease(identity, path: files.path)
        surroundings = CaptureSurroundings(options: options, elapsed: elapsed, shouldStop: shouldStop)
    }

    /// End each before the next.
    package func next() throws(CaptureError) -> PinnedCapture {
        guard try files.state().identity == identity else { throw .changedDuringCapture(path: files.path) }
        return try PinnedCapture.begin(files, surroundings, nil)
    }
}

extension PinnedCapture {
    package func commitMark() throws(CaptureError) -> CommitMark {
        let first = pageCount == 0 ? [] : try readPages(1, count: 1)
        return CommitMark(
            file: FileState.Identity(device: fingerprint.device, inode: fingerprint.inode),
            header: Array(first.prefix(DatabaseHeader.byteCount)), pageSize: pageSize, pageCount: pageCount)
    }
}
