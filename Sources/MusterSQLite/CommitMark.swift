/// Which commit of a rollback-journal database a read transaction saw.
///
/// Two transactions with equal marks saw the same commit. Every commit stores another change counter in the
/// header (sqlite.org/fileformat2.html, 1.3.8). In exclusive locking mode the counter changes with the first commit
/// only, but then nobody else reads until that mode is left. What a transaction wrote before it was rolled back is
/// undone before anybody gets SHARED again, but not where there is no journal (OFF, or MEMORY and a killed writer):
/// so the file must not have been written at all, as its size and times, taken before each transaction, say.
package struct CommitMark: Equatable, Sendable {
    let file: FileState.Identity
    let sizeBytes: UInt64
    let modifiedNanoseconds: Int64
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
            sizeBytes: fingerprint.sizeBytes, modifiedNanoseconds: fingerprint.modifiedNanoseconds,
            header: Array(first.prefix(DatabaseHeader.byteCount)), pageSize: pageSize, pageCount: pageCount)
    }
}
