import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCatalog

@Suite("A catalog of an earlier version")
struct MigrationTests {
    /// Rows as the present version writes them, in the first version's tables.
    private static func writeFirstVersion(to path: String, like fixture: Fixture) async throws {
        let node = try await fixture.makeNode()
        let packs = [try await fixture.makePack(node), try await fixture.makePack(node)]
        let first = try fixture.commit(node, packs: packs)
        let second = try fixture.commit(node, after: first, packs: [packs[1]])
        for commit in [first, second] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        let now = fixture.clock.now()
        #expect(try await fixture.catalog.pin(second.snapshot, .restore, for: .seconds(60), now: now))
        let run = RunID(from: fixture.random)
        try await fixture.catalog.begin(run, level: .verify, snapshots: [first.snapshot], jobs: [], now: now)
        try await fixture.catalog.conclude(first.snapshot, in: run, .inspected([]), now: now)
        let queue = try DatabaseQueue(path: path)
        try Catalog.migrator().migrate(queue, upTo: "v1")
        try await queue.writeWithoutTransaction { database in
            let present = fixture.directory.file("catalog.db")
            try database.execute(sql: "PRAGMA foreign_keys = OFF; ATTACH ? AS present", arguments: [present])
            // Triggers have made some rows of what was copied before.
            for table in try tables(in: database) {
                let columns = try String.fetchAll(
                    database, sql: "SELECT name FROM pragma_table_info(?, 'main')", arguments: [table])
                let list = columns.map { "\"\($0)\"" }.joined(separator: ", ")
                try database.execute(
                    sql: "INSERT OR REPLACE INTO main.\"\(table)\"(\(list)) SELECT \(list) FROM present.\"\(table)\"")
            }
        }
        try queue.close()
    }

    private static func tables(in database: GRDB.Database) throws -> [String] {
        try String.fetchAll(
            database,
            sql: """
                SELECT name FROM main.sqlite_schema
                WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'grdb_migrations'
                """)
    }

    private static func counts(in database: GRDB.Database) throws -> [String: Int] {
        Dictionary(
            uniqueKeysWithValues: try tables(in: database).map { table in
                (table, try Int.fetchOne(database, sql: "SELECT count(*) FROM \"\(table)\"") ?? 0)
            })
    }

    /// With a million snapshots each check of all keys takes a minute and more.
    @Test func isBroughtToThePresentOneWithoutAnyCheckOfAllKeys() async throws {
        let fixture = try await Fixture()
        let path = fixture.directory.file("old.db")
        try await Self.writeFirstVersion(to: path, like: fixture)
        let checks = Mutex(0)
        var configuration = Configuration()
        configuration.prepareDatabase { database in
            database.trace { event in
                if "\(event)".contains("foreign_key_check") { checks.withLock { $0 += 1 } }
            }
        }
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        let before = try await queue.read { try Self.counts(in: $0) }
        #expect(["snapshot", "pack_reference", "verdict", "pin"].map { before[$0] } == [2, 2, 1, 1])
        let pin = "SELECT number, snapshot, kind, until FROM pin"
        let pins = try await queue.read { try Row.fetchAll($0, sql: pin).map(\.description) }
        try Catalog.migrator().migrate(queue)
        #expect(checks.withLock { $0 } == 0)
        try await queue.read { database in
            let after = try Self.counts(in: database)
            for (table, count) in before { #expect(after[table] == count, "\(table)") }
            #expect(try Row.fetchAll(database, sql: pin).map(\.description) == pins)
            #expect(try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").isEmpty)
            #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
            #expect(try Bool.fetchOne(database, sql: "PRAGMA foreign_keys") == true)
        }
        try queue.close()
        let catalog = try Catalog(path: path, names: Fixture.names, sha256: Fixture.mix)
        #expect(try await catalog.snapshots(.init(limit: 10)).count == 2)
        #expect(try await catalog.losses(limit: 10).isEmpty)
        try await catalog.close()
    }
}
