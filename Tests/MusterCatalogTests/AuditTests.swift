import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

/// A change and its row are in one transaction.
@Suite("The audit of the catalog")
struct AuditTests {
    private typealias AuditRow = Catalog.AuditRow

    /// A catalog in which each change has something to change.
    private struct Scene {
        let fixture: Fixture
        let node: Catalog.Node
        /// The older one, which is no head; and one that was given up before.
        let snapshot, marked: SnapshotID
        let run: RunID
        var catalog: Catalog { fixture.catalog }
        var now: Timestamp { fixture.clock.now() }

        init() async throws {
            fixture = try await Fixture()
            (node, run) = (try await fixture.makeNode(), RunID(from: fixture.random))
            let first = try fixture.commit(node)
            let second = try fixture.commit(node, after: first)
            let third = try fixture.commit(node, after: second)
            for commit in [first, second, third] {
                guard try await fixture.catalog.commit(commit) == .committed else { throw Fixture.Missing() }
            }
            (marked, snapshot) = (first.snapshot, second.snapshot)
            let outcome = try await fixture.catalog.forget(
                marked, run: run, graceUntil: now + .seconds(1000), actor: "admin", now: now)
            guard outcome == .marked else { throw Fixture.Missing() }
            _ = try await catalog.hold(snapshot, Catalog.Hold(name: "old", reason: "", actor: "admin", at: now))
            try await catalog.raise(
                Catalog.Alarm(kind: .twins, node: node.id, database: nil, summary: "s", hint: "h", since: now),
                ofNode: node.id)
            _ = try await catalog.add(person: person("first", .admin), now: now)
            _ = try await catalog.add(person: person("second", .admin), now: now)
            _ = try await catalog.add(store: "spare", url: "file:///spare", at: now)
        }

        func person(_ name: String, _ role: Role) throws -> Catalog.Certificate {
            Catalog.Certificate(
                fingerprint: try fixture.digest(), role: role, node: nil, subject: name, issuedAt: now,
                notAfter: now + .seconds(1000))
        }

        func job() async throws -> Catalog.Job {
            let database = try fixture.required(try await catalog.snapshot(snapshot)?.database)
            return Catalog.Job(
                id: JobID(from: fixture.random), kind: .snapshot, node: node.id, database: database, createdAt: now)
        }

        func fleet(_ name: String) -> Catalog.FleetSnapshot {
            Catalog.FleetSnapshot(
                name: name, createdAt: now, until: now + .seconds(60), labels: [:], actor: "admin", total: 0)
        }

        /// All that is in the catalog, but the audit.
        func content() async throws -> [String] {
            try await catalog.read { database in
                let tables = try String.fetchAll(
                    database,
                    sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'audit' ORDER BY name")
                return try tables.flatMap { table in
                    try Row.fetchAll(database, sql: "SELECT * FROM \"\(table)\"").map { "\(table): \($0)" }
                }
            }
        }

        func rows() async throws -> Int { try await catalog.auditEntries(limit: 1000).count }
    }

    private struct Change: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let make: @Sendable (Scene, AuditRow) async throws -> Void

        init(_ description: String, _ make: @escaping @Sendable (Scene, AuditRow) async throws -> Void) {
            (testDescription, self.make) = (description, make)
        }
    }

    /// Each can be made once, and a second time changes nothing unless it is in `repeatable`.
    private static let changes = [
        Change("invite") {
            _ = try await $0.catalog.invite(
                secretHash: $0.fixture.random.bytes(32), nodeName: "beta", now: $0.now,
                expiresAt: $0.now + .seconds(60), audit: $1)
        },
        Change("renew") {
            let certificate = Catalog.Certificate(
                fingerprint: try $0.fixture.digest(), role: .node, node: $0.node.id, subject: "", issuedAt: $0.now,
                notAfter: $0.now + .seconds(60))
            _ = try await $0.catalog.renew(
                certificate, requestHash: [7], now: $0.now, expiresAt: $0.now + .seconds(60), audit: $1)
        },
        Change("retire") { _ = try await $0.catalog.retire($0.node.id, at: $0.now, audit: $1) },
        Change("revoke") { _ = try await $0.catalog.revoke($0.node.id, at: $0.now, audit: $1) },
        Change("add a person") {
            _ = try await $0.catalog.add(person: try $0.person("third", .viewer), now: $0.now, audit: $1)
        },
        Change("revoke a person") { _ = try await $0.catalog.revoke(person: "second", at: $0.now, audit: $1) },
        Change("add a store") { _ = try await $0.catalog.add(store: "new", url: "file:///n", at: $0.now, audit: $1) },
        Change("change a store") {
            _ = try await $0.catalog.change(.draining, ofStore: $0.fixture.store.number, audit: $1)
        },
        Change("record a probe") {
            try await $0.catalog.record(
                probe: [.init(capability: "a", isHeld: true, detail: "")], ofStore: $0.fixture.store.number, at: $0.now,
                audit: $1)
        },
        Change("hold") {
            let hold = Catalog.Hold(name: "new", reason: "", actor: "admin", at: $0.now)
            _ = try await $0.catalog.hold($0.snapshot, hold, audit: $1)
        },
        Change("release") { _ = try await $0.catalog.release($0.snapshot, "old", audit: $1) },
        Change("forget") {
            _ = try await $0.catalog.release($0.snapshot, "old")
            _ = try await $0.catalog.forget(
                $0.snapshot, run: $0.run, graceUntil: $0.now + .seconds(9), actor: "admin", now: $0.now, audit: $1)
        },
        Change("undo a run") { _ = try await $0.catalog.undo($0.run, now: $0.now, audit: $1) },
        Change("undo one mark") { _ = try await $0.catalog.undo($0.marked, now: $0.now, audit: $1) },
        Change("remove a policy") {
            _ = try await $0.catalog.setPolicy(.fleet, to: RetentionTerms(), actor: "admin", now: $0.now)
            _ = try await $0.catalog.setPolicy(.fleet, to: nil, actor: "admin", now: $0.now, audit: $1)
        },
        Change("clear an alarm") {
            _ = try await $0.catalog.clearAlarms(.twins, ofNode: $0.node.id, now: $0.now, audit: $1)
        },
        Change("order a snapshot") { try await $0.catalog.add([try await $0.job()], audit: $1) },
        Change("begin a run") {
            try await $0.catalog.begin(
                Catalog.NewVerification(run: RunID(from: $0.fixture.random), level: .drill), now: $0.now, audit: $1)
        },
        Change("begin a fleet snapshot") {
            _ = try await $0.catalog.begin($0.fleet("one"), jobs: [], absent: [], audit: $1)
        },
        Change("forget a fleet snapshot") {
            _ = try await $0.catalog.begin($0.fleet("two"), jobs: [], absent: [])
            _ = try await $0.catalog.forget(fleetSnapshot: "two", now: $0.now, audit: $1)
        },
        Change("keep a setting") { try await $0.catalog.set("check", to: [1], audit: $1) },
    ]

    @Test(arguments: changes) private func aChangeHasOneRowAndWithoutItIsNotMade(change: Change) async throws {
        let scene = try await Scene()
        let row = AuditRow(actor: "admin", action: "change", subject: change.testDescription, at: scene.now)
        // Some prepare what they change.
        let refused = try await Scene()
        try await refused.catalog.write { database in
            try database.execute(
                sql: "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
        }
        await #expect(throws: CatalogError.self) { try await change.make(refused, row) }
        #expect(try await refused.rows() == 0)
        // What was prepared apart, the change itself is not there: made again without its row it still is one.
        try await refused.catalog.write { try $0.execute(sql: "DROP TRIGGER full") }
        try await change.make(refused, row)
        #expect(try await refused.rows() == 1, "it was undone with its row")

        try await change.make(scene, row)
        let entries = try await scene.catalog.auditEntries(limit: 10)
        #expect(entries.map(\.subject) == [change.testDescription])
        #expect(try await scene.catalog.checkAudit().firstBroken == nil)
        #expect(try await scene.catalog.auditHead().hash == Hex.encode(entries[0].hash))
    }

    /// It is read in parts, and each goes on where the one before ended.
    @Test func theChainIsCheckedAcrossItsParts() async throws {
        let scene = try await Scene()
        func check(_ row: Int64? = nil) async throws -> Catalog.AuditCheck {
            try await scene.catalog.checkAudit(row: row)
        }
        let rows = (1...4000).map { AuditRow(actor: "a", action: "b", subject: "\($0)", at: scene.now) }
        try await scene.catalog.audit(rows)
        let first = try await check(2001)
        #expect(first.rows == 4000 && first.firstBroken == nil && first.rowHash != nil)
        try await scene.catalog.audit(AuditRow(actor: "a", action: "b", subject: "last", at: scene.now))
        let head = try await scene.catalog.auditHead()
        let second = try await check(4000)
        #expect(second.rows == 4001 && Hex.encode(second.headHash) == head.hash && second.rowHash == first.headHash)
        try await scene.catalog.write { try $0.execute(sql: "UPDATE audit SET subject = 'x' WHERE number = 3001") }
        #expect(try await check().firstBroken == 3001)
        try await scene.catalog.write { try $0.execute(sql: "DELETE FROM audit WHERE number BETWEEN 1990 AND 2010") }
        #expect(try await check().firstBroken == 2011)
    }

    /// What changes nothing the second time.
    @Test(arguments: [
        "invite twice", "retire", "revoke", "revoke a person", "release", "undo a run", "undo one mark",
        "clear an alarm",
        "begin a fleet snapshot", "add a person", "renew",
    ]) func whatChangesNothingLeavesNoRow(name: String) async throws {
        let scene = try await Scene()
        let row = AuditRow(actor: "admin", action: "change", subject: name, at: scene.now)
        if name == "invite twice" {
            let isInvited = try await scene.catalog.invite(
                secretHash: scene.fixture.random.bytes(32), nodeName: "alpha", now: scene.now,
                expiresAt: scene.now + .seconds(60), audit: row)
            #expect(!isInvited)
            return #expect(try await scene.rows() == 0)
        }
        let change = try #require(Self.changes.first { $0.testDescription == name })
        try await change.make(scene, row)
        let before = try await scene.content()
        try await change.make(scene, row)
        #expect(try await scene.rows() == 1)
        #expect(try await scene.content() == before)
    }
}
