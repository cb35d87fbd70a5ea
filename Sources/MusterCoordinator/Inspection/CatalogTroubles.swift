import Logging
import MusterCatalog
import MusterModel
import Synchronization

/// Work in the background that fails again and again because the catalog does: for how long, and why.
///
/// Such work rests longer and longer, and from `shownFrom` failures in a row on it is an alarm: nobody else would tell.
final class CatalogTroubles: Sendable {
    enum Work: String, Hashable, Sendable, CaseIterable {
        case inspection = "inspections"
        case namedInspection = "inspections of named snapshots"
    }

    struct Trouble: Sendable {
        var failures = 0
        let since: Timestamp
        var error: CatalogError
    }

    static let shownFrom = 5
    private static let firstPause = Duration.seconds(10)
    private static let longestPause = Duration.seconds(900)

    private let troubles = Mutex<[Work: Trouble]>([:])

    /// What stands for so long that somebody has to know.
    var shown: [(work: Work, trouble: Trouble)] {
        let troubles = troubles.withLock { $0 }
        return Work.allCases.compactMap { work in
            troubles[work].flatMap { $0.failures >= Self.shownFrom ? (work, $0) : nil }
        }
    }

    /// - Returns: how often in a row it has failed now.
    func note(_ error: CatalogError, in work: Work, now: Timestamp) -> Int {
        troubles.withLock { troubles in
            var trouble = troubles[work] ?? Trouble(since: now, error: error)
            trouble.failures += 1
            trouble.error = error
            troubles[work] = trouble
            return trouble.failures
        }
    }

    func end(_ work: Work) { troubles.withLock { _ = $0.removeValue(forKey: work) } }

    /// How long work rests after so many failures in a row.
    static func pause(after failures: Int) -> Duration {
        min(longestPause, firstPause * (1 << min(max(0, failures - 1), 8)))
    }
}

extension Coordinator {
    /// Notes that the catalog kept work from being done.
    ///
    /// - Returns: how long it is to rest.
    func note(_ error: CatalogError, in work: CatalogTroubles.Work) -> Duration {
        let failures = troubles.note(error, in: work, now: clock.now())
        let pause = CatalogTroubles.pause(after: failures)
        // Others may be told by the log alone: with a catalog that cannot be read there is no alarm.
        logger.log(
            level: failures >= CatalogTroubles.shownFrom ? .error : .warning, "the catalog keeps work from being done",
            metadata: [
                "work": "\(work.rawValue)", "failures_in_a_row": "\(failures)", "reason": "\(error.summary)",
                "hint": "\(error.hint)", "seconds": "\(Int(pause.inSeconds))",
            ])
        return pause
    }

    /// One for all work: there is one catalog.
    func catalogAlarms() -> [FleetAlarm] {
        let shown = troubles.shown
        guard let worst = shown.max(by: { $0.trouble.failures < $1.trouble.failures })?.trouble else { return [] }
        let works = shown.map(\.work.rawValue).joined(separator: ", ")
        return [
            FleetAlarm(
                .catalog, "\(works): failed \(worst.failures) times in a row: \(worst.error.summary)",
                hint: worst.error.hint, since: shown.map(\.trouble.since).min())
        ]
    }
}
