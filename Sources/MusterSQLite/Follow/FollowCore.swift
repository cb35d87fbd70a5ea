import CSQLite
import Glibc
import MusterModel
import Synchronization

/// The machine behind its lock, and the thread that drives it.
final class FollowCore: Sendable {
    let elapsed: @Sendable () -> Duration
    private let path: String
    private let onChange: (@Sendable () -> Void)?
    /// The clock's microseconds at the thread's last look.
    private let lastLook: Atomic<Int64>
    /// The thread has ended, and with it every lock but SHARED.
    private let hasLetGo = Atomic(false)

    private enum Phase {
        case following(FollowState)
        /// All locks but SHARED are released.
        case broken(CaptureError, FollowState)
        case ended
    }
    private let phase: Mutex<Phase>
    /// Beside `phase`, so that reading the file waits for no look.
    private let files: Mutex<FollowedFiles?>

    init(
        _ state: FollowState, path: String, elapsed: @escaping @Sendable () -> Duration,
        onChange: (@Sendable () -> Void)?
    ) {
        (self.path, self.elapsed, self.onChange) = (path, elapsed, onChange)
        files = Mutex(state.files)
        lastLook = Atomic(elapsed().microseconds)
        phase = Mutex(.following(state))
    }

    func openFiles() -> FollowedFiles? { files.withLock { $0 } }

    /// Runs one step of the machine; an error of its own breaks it for good.
    func withState<Success: Sendable>(
        _ body: (inout FollowState, Duration) throws(CaptureError) -> Success
    ) throws(CaptureError) -> Success {
        try phase.withLock { (phase) throws(CaptureError) in
            switch phase {
            case .ended: throw .stopped(path: path)
            case .broken(let error, _): throw error
            case .following(var state):
                // Until it is stored again: no second reference, so that sets of pages are changed in place.
                phase = .ended
                do throws(CaptureError) {
                    let answer = try body(&state, elapsed())
                    phase = .following(state)
                    return answer
                } catch {
                    phase = error.endsFollowing ? Self.letGo(state, error) : .following(state)
                    throw error
                }
            }
        }
    }

    private static func letGo(_ state: FollowState, _ error: CaptureError) -> Phase {
        // If even this fails, closing the descriptors releases the locks.
        try? state.releaseLocks()
        return .broken(error, state)
    }

    func giveBack(_ pages: PageSet) {
        phase.withLock { phase in
            guard case .following(var state) = phase else { return }
            phase = .ended
            state.giveBack(pages)
            phase = .following(state)
        }
    }

    func status() -> FollowStatus {
        phase.withLock { phase in
            switch phase {
            case .following(let state): state.status(brokenReason: nil)
            case .broken(let error, let state): state.status(brokenReason: error.summary)
            case .ended:
                FollowStatus(
                    brokenReason: "it was detached", hasChanges: true, commits: 0, lastChange: nil,
                    sourceCommits: nil, walBytes: 0, heldWALBytes: 0, othersAttached: false)
            }
        }
    }

    /// Releases everything; the thread ends at its next look.
    ///
    /// - Parameter presence: what was around before, to leave as the last one; nil to merely let go.
    /// - Returns: a cursor of the last commit that was pinned, made now; nil where it was not the last one seen.
    @discardableResult
    func end(leavingAsLast presence: Presence? = nil) -> FollowCursor? {
        defer { files.withLock { $0 = nil } }
        return phase.withLock { phase in
            defer { phase = .ended }
            switch phase {
            case .ended: return nil
            case .broken(_, let state):
                if let presence { _ = state.leaveAsLast(presence) } else { state.release() }
                return nil
            case .following(let state):
                let now = elapsed()
                let settled = state.settledFile(now)
                let closed = presence.flatMap { state.leaveAsLast($0) }
                if presence == nil { state.release() }
                return state.hasChanges ? nil : state.cursor(closed ?? settled)
            }
        }
    }

    // MARK: The thread

    private static let stackBytes: Int32 = 512 << 10

    func startThread() throws(CaptureError) {
        let box = unsafe Unmanaged.passRetained(self)
        let code = unsafe csqlite_start_thread(
            { context in
                if let context = unsafe context {
                    unsafe Unmanaged<FollowCore>.fromOpaque(context).takeRetainedValue().run()
                }
                return nil
            }, box.toOpaque(), Self.stackBytes)
        guard code != 0 else { return }
        unsafe box.release()
        end()
        throw .followBroken(path: path, reason: "no thread can be started")
    }

    /// How long ago the thread looked, while there is something to look for.
    func silence() -> Duration {
        hasLetGo.load(ordering: .relaxed)
            ? .zero : .microseconds(elapsed().microseconds - lastLook.load(ordering: .relaxed))
    }

    private func run() {
        // It is not the agent that waits for this thread but the database's writer: until it hands over, each commit
        // runs a checkpoint. It uses a few hundredths of a core, however low the agent's priority is.
        csqlite_prefer_normal_priority()
        var seen: UInt64 = 0
        while true {
            lastLook.store(elapsed().microseconds, ordering: .relaxed)
            do throws(CaptureError) {
                let next = try withState { (state, now) throws(CaptureError) in
                    try state.tick(now)
                    return (commits: state.commits, pause: state.pauseMicroseconds(now))
                }
                if next.commits != seen {
                    seen = next.commits
                    onChange?()
                }
                usleep(next.pause)
            } catch {
                // Broken, here or by a call: whoever follows is told and detaches. Or ended.
                defer { hasLetGo.store(true, ordering: .relaxed) }
                if case .stopped = error { return }
                breakOff(error)
                onChange?()
                return
            }
        }
    }

    /// Without its thread nobody hands over from lock to lock: whatever ended it, none may stay.
    private func breakOff(_ error: CaptureError) {
        phase.withLock { phase in
            guard case .following(let state) = phase else { return }
            phase = Self.letGo(state, .followBroken(path: path, reason: error.summary))
        }
    }
}

extension FollowState {
    /// How long to wait before the next look.
    fileprivate func pauseMicroseconds(_ now: Duration) -> UInt32 {
        // Not at once: others wait for the machine's lock too.
        if awaitsCheckpoint { return 100 }
        if awaitsLock { return 1000 }
        guard let last = lastChange, now - last < .milliseconds(100) else { return 25_000 }
        return 2000
    }

    fileprivate func releaseLocks() throws(CaptureError) {
        if holdsZero { try files.releaseZero() }
        if let slot = guardSlot { try files.releaseGuard(slot) }
    }

    fileprivate func status(brokenReason: String?) -> FollowStatus {
        let header = files.sharedIndex()?.settledHeader(attempts: 60)
        return FollowStatus(
            brokenReason: brokenReason, hasChanges: hasChanges || header.map(isBehind) ?? true, commits: commits,
            lastChange: lastChange, sourceCommits: brokenReason == nil ? header?.changeCount : nil,
            walBytes: walBytes, heldWALBytes: brokenReason == nil ? heldWALBytes : 0,
            // What cannot be asked for counts as somebody: then nobody leaves as last.
            othersAttached: (try? files.isAttachedElsewhere()) ?? true)
    }

    private func isBehind(_ header: WALIndexHeader) -> Bool {
        guard position.isCountKnown, header.changeCount == position.changeCount else {
            return position.isCountKnown || header.lastFrame != position.frame
        }
        // A wal-index that was made anew counts from the beginning, and may come to the same number.
        return header.salt == position.salt && header.lastFrame != position.frame
    }
}

extension CaptureError {
    /// False for errors of a pin that say nothing about the log: the follower goes on.
    fileprivate var endsFollowing: Bool {
        switch self {
        case .followBroken, .unsupportedWAL: true
        default: false
        }
    }
}
