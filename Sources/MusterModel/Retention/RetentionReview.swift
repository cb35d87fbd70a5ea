/// One policy's pass over the snapshots of one database: who is kept by what, rule by rule.
struct RetentionReview {
    let snapshots: [RetentionSnapshot]
    /// The newest that does not lie in the future; spans are counted back from it.
    let latest: Timestamp?
    private let now: Timestamp
    private let interval: Int64
    private var keeping: [[KeepReason]]
    private var against: [[ExpiryReason]]

    init(newestFirst snapshots: [RetentionSnapshot], now: Timestamp, interval: Duration?) {
        self.snapshots = snapshots
        self.now = now
        self.interval = interval?.microseconds ?? 0
        latest = snapshots.first { $0.receivedAt < now }?.receivedAt
        keeping = Array(repeating: [], count: snapshots.count)
        against = Array(repeating: [], count: snapshots.count)
    }

    var decisions: [RetentionDecision] {
        snapshots.indices.map { index in
            let isKept = !keeping[index].isEmpty
            return RetentionDecision(
                snapshot: snapshots[index].id,
                outcome: isKept ? .kept(by: keeping[index]) : .expires(because: against[index]))
        }
    }

    mutating func keep(_ index: Int, _ reason: KeepReason) { keeping[index].append(reason) }
    mutating func pass(_ index: Int, _ reason: ExpiryReason) { against[index].append(reason) }

    mutating func keepAll() {
        for index in snapshots.indices { keep(index, .emptyPolicy) }
    }

    mutating func keepHeld() {
        for index in snapshots.indices where snapshots[index].isHeld { keep(index, .held) }
    }

    mutating func keep(youngerThan minimumAge: CalendarSpan) {
        guard !minimumAge.isZero else { return }
        let end = minimumAge.before(now)
        for index in snapshots.indices where snapshots[index].receivedAt > end { keep(index, .minimumAge(minimumAge)) }
    }

    /// Which of the indices `candidates` have a slot of keep-last, by number from 1.
    func slotsOfLast(_ count: KeepCount, among candidates: [Int]) -> [Int?] {
        var (used, lastInterval) = (0, Int64?.none)
        return candidates.map { index in
            let current = interval > 0 ? snapshots[index].receivedAt.microseconds.quotientFloored(by: interval) : nil
            if used > 0, let current, current == lastInterval { return used }
            guard count.hasRoom(after: used) else { return nil }
            (used, lastInterval) = (used + 1, current)
            return used
        }
    }

    /// Leaves no lineage that has a verified snapshot without one, and none without any snapshot.
    mutating func keepFloor() {
        var (newest, newestVerified): ([LineageID: Int], [LineageID: Int]) = ([:], [:])
        var safe: Set<LineageID> = []
        for (index, snapshot) in snapshots.enumerated() {
            if newest[snapshot.lineage] == nil { newest[snapshot.lineage] = index }
            guard snapshot.isVerified else { continue }
            if newestVerified[snapshot.lineage] == nil { newestVerified[snapshot.lineage] = index }
            if !keeping[index].isEmpty { safe.insert(snapshot.lineage) }
        }
        for (lineage, index) in newest where !safe.contains(lineage) {
            let verified = newestVerified[lineage]
            guard keeping[verified ?? index].isEmpty else { continue }
            keep(verified ?? index, .floor(isVerified: verified != nil))
        }
    }
}

extension Int64 {
    fileprivate func quotientFloored(by divisor: Int64) -> Int64 { flooredDivision(by: divisor).quotient }
}
