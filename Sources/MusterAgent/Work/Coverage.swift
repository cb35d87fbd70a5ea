import MusterModel

/// Whether a database's newest receipt covers all that the source holds, as far as the source itself shows it.
///
/// A value, carried from one report to the next. What nobody could look at counts as covered for a while only:
/// whatever makes the agent blind makes it look worse, and never better.
struct Coverage: Hashable, Sendable {
    /// What one look at the source gave.
    enum Sight: Hashable {
        /// It is as the newest receipt has it.
        case same(counter: UInt64)
        /// It went on, or cannot be told from one that did; 0 where there is nothing to count.
        case changed(counter: UInt64)
        /// Nobody looked, and nothing speaks against what was seen before.
        case unseen
    }

    /// Times of one report, all by the node's clock.
    struct Moment {
        var now: Timestamp
        /// End of the capture that the newest receipt is for; nil before the first.
        var receiptCapturedAt: Timestamp?
        /// When the last try began, if it ended well: then the newest receipt covered everything.
        var triedWellAt: Timestamp?
        /// How long it may be since the last look.
        var period: Duration
    }

    /// Nobody needs to look more often than this, in periods; and what was seen counts no longer.
    private static let validPeriods = 10

    /// Of the source, and of its state that the newest receipt covers; 0 where not known.
    private(set) var counter: UInt64 = 0
    private(set) var coveredCounter: UInt64 = 0
    private(set) var uncoveredSince: Timestamp?
    /// When the source was last known to be as the newest receipt has it.
    private(set) var coveredAt: Timestamp?

    var isCovered: Bool { counter != 0 && counter == coveredCounter && uncoveredSince == nil }

    mutating func take(_ sight: Sight, at moment: Moment) {
        if let tried = moment.triedWellAt, tried <= moment.now { coveredAt = max(coveredAt ?? tried, tried) }
        switch sight {
        case .same(let counter):
            (self.counter, coveredCounter, uncoveredSince, coveredAt) = (counter, counter, nil, moment.now)
        case .changed(let counter): setUncovered(counter, moment)
        case .unseen:
            guard let coveredAt, coveredAt <= moment.now, moment.now - coveredAt <= moment.period * Self.validPeriods
            else { return setUncovered(0, moment) }
            if let since = uncoveredSince, coveredAt > since { (uncoveredSince, coveredCounter) = (nil, counter) }
        }
    }

    /// It may have changed at any time since it was last seen to be covered, but for a report's period at the most:
    /// were it earlier, a look would have shown it.
    private mutating func setUncovered(_ counter: UInt64, _ moment: Moment) {
        self.counter = counter
        if coveredCounter == counter { coveredCounter = 0 }
        let seen = uncoveredSince ?? max(coveredAt ?? moment.now, moment.now - moment.period)
        uncoveredSince = moment.receiptCapturedAt.map { min(max(seen, $0), moment.now) } ?? seen
    }
}
