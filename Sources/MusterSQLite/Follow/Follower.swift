import Glibc
import Synchronization

/// Sees every commit of one live WAL database, so that a snapshot reads only what changed.
///
/// It holds descriptors of its own and SQLite's locks on them, no connection,
/// and a thread of its own that looks every 2 ms while commits come and every
/// 25 ms otherwise. It notes the numbers of the pages that commits change;
/// their content is read by `pin`. See `FollowState` for protocol and proof.
///
/// - A **full** snapshot: `beginRound`, read the file with `readFile`, however
///   long that takes; `pin`, and read the pages of its `dirty` again.
/// - An **incremental** one: `pin`, read the pages of its `dirty`.
/// - Where `isContinuous` is false anything may have changed: a full one, or the
///   same with hashes compared instead of pages kept.
///
/// | beside a follower | may run? |
/// |---|---|
/// | readers, writers, checkpoints of any mode, VACUUM | yes; a blocking checkpoint waits for some milliseconds |
/// | captures and fingerprints of the same file in this process | yes, one at a time |
/// | connections in this process that are no captures | no: `detach` would drop their locks |
/// | `journal_mode=DELETE`, `locking_mode=EXCLUSIVE` | no: "database is locked" until it is detached |
///
/// Calls block, for as long as a look takes (20 ms beside a checkpoint), and `pin` for as long as it takes to read
/// the part of the WAL that is not copied yet; do not make them from `onChange`.
package final class Follower: Sendable {
    /// True: what is collected since `attach` is everything that changed since the cursor. False: anything may have.
    package let isContinuous: Bool
    package let pageSize: Int
    /// The real path: symbolic links are resolved.
    package let path: String

    private let core: FollowCore
    private let presence: Presence

    /// Begins to follow the database at `path`.
    ///
    /// - Parameters:
    ///   - cursor: of the last snapshot that counts.
    ///   - elapsed: a monotonic clock's reading; only differences count.
    ///   - onChange: called on the follower's thread after commits were seen, and once when it broke; what it starts would
    ///     have that thread's priority.
    /// - Throws: `.notOpen`, `.notInWALMode` where there is nothing to follow; what `PinnedCapture.begin` throws.
    package static func attach(
        path: String, after cursor: FollowCursor?, options: FollowOptions = FollowOptions(),
        elapsed: @escaping @Sendable () -> Duration, onChange: (@Sendable () -> Void)? = nil
    ) throws(CaptureError) -> Follower {
        let files = try SourceFiles(resolving: path)
        let attached = try FollowState.attach(files, after: cursor, options: options, elapsed: elapsed)
        let core = FollowCore(attached.state, path: files.path, elapsed: elapsed, onChange: onChange)
        let follower = Follower(files.path, core, attached)
        try core.startThread()
        return follower
    }

    private init(_ path: String, _ core: FollowCore, _ attached: FollowState.Attached) {
        (self.path, self.core) = (path, core)
        (isContinuous, presence) = (attached.isContinuous, attached.presence)
        pageSize = attached.state.pageSize
    }

    deinit { core.end() }

    package var status: FollowStatus { core.status() }

    /// How long ago it looked for commits; zero once it has let go. Waits for nothing.
    package var silence: Duration { core.silence() }

    /// Takes the pages that changed since the last round or pin, and collects anew: from here on a plain read of the
    /// file is good for every page that is not in the next pin's `dirty`.
    package func beginRound() throws(CaptureError) -> PageSet {
        try core.withState { (state, now) throws(CaptureError) in try state.beginRound(now) }
    }

    /// How many whole or partial pages the database file has now; the newest commit may have more or fewer.
    package var filePageCount: UInt64 {
        get throws(CaptureError) {
            guard let files = core.openFiles() else { throw .stopped(path: path) }
            guard let bytes = files.databaseState()?.sizeBytes else {
                throw .inputOutput(path: path, reason: "its size cannot be asked for")
            }
            return (bytes + UInt64(pageSize) - 1) / UInt64(pageSize)
        }
    }

    /// Reads pages as the file has them at this moment: old or torn ones too, and zeros behind its end.
    ///
    /// Any thread may call it, and nothing waits for it.
    package func readFile(_ first: UInt64, count: Int, into buffer: inout [UInt8]) throws(CaptureError) {
        precondition(first >= 1 && count >= 0, "no such pages")
        guard let files = core.openFiles() else { throw .stopped(path: path) }
        let byteCount = count * pageSize
        if buffer.count != byteCount { buffer = [UInt8](repeating: 0, count: byteCount) }
        let offset = (first - 1) * UInt64(pageSize)
        let filled = unsafe buffer.withUnsafeMutableBytes { unsafe files.readDatabase(at: offset, into: $0) }
        guard let filled else { throw .inputOutput(path: path, reason: "at byte \(offset)") }
        for index in filled..<byteCount { buffer[index] = 0 }
    }

    /// Begins a read transaction at the newest commit; ticks go on beside it.
    ///
    /// - Parameter shouldStop: asked before each read of the capture; true ends it with `.stopped`.
    package func pin(
        options: CaptureOptions = CaptureOptions(), shouldStop: @escaping @Sendable () -> Bool = { false }
    ) throws(CaptureError) -> FollowedPin {
        let surroundings = CaptureSurroundings(options: options, elapsed: core.elapsed, shouldStop: shouldStop)
        return try core.withState { (state, _) throws(CaptureError) in try state.pin(surroundings) }
    }

    /// Takes pages back whose snapshot failed: they count as changed still.
    package func giveBack(_ pages: PageSet) { core.giveBack(pages) }

    /// Lets go of the database; later calls throw.
    ///
    /// - Parameter leavingAsLast: true closes the database as SQLite's last connection does if nobody else has it
    ///   open: while we were attached the application's own last close could not.
    /// - Returns: a cursor for the same commit as that of the last pin (or of `attach`, where continuous), made now:
    ///   keep it in place of that one, for it proves more. nil: keep that one.
    @discardableResult
    package func detach(leavingAsLast: Bool) -> FollowCursor? {
        core.end(leavingAsLast: leavingAsLast ? presence : nil)
    }
}
