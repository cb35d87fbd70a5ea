/// What following a database may cost its application.
package struct FollowOptions: Sendable {
    /// How long attaching waits for a lock.
    package var busyBudget: Duration = .seconds(5)
    /// How far the WAL may grow while our lock is what keeps it from restarting; then the follower lets go.
    package var maximumWALBytes: UInt64 = 256 << 20

    /// What tests leave out, to see that the stress run notices; nobody else can set it.
    var faults: FollowFaults = []

    package init() {}
}

/// Steps of the protocol that can be left out, each of which makes the follower wrong.
struct FollowFaults: OptionSet {
    let rawValue: Int

    /// Leave the zero lock without asking for a checkpointer that knows only the WAL before its restart.
    static let leavesZeroUnasked = FollowFaults(rawValue: 1)
    /// Look for changes after what was copied back, and not after what was seen.
    static let startsAtBackfill = FollowFaults(rawValue: 2)
    /// Begin a round without the pages whose newest image is still in the WAL.
    static let forgetsUncopied = FollowFaults(rawValue: 4)
}

/// How a followed database does.
package struct FollowStatus: Sendable {
    /// Why the follower has let go, or nil.
    package let brokenReason: String?
    /// True if something was committed, or given back, since the last `pin`; true until then where continuity was
    /// not proven. It is asked of the source at this moment: a follower that stands still hides nothing.
    package let hasChanges: Bool
    /// Commits seen since it was attached.
    package let commits: UInt64
    /// The clock's reading when the last one was seen.
    package let lastChange: Duration?
    /// What the source's own index counts now, another number after each commit; nil where that cannot be read.
    package let sourceCommits: UInt32?
    /// How much of the `-wal` file is in use.
    package let walBytes: UInt64
    /// How much of it is there because of our lock: without it the application would have begun its WAL anew.
    package let heldWALBytes: UInt64
    /// True if another process has the database open, or one of our own reads from it now.
    package let othersAttached: Bool

    package var isBroken: Bool { brokenReason != nil }
}

/// One exact state of a followed database.
package struct FollowedPin: Sendable {
    /// The pages; `finish` or `abandon` it before the follower is detached.
    package let capture: PinnedCapture
    /// Every page that may differ since the last `pin` or `beginRound`, none after the last page.
    package let dirty: PageSet
    /// Names this commit to a later `attach`.
    package let cursor: FollowCursor
}
