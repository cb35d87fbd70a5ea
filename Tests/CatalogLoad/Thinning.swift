import Foundation
import MusterCatalog
import MusterModel

/// Retention over the whole fleet, and gc after it.
struct Thinning {
    let catalog: Catalog
    let now: Timestamp

    func run() async throws {
        var terms = RetentionTerms()
        terms.rules = ["keep-daily": "7", "keep-weekly": "5"]
        terms.grace = "0d"
        _ = try await catalog.setPolicy(.fleet, to: terms, actor: "catalog-load", now: now)
        try await expire()
        try await estimate()
        try await collect()
        try await catalog.close()
    }

    private func estimate() async throws {
        var times = Times("estimate")
        let estimate = try await times.measure { try await catalog.collectionEstimate(now: now) }
        print("\(times): \(estimate.snapshots) snapshots, \(estimate.packs) packs")
    }

    /// Without leases, pins and grace, as if it were a month later.
    private func collect() async throws {
        let later = now + .seconds(30 * 86_400)
        var place: Catalog.MarkedPlace?
        try await steps("forget") {
            let step = try await catalog.forgetMarked(after: place, now: later)
            place = step.next
            return (step.count, place != nil)
        }
        var gap: Catalog.Gap?
        try await steps("free") {
            let step = try await catalog.freeUnneeded(gap)
            gap = step.next
            return (step.count, gap != nil)
        }
        try await steps("condemn") {
            let step = try await catalog.condemnUnneeded(now: later)
            return (step.count, step.next != nil)
        }
        try await steps("sweep") {
            let step = try await catalog.sweepCondemned(before: later, now: later)
            return (step.count, step.next != nil)
        }
        var number: Int64?
        try await steps("drop") {
            let step = try await catalog.dropForgotten(below: number, now: later)
            number = step.next
            return (step.count, number != nil)
        }
    }

    private func steps(_ name: String, _ step: () async throws -> (count: Int, hasMore: Bool)) async throws {
        var times = Times(name)
        var count = 0
        var hasMore = true
        while hasMore {
            let done = try await times.measure(step)
            (count, hasMore) = (count + done.count, done.hasMore)
        }
        print("\(times): \(count)")
    }

    private func expire() async throws {
        guard let run = RunID(bytes: [UInt8](repeating: 1, count: 16)) else { throw Refused(outcome: "no run id") }
        var times = Times("decide and mark, a database each")
        var marked = 0
        var last: DatabaseID?
        while true {
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
        print("\(times), marked \(marked)")
    }
}

struct Times: CustomStringConvertible {
    private let name: String
    private var milliseconds: [Double] = []

    init(_ name: String) { self.name = name }

    mutating func measure<Value>(_ body: () async throws -> Value) async throws -> Value {
        let began = ContinuousClock.now
        defer { milliseconds.append((ContinuousClock.now - began) / .milliseconds(1)) }
        return try await body()
    }

    var description: String {
        let sorted = milliseconds.sorted()
        guard let longest = sorted.last else { return "\(name): nothing" }
        return name
            + String(
                format: ": %d steps, %.1f s in all, p50 %.2f ms, p99 %.2f ms, longest %.2f ms", sorted.count,
                sorted.reduce(0, +) / 1e3, sorted[sorted.count / 2], sorted[(sorted.count - 1) * 99 / 100], longest)
    }
}
