/// A policy and whose snapshots it is for.
package struct ScopedPolicy: Hashable, Sendable {
    package let scope: RetentionScope
    package let policy: RetentionPolicy
    /// How long what it marks can be brought back.
    package let grace: CalendarSpan

    package init(scope: RetentionScope, policy: RetentionPolicy, grace: CalendarSpan) {
        (self.scope, self.policy, self.grace) = (scope, policy, grace)
    }
}

/// What becomes of the snapshots of one database under all policies together.
///
/// Beyond what the policies keep these are kept: everything while an alarm stands, the head of each lineage, the
/// newest verified snapshot of each lineage, and what was undone a short while ago. A snapshot that no policy is
/// for is kept.
package struct DatabaseRetention: Sendable {
    /// Of several labels each with its own; else at most one.
    private let labelled: [(key: String, value: String, policy: ScopedPolicy)]
    /// For what none of `labelled` is for.
    private let common: ScopedPolicy?

    /// - Parameter policies: all that there are.
    package init(_ policies: [ScopedPolicy], node: NodeID, database: DatabaseID) {
        func policy(of scope: RetentionScope) -> ScopedPolicy? { policies.first { $0.scope == scope } }
        if let own = policy(of: .database(database)) {
            (labelled, common) = ([], own)
            return
        }
        common = policy(of: .node(node)) ?? policy(of: .fleet)
        labelled = policies.compactMap { policy in
            guard case .label(let key, let value) = policy.scope else { return nil }
            return (key, value, policy)
        }.sorted { ($0.key, $0.value) < ($1.key, $1.value) }
    }

    /// True if no policy can be for any of its snapshots.
    package var isEmpty: Bool { labelled.isEmpty && common == nil }

    /// Whether the labels of the snapshots have a say.
    package var looksAtLabels: Bool { !labelled.isEmpty || common?.policy.keepTags.isEmpty == false }

    /// The longest grace of those policies that are for a snapshot with these labels.
    package func grace(forLabels labels: [String: String], now: Timestamp) -> Timestamp {
        policies(for: labels).map { $0.grace.after(now) }.max() ?? RetentionTerms.defaultGrace.after(now)
    }

    /// - Parameters:
    ///   - snapshots: all of the database that are not marked, newest first.
    ///   - interval: how often the database is scheduled.
    ///   - alarm: the kind of an alarm that stands and keeps everything.
    /// - Returns: a decision for each snapshot, in the same order.
    package func decisions(
        on snapshots: [RetentionSnapshot], now: Timestamp, alarm: String?, interval: Duration?
    ) -> [RetentionDecision] {
        var tallies = snapshots.map { _ in Tally() }
        for (policy, indices) in parts(of: snapshots) {
            let decisions = policy.policy.decisions(
                on: indices.map { snapshots[$0] }, now: now, interval: interval, keepsFloor: false)
            for (index, decision) in zip(indices, decisions) { tallies[index].add(decision.outcome) }
        }
        keepWhatNoPolicyMayGiveUp(snapshots, now: now, alarm: alarm, in: &tallies)
        return zip(snapshots, tallies).map { RetentionDecision(snapshot: $0.id, outcome: $1.outcome) }
    }

    private struct Tally {
        var keeping: [KeepReason] = []
        var against: [ExpiryReason] = []

        mutating func add(_ outcome: RetentionDecision.Outcome) {
            switch outcome {
            case .kept(let reasons): keeping += reasons
            case .expires(let reasons): against += reasons
            }
        }

        var outcome: RetentionDecision.Outcome {
            guard keeping.isEmpty else { return .kept(by: keeping) }
            // Nothing speaks against a snapshot that no policy looked at.
            return against.isEmpty ? .kept(by: [.noPolicy]) : .expires(because: against)
        }
    }

    /// Each policy with the snapshots it is for.
    private func parts(of snapshots: [RetentionSnapshot]) -> [(ScopedPolicy, [Int])] {
        guard !labelled.isEmpty else { return common.map { [($0, Array(snapshots.indices))] } ?? [] }
        var parts = labelled.map { ($0.policy, snapshots.indices.filter(isLabelled($0.key, $0.value, snapshots))) }
        if let common {
            let rest = snapshots.indices.filter { index in
                !labelled.contains { snapshots[index].labels[$0.key] == $0.value }
            }
            parts.append((common, rest))
        }
        return parts
    }

    private func isLabelled(_ key: String, _ value: String, _ snapshots: [RetentionSnapshot]) -> (Int) -> Bool {
        { snapshots[$0].labels[key] == value }
    }

    private func policies(for labels: [String: String]) -> [ScopedPolicy] {
        let own = labelled.filter { labels[$0.key] == $0.value }.map(\.policy)
        return own.isEmpty ? common.map { [$0] } ?? [] : own
    }

    private func keepWhatNoPolicyMayGiveUp(
        _ snapshots: [RetentionSnapshot], now: Timestamp, alarm: String?, in tallies: inout [Tally]
    ) {
        var verified: Set<LineageID> = []
        for (index, snapshot) in snapshots.enumerated() {
            if let alarm { tallies[index].keeping.append(.alarm(alarm)) }
            if snapshot.isHeld, !tallies[index].keeping.contains(.held) { tallies[index].keeping.append(.held) }
            if snapshot.isHead { tallies[index].keeping.append(.head) }
            if snapshot.isVerified, verified.insert(snapshot.lineage).inserted {
                tallies[index].keeping.append(.newestVerified)
            }
            if let until = snapshot.sparedUntil, until > now { tallies[index].keeping.append(.undone(until: until)) }
        }
    }
}
