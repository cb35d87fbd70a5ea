import Foundation
import MusterCatalog
import MusterModel

/// What people and pages ask, each question many times.
struct Questions {
    private static let rounds = 101
    private static let listBudget = Duration.milliseconds(20)
    private static let statusBudget = Duration.milliseconds(100)

    let catalog: Catalog
    let now: Timestamp

    /// - Returns: whether every budget was kept.
    func run() async throws -> Bool {
        let nodes = try await catalog.nodes()
        let middle = nodes[nodes.count / 2]
        let databases = try await catalog.databases(of: middle.id).map(\.id)
        guard let database = databases.first, let last = try await page({ _ in }).last else {
            throw Refused(outcome: "the catalog is empty")
        }
        let totals = try await catalog.totals()
        print("\(totals.nodes) nodes, \(totals.databases) databases, \(totals.snapshots) snapshots")
        let answers = [
            try await askForPages(of: middle.id, database, after: last),
            try await askForSnapshots(database, last), try await askForTheFleet(), try await askForStores(),
        ]
        try await catalog.close()
        return answers.allSatisfy { $0 }
    }

    /// Pages of 100, as lists ask for them.
    private func askForPages(
        of node: NodeID, _ database: DatabaseID, after last: Catalog.Snapshot
    ) async throws -> Bool {
        let many = try await catalog.databases().prefix(100).map(\.id)
        let pack = try await catalog.packs(neededBy: last).first?.id
        let month = (now - .seconds(31 * 86_400), now - .seconds(30 * 86_400))
        let pages: [(String, (inout Catalog.SnapshotQuery) -> Void)] = [
            ("first page of 100", { _ in }), ("next page", { $0.after = last.id }),
            ("page 50 days ago", { $0.until = now - .seconds(50 * 86_400) }),
            ("page of a day", { ($0.since, $0.until) = month }), ("page of a node", { $0.node = node }),
            ("page of a node in a day", { ($0.node, $0.since, $0.until) = (node, month.0, month.1) }),
            ("page of a database", { $0.databases = [database] }),
            ("page of 100 databases", { $0.databases = many }),
            ("page of a rare label", { $0.label = ("release", "r1") }),
            ("page of a frequent label", { $0.label = ("tier", "plain") }),
            ("page of a label of a node", { ($0.label, $0.node) = (("release", "r1"), node) }),
            ("page of those that need a pack", { $0.pack = pack }), ("page of expired ones", { $0.isExpired = true }),
        ]
        var isKept = true
        for (name, change) in pages {
            isKept = try await ask(name, within: Self.listBudget) { try await page(change).count } && isKept
        }
        return isKept
    }

    private func askForSnapshots(_ database: DatabaseID, _ last: Catalog.Snapshot) async throws -> Bool {
        let budget = Self.listBudget
        let answers = [
            try await ask("one by a prefix of its id", within: budget) {
                try await catalog.snapshots(withPrefix: String(last.id.description.prefix(8)), of: nil, limit: 2).count
            },
            try await ask("newest at a time", within: budget) {
                try await catalog.newest(of: [database], at: now - .seconds(9 * 86_400)) == nil ? 0 : 1
            },
            try await ask("packs of one", within: budget) { try await catalog.packs(neededBy: last).count },
            try await ask("base chain of one", within: budget) { try await catalog.baseChain(of: last).count },
            try await ask("history of a database", within: budget) {
                try await catalog.history(of: database, limit: 400).count
            },
        ]
        return answers.allSatisfy { $0 }
    }

    /// What the coordinator's status asks the catalog, beside each other and one after the other as there.
    private func askForTheFleet() async throws -> Bool {
        _ = try await ask("all databases") { try await catalog.databases().count }
        _ = try await ask("all nodes") { try await catalog.nodeOutlines().count }
        _ = try await ask("survey of the fleet") {
            try await catalog.survey(provenSince: now - .seconds(7 * 86_400), Self.patience(now)).count
        }
        _ = try await ask("never verified databases") {
            try await catalog.concerns(.uninspected(.verify, since: now), limit: 561).count
        }
        _ = try await ask("oldest risk") {
            let words = (1...10_000).map { node in
                Catalog.NodeWord(node: Int64(node), vouchedAt: now, validity: .seconds(60), isLate: false)
            }
            return try await catalog.oldestRisk(now: now, words: words) == nil ? 0 : 1
        }
        _ = try await ask("failing databases") { try await catalog.concerns(.failing, limit: 561).count }
        _ = try await ask("stuck databases") {
            try await catalog.concerns(.stuck(Self.patience(now)), limit: 561).count
        }
        _ = try await ask("page of 1,000 databases") { try await catalog.databases(after: nil, limit: 1000).count }
        _ = try await ask("totals") { try await catalog.totals().snapshots }
        _ = try await ask("alarms") { try await catalog.alarms(now: now).count }
        _ = try await ask("damaged databases") { try await catalog.damagedDatabases().count }
        _ = try await ask("losses") { try await catalog.losses(limit: 51).count }
        _ = try await ask("lost keys") { try await catalog.lostKeys(limit: 51).count }
        _ = try await ask("coverage") { try await catalog.coverage(since: [:]).databases }
        return try await ask("fleet status", within: Self.statusBudget) { try await status() }
    }

    private func status() async throws -> Int {
        async let totals = catalog.totals()
        async let coverage = catalog.coverage(since: [.verify: now - .seconds(7 * 86_400)])
        async let groups = catalog.survey(provenSince: now - .seconds(7 * 86_400), Self.patience(now))
        async let standing = catalog.standing(ofStore: 1)
        let nodes = try await catalog.nodeOutlines()
        let found = try await (groups.count, standing.packs)
        async let alarms = alarms()
        async let risk = catalog.oldestRisk(
            now: now,
            words: nodes.map {
                Catalog.NodeWord(node: $0.number, vouchedAt: now, validity: .seconds(60), isLate: false)
            })
        let databases = try await catalog.databases(after: nil, limit: 1001)
        let first = try await catalog.nodes(after: nil, limit: 1000)
        _ = try await catalog.invitations(now: now)
        _ = try await catalog.copyDebt(inStore: 1)
        _ = try await (alarms, risk, coverage)
        return try await totals.nodes + found.0 + databases.count + first.count
    }

    /// What stands, and what the scene of the fleet does not tell.
    private func alarms() async throws {
        async let stores = storeAlarms()
        async let people = catalog.peopleRunningOut(now: now, by: now + .seconds(30 * 86_400))
        async let damage = (catalog.damagedDatabases(), catalog.losses(limit: 51), catalog.lostKeys(limit: 51))
        async let overdue = overdue()
        async let troubles = (
            catalog.concerns(.failing, limit: 561), catalog.concerns(.stuck(Self.patience(now)), limit: 561)
        )
        async let standing = (catalog.alarms(now: now), catalog.alarmShares(now: now))
        _ = try await (stores, people, damage, overdue, troubles, standing)
    }

    private func overdue() async throws {
        for level in [VerificationLevel.verify, .drill] {
            _ = try await catalog.concerns(.uninspected(level, since: now - .seconds(7 * 86_400)), limit: 561)
        }
    }

    private func storeAlarms() async throws {
        _ = try await catalog.lastProbe(ofStore: 1)
        _ = try await catalog.oldestWant(inStore: 1)
        _ = try await catalog.oldestHash(inStore: 1)
    }

    private static func patience(_ now: Timestamp) -> Catalog.Patience {
        Catalog.Patience(now: now, tolerance: .seconds(60), objective: nil, intervals: 3)
    }

    private func askForStores() async throws -> Bool {
        _ = try await ask("standing of a store") { Int(try await catalog.standing(ofStore: 1).wantedCopies) }
        _ = try await ask("healed failures") {
            try await catalog.healedFailures(after: 0, repairedAt: now, rested: now).healed.count
        }
        _ = try await ask("lost packs") { try await catalog.lostPacks(limit: 100).count }
        _ = try await ask("what a scrub reads next") {
            try await catalog.overdue(in: 1, hashedBefore: now, limit: 100).packs.count
        }
        return try await ask("receipts not stored") { try await catalog.unstoredReceipts(limit: 100).count }
    }

    private func page(_ change: (inout Catalog.SnapshotQuery) -> Void) async throws -> [Catalog.Snapshot] {
        var query = Catalog.SnapshotQuery(limit: 100)
        change(&query)
        return try await catalog.snapshots(query)
    }

    /// - Returns: whether the budget was kept.
    private func ask(
        _ name: String, within budget: Duration? = nil, _ question: () async throws -> Int
    ) async throws -> Bool {
        var times = Times(name, within: budget)
        var count = 0
        for _ in 0..<Self.rounds { count = try await times.measure(question) }
        print("\(times)   found \(count)")
        return times.isWithinBudget
    }
}
