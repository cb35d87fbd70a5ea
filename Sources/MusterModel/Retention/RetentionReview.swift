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

    /// The slots of one rule, taken from the newest snapshot on.
    ///
    /// What was received within one interval of the schedule shares a slot: who sends more than is scheduled pushes
    /// nothing out.
    struct Slots {
        let count: KeepCount
        /// In microseconds; 0 where each has a slot of its own.
        fileprivate let interval: Int64
        private var used = 0
        private var lastInterval: Int64?

        fileprivate init(_ count: KeepCount, interval: Int64) { (self.count, self.interval) = (count, interval) }

        /// - Returns: the slot's number from 1; nil where all are used up.
        mutating func take(_ moment: Timestamp) -> Int? {
            let current = interval > 0 ? moment.microseconds.flooredDivision(by: interval).quotient : nil
            if used > 0, let current, current == lastInterval { return used }
            guard count.hasRoom(after: used) else { return nil }
            (used, lastInterval) = (used + 1, current)
            return used
        }
    }

    /// Those of a rule that keeps the newest of each period: shared where several periods fit into one interval.
    func slots(_ count: KeepCount, ofEach unit: CalendarUnit) -> Slots {
        Slots(count, interval: interval > unit.longest.microseconds ? interval : 0)
    }

    /// Which of the indices `candidates` have a slot of keep-last, by number from 1.
    func slotsOfLast(_ count: KeepCount, among candidates: [Int]) -> [Int?] {
        var slots = Slots(count, interval: interval)
        return candidates.map { slots.take(snapshots[$0].receivedAt) }
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
