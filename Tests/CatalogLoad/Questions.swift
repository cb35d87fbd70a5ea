import Foundation
import MusterCatalog
import MusterModel

/// What people and pages ask, each question many times, with the longest and the middle time that it took.
struct Questions {
    private static let rounds = 31

    let catalog: Catalog
    let now: Timestamp

    func run() async throws {
        let nodes = try await catalog.nodes()
        let middle = nodes[nodes.count / 2]
        let database = try await catalog.databases(of: middle.id).first?.id
        let newest = try await page { _ in }
        guard let database, let last = newest.last else { throw Refused(outcome: "the catalog is empty") }
        let pack = try await catalog.packs(neededBy: last).first?.id

        try await ask("first page of 100") { try await page { _ in }.count }
        try await ask("next page") { try await page { $0.after = last.id }.count }
        try await ask("page 50 days ago") { try await page { $0.until = now - .seconds(50 * 86_400) }.count }
        try await ask("a span of a day") {
            try await page {
                ($0.since, $0.until) = (now - .seconds(31 * 86_400), now - .seconds(30 * 86_400))
            }.count
        }
        try await ask("page of a node") { try await page { $0.node = middle.id }.count }
        try await ask("page of a database") { try await page { $0.databases = [database] }.count }
        try await ask("page of a rare label") { try await page { $0.label = ("release", "r1") }.count }
        try await ask("page of a frequent label") { try await page { $0.label = ("tier", "plain") }.count }
        try await ask("snapshots that need a pack") { try await page { $0.pack = pack }.count }
        try await ask("expired ones") { try await page { $0.isExpired = true }.count }
        try await ask("one by a prefix of its id") {
            try await catalog.snapshots(withPrefix: String(last.id.description.prefix(8)), of: nil, limit: 2).count
        }
        try await ask("newest at a time") {
            try await catalog.newest(of: [database], at: now - .seconds(9 * 86_400)) == nil ? 0 : 1
        }
        try await ask("packs of one") { try await catalog.packs(neededBy: last).count }
        try await ask("base chain of one") { try await catalog.baseChain(of: last).count }
        try await ask("all databases") { try await catalog.databases().count }
        try await ask("all nodes") { try await catalog.nodes().count }
        try await ask("totals") { try await catalog.totals().snapshots }
        try await ask("alarms") { try await catalog.alarms(now: now).count }
        try await ask("damaged databases") { try await catalog.damagedDatabases().count }
        try await ask("failed snapshots") { try await catalog.failedSnapshots(limit: 100).count }
        try await ask("lost packs") { try await catalog.lostPacks(limit: 100).count }
        try await ask("standing of a store") { Int(try await catalog.standing(ofStore: 1).wantedCopies) }
        try await ask("what a scrub reads next") {
            try await catalog.overdue(in: 1, hashedBefore: now, limit: 100).packs.count
        }
        try await ask("receipts not stored") { try await catalog.unstoredReceipts(limit: 100).count }
        try await catalog.close()
    }

    private func page(_ change: (inout Catalog.SnapshotQuery) -> Void) async throws -> [Catalog.Snapshot] {
        var query = Catalog.SnapshotQuery(limit: 100)
        change(&query)
        return try await catalog.snapshots(query)
    }

    private func ask(_ name: String, _ question: () async throws -> Int) async throws {
        var times: [Double] = []
        var count = 0
        for _ in 0..<Self.rounds {
            let began = ContinuousClock.now
            count = try await question()
            times.append((ContinuousClock.now - began) / .milliseconds(1))
        }
        times.sort()
        let middle = times[times.count / 2]
        print(
            name.padding(toLength: 28, withPad: " ", startingAt: 0)
                + String(format: "p50 %8.2f ms   longest %8.2f ms   found ", middle, times[times.count - 1])
                + "\(count)")
    }
}
