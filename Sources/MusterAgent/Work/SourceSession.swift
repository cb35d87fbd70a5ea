import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import Synchronization

/// What the agent holds of one database between two snapshots: its follower, and a change not yet settled.
///
/// Touched only by whoever has the database's turn (DatabaseBoard), but for `isUnchanged`, which anybody may ask.
final class SourceSession: Sendable {
    /// A snapshot whose receipt has not come: settled together with the pending commit of the same manifest.
    struct Unsettled: Sendable {
        let manifest: ManifestHash
        let ledger: LedgerStore
        let change: LedgerChange
        let isFollowed: Bool
    }

    private struct State {
        var follower: Follower?
        /// True while every change since the ledger's snapshot is either collected or in `unsettled`.
        var isProven = false
        var unsettled: Unsettled?
    }

    private let state = Mutex(State())

    /// Says for certain that nothing was committed since the newest snapshot; false proves nothing.
    var isUnchanged: Bool {
        let (follower, isProven) = state.withLock { ($0.follower, $0.isProven && $0.unsettled == nil) }
        guard isProven, let status = follower?.status else { return false }
        return status.brokenReason == nil && !status.hasChanges
    }

    /// True if its follower holds locks and does not hand them over: nothing but our end gives them back.
    func isStalled(for span: Duration) -> Bool {
        // Its status would be waited for as long as it stands still.
        guard let follower = state.withLock({ $0.follower }) else { return false }
        return follower.silence > span
    }

    var isFollowing: Bool { state.withLock { $0.follower != nil } }
    /// True if there is nothing to remember.
    var isEmpty: Bool { state.withLock { $0.follower == nil && $0.unsettled == nil } }
    var status: FollowStatus? { state.withLock { $0.follower }?.status }

    /// How the next snapshot reads the database; attaches a follower where that is possible.
    ///
    /// - Parameters:
    ///   - cursor: where the ledger's snapshot stood; nil where the ledger is not the head's.
    ///   - onChange: called when the first commit after a pause was seen.
    func way(
        path: String, cursor: FollowCursor?, elapsed: @escaping @Sendable () -> Duration,
        onChange: @escaping @Sendable () -> Void, onRefusal: (CaptureError) -> Void
    ) -> CaptureWay {
        if let (follower, isProven) = current(), follower.status.brokenReason == nil {
            return .followed(follower, isProven: isProven && cursor != nil)
        }
        letGo(leavingAsLast: false)
        do throws(CaptureError) {
            let follower = try Follower.attach(
                path: path, after: cursor, options: FollowOptions(), elapsed: elapsed, onChange: onChange)
            let isProven = follower.isContinuous && cursor != nil
            state.withLock { ($0.follower, $0.isProven) = (follower, isProven) }
            return .followed(follower, isProven: isProven)
        } catch {
            switch error {
            // Nobody has it open, or it keeps a rollback journal: there is nothing to follow.
            case .notOpen, .notInWALMode: break
            default: onRefusal(error)
            }
            return .pinned
        }
    }

    private func current() -> (Follower, Bool)? {
        state.withLock { state in state.follower.map { ($0, state.isProven) } }
    }

    /// A snapshot takes what was collected: until it is settled, or finds nothing, the rest proves nothing.
    func lend() { state.withLock { $0.isProven = false } }

    /// The manifest is kept and about to be sent.
    func expect(_ unsettled: Unsettled) { state.withLock { $0.unsettled = unsettled } }

    /// - Returns: the change that goes with the manifest, where this life of the agent made it.
    func change(for manifest: ManifestHash) -> Unsettled? {
        state.withLock { $0.unsettled?.manifest == manifest ? $0.unsettled : nil }
    }

    /// The manifest's receipt has come and the ledger was written, or was left behind.
    func settled(_ unsettled: Unsettled?) {
        state.withLock { state in
            state.isProven = unsettled?.isFollowed == true && unsettled?.change.cursor != nil && state.follower != nil
            state.unsettled = nil
        }
    }

    /// A comparison found the database as the ledger has it.
    func foundUnchanged(isFollowed: Bool) {
        state.withLock { $0.isProven = isFollowed && $0.follower != nil }
    }

    /// Whatever was to be settled is given up: the next snapshot compares everything.
    func giveUp() {
        state.withLock { ($0.isProven, $0.unsettled) = (false, nil) }
    }

    /// Ends the following; the file's locks are free when this returns. Blocks.
    func letGo(leavingAsLast: Bool) {
        let follower = state.withLock { state in
            defer { (state.follower, state.isProven) = (nil, false) }
            return state.follower
        }
        follower?.detach(leavingAsLast: leavingAsLast)
    }

    /// Ends the following of a database that has been quiet; what is returned proves at the next attach, where
    /// possible, that nothing was missed. Blocks.
    func park(leavingAsLast: Bool) -> FollowCursor? {
        let follower = state.withLock { state -> Follower? in
            guard state.isProven, state.unsettled == nil else { return nil }
            defer { (state.follower, state.isProven) = (nil, false) }
            return state.follower
        }
        return follower?.detach(leavingAsLast: leavingAsLast)
    }
}
