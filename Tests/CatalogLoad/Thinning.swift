import Foundation
import MusterCatalog
import MusterModel

/// Retention over the whole fleet, and gc after it, each phase until its end or until its time is over.
struct Thinning {
    /// For so long a step of gc may keep writers waiting.
    private static let longestPause = Duration.milliseconds(100)

    let catalog: Catalog
    let now: Timestamp
    /// For each phase.
    let time: Duration

    /// - Returns: whether every budget was kept.
    func run() async throws -> Bool {
        var terms = RetentionTerms()
        terms.rules = ["keep-daily": "7", "keep-weekly": "5"]
        terms.grace = "0d"
        _ = try await catalog.setPolicy(.fleet, to: terms, actor: "catalog-load", now: now)
        try await expire()
        try await estimate()
        let isKept = try await collect()
        try await catalog.close()
        return isKept
    }

    private func estimate() async throws {
        var times = Times("estimate")
        let estimate = try await times.measure { try await catalog.collectionEstimate(now: now) }
        print("\(times)   \(estimate.snapshots) snapshots, \(estimate.packs) packs")
    }

    /// Without leases, pins and grace, as if it were a month later.
    private func collect() async throws -> Bool {
        let later = now + .seconds(30 * 86_400)
        var place: Catalog.MarkedPlace?
        let forgets = try await steps("forget") {
            let step = try await catalog.forgetMarked(after: place, now: later)
            place = step.next
            return (step.count, place != nil)
        }
        var gap: Catalog.Gap?
        let frees = try await steps("free") {
            let step = try await catalog.freeUnneeded(gap)
            gap = step.next
            return (step.count, gap != nil)
        }
        let condemns = try await steps("condemn") {
            let step = try await catalog.condemnUnneeded(now: later)
            return (step.count, step.next != nil)
        }
        let sweeps = try await steps("sweep") {
            let step = try await catalog.sweepCondemned(before: later, now: later)
            return (step.count, step.next != nil)
        }
        var number: Int64?
        let drops = try await steps("drop") {
            let step = try await catalog.dropForgotten(below: number, now: later)
            number = step.next
            return (step.count, number != nil)
        }
        return forgets && frees && condemns && sweeps && drops
    }

    private func steps(
        _ name: String, _ step: () async throws -> (count: Int, hasMore: Bool)
    ) async throws -> Bool {
        var times = Times("gc, a step of \(name)", within: Self.longestPause)
        let end = ContinuousClock.now + time
        var count = 0
        var hasMore = true
        while hasMore, ContinuousClock.now < end {
            let done = try await times.measure(step)
            (count, hasMore) = (count + done.count, done.hasMore)
        }
        print("\(times)   \(times.count) steps, \(count)\(hasMore ? ", and there is more" : "")")
        return times.isWithinBudget
    }

    private func expire() async throws {
        guard let run = RunID(bytes: [UInt8](repeating: 1, count: 16)) else { throw Refused(outcome: "no run id") }
        var times = Times("expire, a database")
        let end = ContinuousClock.now + time
        var marked = 0
        var last: DatabaseID?
        while ContinuousClock.now < end {
            let page = try await catalog.databaseIDs(after: last, limit: 200)
            guard let end = page.last else { break }
            last = end
            for database in page {
                marked += try await times.measure {
                    guard let verdict = try await catalog.retentionVerdict(on: database, isShown: false, now: now)
                    else { return 0 }
                    return try await catalog.mark(
                        verdict, of: database, run: run, actor: "catalog-load", now: now)
                }
            }
        }
        print("\(times)   \(times.count) databases, marked \(marked)")
    }
}
