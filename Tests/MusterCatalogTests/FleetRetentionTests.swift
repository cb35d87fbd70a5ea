import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Retention over a fleet")
struct FleetRetentionTests {
    /// `MUSTER_RETENTION_FLEET=10000x100` asks for so many databases with so many snapshots each.
    @Test func commitsGoOnBesideARun() async throws {
        let asked = ProcessInfo.processInfo.environment["MUSTER_RETENTION_FLEET"]?.split(separator: "x")
        let sizes = asked?.compactMap { Int($0) } ?? [12, 40]
        let (databases, each) = (sizes[0], sizes[1])
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        try await Self.fill(fixture, node, databases: databases, each: each)
        let history = History(fixture, node)
        try await history.setPolicy(.fleet, ["keep-hourly": "5", "keep-daily": "2"])
        try await history.setPolicy(.database(history.database), ["keep-last": "unlimited"])
        let clock = ContinuousClock()
        let begin = clock.now
        let run = Task { try await Self.apply(fixture) }
        var committing = history
        var slowest = Duration.zero
        for _ in 0..<200 {
            let start = clock.now
            try await committing.grow(by: 1, every: .milliseconds(1))
            slowest = max(slowest, clock.now - start)
        }
        let marked = try await run.value
        print(
            "retention: \(marked) of \(databases * each) marked in \((clock.now - begin).text);",
            "the slowest of 200 commits beside it took \(slowest.text)")
        let live = try await Self.count(fixture, "expired_at IS NULL AND database <> ?", history.database)
        #expect(marked == databases * each - live && marked > 0)
        let counted = try await fixture.catalog.databases().filter { $0.id != history.database }
        #expect(counted.allSatisfy { $0.snapshotCount + $0.expiredCount == each && $0.snapshotCount >= 6 })
        #expect(counted.reduce(0) { $0 + $1.expiredCount } == marked)
    }

    private static func apply(_ fixture: Fixture) async throws -> Int {
        let (run, now) = (RunID(from: fixture.random), fixture.clock.now())
        var marked = 0
        var last: DatabaseID?
        while true {
            let page = try await fixture.catalog.databaseIDs(after: last, limit: 7)
            guard let end = page.last else { return marked }
            last = end
            for id in page {
                let verdict = try fixture.required(
                    try await fixture.catalog.retentionVerdict(on: id, isShown: false, now: now))
                marked += try await fixture.catalog.mark(verdict, of: id, run: run, actor: "eve", now: now)
            }
        }
    }

    private static func count(_ fixture: Fixture, _ condition: String, _ id: DatabaseID) async throws -> Int {
        try await fixture.catalog.read { database in
            try Int.fetchOne(
                database, sql: "SELECT count(*) FROM snapshot WHERE \(condition)", arguments: [id.blob]) ?? 0
        }
    }

    /// Databases of one lineage each, with snapshots 10 minutes apart, the newest a day old.
    private static func fill(
        _ fixture: Fixture, _ node: Catalog.Node, databases: Int, each: Int
    ) async throws {
        let newest = (fixture.clock.now() - .seconds(86_400)).microseconds
        try await fixture.catalog.write { connection in
            try connection.execute(
                sql: """
                    CREATE TEMP TABLE made AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                        SELECT randomblob(16) AS id, randomblob(16) AS lineage FROM n
                    """, arguments: [databases])
            try connection.execute(
                sql: """
                    INSERT INTO database(id, node, name, path, schedule, state, error_summary, error_hint, changed,
                        snapshot_count) SELECT id, ?, 'app', '', '', '', '', '', 0, ? FROM made
                    """, arguments: [node.id.blob, each])
            try connection.execute(
                sql: """
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                    INSERT INTO snapshot(id, node, database, lineage, sequence, base_steps, manifest_hash,
                        manifest_bytes, created_at, received_at, moment, size_bytes, stored_bytes, content_root,
                        page_size, page_count, pack_count, method, labels, verified_at)
                    SELECT randomblob(16), ?, id, lineage, i, 0, randomblob(32), 1, ?3, ?3 - (?1 - i) * 600000000, ?3, 1, 1,
                        randomblob(32), 4096, 1, 1, 'x', '{}', CASE WHEN i % 7 = 0 THEN 1 END FROM made, n
                    """, arguments: [each, node.id.blob, newest])
            try connection.execute(
                sql: """
                    INSERT INTO lineage SELECT made.lineage, made.id, ?1, s.id, s.manifest_hash, 0, '', 0
                    FROM made JOIN snapshot s ON s.lineage = made.lineage AND s.sequence = ?1
                    """, arguments: [each])
        }
    }
}
