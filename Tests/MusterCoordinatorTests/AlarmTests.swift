import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("Alarms")
struct AlarmTests {
    private static func alarms(_ server: Server) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        // Scrub and backup do not keep up with a clock that is moved by days.
        return status.alarms.filter { !["scrub_overdue", "backup_overdue"].contains($0.kind) }
    }

    private static func kinds(_ server: Server) async throws -> [String] { try await alarms(server).map(\.kind) }

    private static func report(
        _ node: TestNode, _ server: Server, freeBytes: UInt64 = 0,
        _ change: (inout Muster_V1_DatabaseReport) -> Void = { _ in }
    ) async throws {
        var database = Muster_V1_DatabaseReport()
        (database.databaseID, database.name, database.state) = (node.database.description, "app", "ok")
        database.intervalMilliseconds = 1000
        change(&database)
        var request = Muster_V1_ReportRequest()
        (request.clock, request.databases) = (server.rig.clock.now().description, [database])
        request.freeBytes = freeBytes
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    @Test func anObjectiveOfItsOwnCountsBeforeTheFleets() async throws {
        let rig = try await Rig()
        try rig.addSettings("freshness: 5m\n")
        try await rig.serve { server in
            let node = try await server.makeNode()
            let begin = server.rig.clock.now()
            func late(objective: UInt64) async throws -> [String] {
                try await Self.report(node, server) {
                    $0.unprotectedSince = begin.description
                    $0.freshnessMilliseconds = objective
                }
                return try await Self.kinds(server)
            }
            // Both wait for the tolerance of a minute besides.
            server.rig.clock.advance(by: .seconds(4 * 60))
            #expect(try await late(objective: 0).isEmpty, "the schedule alone would explain 3 seconds")
            #expect(try await late(objective: 60_000) == ["stuck"])
            server.rig.clock.advance(by: .seconds(3 * 60))
            #expect(try await late(objective: 0) == ["stuck"])
            #expect(try await late(objective: 3_600_000).isEmpty)
        }
    }

    @Test func aChangedSchemaIsNewsForAWeek() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            func kinds(mark: UInt8?) async throws -> [String] {
                try await Self.report(node, server) {
                    $0.schemaMark = mark.map { .init(repeating: $0, count: 16) } ?? .init()
                }
                return try await Self.kinds(server)
            }
            #expect(try await kinds(mark: 1).isEmpty, "the first one is no change")
            #expect(try await kinds(mark: nil).isEmpty)
            #expect(try await kinds(mark: 1).isEmpty)
            #expect(try await kinds(mark: 2) == ["schema"])
            let alarm = try #require(try await Self.alarms(server).first)
            #expect(alarm.severity == "info" && alarm.database == "app" && alarm.node == "alpha")
            server.rig.clock.advance(by: .seconds(8 * 86_400))
            #expect(try await kinds(mark: 2).isEmpty)
            #expect(try await kinds(mark: 3) == ["schema"])
            var clear = Muster_V1_AlarmClearRequest()
            (clear.kind, clear.database) = ("schema", "app")
            let cleared: Muster_V1_AlarmCleared = try await server.asAdmin.post(.admin, "/v1/alarms/clear", clear)
            #expect(cleared.count == 1)
            #expect(try await kinds(mark: 3).isEmpty)
        }
    }

    @Test func whatThePolicyWantsInspectedAndIsNotIsOverdue() async throws {
        try await Rig(verification: "verify_every: 7d, drill_every: 30d").serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200)
            try await Self.report(node, server)
            func overdue(after span: Duration) async throws -> [String] {
                server.rig.clock.advance(by: span)
                return try await Self.kinds(server).filter { $0.hasSuffix("_overdue") }.sorted()
            }
            let day = Duration.seconds(86_400)
            #expect(try await overdue(after: day * 6).isEmpty)
            #expect(try await overdue(after: day * 2) == ["verify_overdue"])
            #expect(try await overdue(after: day * 23) == ["drill_overdue", "verify_overdue"])
            let run = RunID(from: .system)
            let catalog = server.service.coordinator.catalog
            let now = server.rig.clock.now()
            try await catalog.begin(run, level: .verify, snapshots: [snapshot.id], jobs: [], now: now)
            try await catalog.conclude(snapshot.id, in: run, .inspected([]), now: now)
            #expect(try await overdue(after: day) == ["drill_overdue"])
            #expect(try await overdue(after: day * 7) == ["drill_overdue", "verify_overdue"])
        }
    }

    @Test func anOldLibraryIsToldOncePerNode() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            try await Self.report(alpha, server) { $0.writerVersion = 3_045_001 }
            try await Self.report(beta, server) { $0.writerVersion = 3_051_003 }
            let alarms = try await Self.alarms(server)
            #expect(alarms.map(\.kind) == ["wal_reset"] && alarms.map(\.node) == ["alpha"])
            #expect(alarms.map(\.severity) == ["info"] && alarms[0].summary.contains("SQLite 3.45.1"))
        }
    }

    /// A rollback journal is never reset as a WAL is. What an older agent does not tell stays a reason to look.
    @Test func onlyDatabasesInWALModeAreHitByTheBugOfTheWAL() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            func kinds(_ mode: String, writer: UInt32 = 3_045_001) async throws -> [String] {
                try await Self.report(node, server) { ($0.writerVersion, $0.journalMode) = (writer, mode) }
                return try await Self.kinds(server)
            }
            #expect(try await kinds("delete").isEmpty)
            #expect(try await kinds("", writer: 0).isEmpty, "an agent that was started anew knows it no more")
            #expect(try await kinds("wal") == ["wal_reset"])
            #expect(try await kinds("", writer: 0) == ["wal_reset"])
            #expect(try await kinds("delete").isEmpty, "the application was set to another mode")
        }
    }

    @Test func aDatabaseWhoseModeIsNotToldMayBeHit() async throws {
        try await Rig.serve { server in
            try await Self.report(try await server.makeNode(), server) { $0.writerVersion = 3_045_001 }
            #expect(try await Self.kinds(server) == ["wal_reset"])
        }
    }

    @Test(arguments: [
        (3_006_023 as UInt32, false), (3_007_000, true), (3_044_005, true), (3_044_006, false), (3_045_000, true),
        (3_050_006, true), (3_050_007, false), (3_051_002, true), (3_051_003, false), (0, false),
    ])
    func theReleasesWithTheBugAreThoseThatSQLiteNames(number: UInt32, hasBug: Bool) {
        #expect(SQLiteRelease(number).hasWALResetBug == hasBug)
    }

    @Test func roomThatRunsOutIsAWarningAndThenCritical() async throws {
        let rig = try await Rig()
        // More than any disk has: the coordinator's own and its store's are short too.
        try rig.addSettings("alarms: {disk_free_mib: 1073741824}\n")
        try await rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, freeBytes: 300 << 40)
            let alarms = try await Self.alarms(server)
            #expect(alarms.map(\.kind) == ["disk", "disk", "disk"])
            #expect(Dictionary(grouping: alarms, by: \.severity).mapValues(\.count) == ["critical": 2, "warning": 1])
            #expect(Set(alarms.map { "\($0.node)\($0.store)" }) == ["", "alpha", "main"])
        }
    }

    @Test func aNodesCertificateThatIsNotRenewedIsTold() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            server.rig.clock.advance(by: .seconds(20 * 86_400))
            try await Self.report(node, server)
            #expect(try await Self.kinds(server).isEmpty)
            server.rig.clock.advance(by: .seconds(3 * 86_400))
            try await Self.report(node, server)
            let alarms = try await Self.alarms(server)
            #expect(alarms.map(\.kind) == ["certificate"] && alarms.map(\.severity) == ["warning"])
            server.rig.clock.advance(by: .seconds(86_400))
            try await Self.report(node, server)
            #expect(try await Self.alarms(server).map(\.severity) == ["critical"])
        }
    }

    @Test func aPersonsCertificateThatRunsOutIsTold() async throws {
        try await Rig.serve { server in
            let (catalog, day) = (server.service.coordinator.catalog, Duration.seconds(86_400))
            let begin = server.rig.clock.now()
            for (name, role, days) in [("vera", Role.viewer, 31), ("otto", .operator, 33), ("old", .admin, 1)] {
                let person = Catalog.Certificate(
                    fingerprint: try #require(CertificateFingerprint(bytes: RandomSource.system.bytes(32))), role: role,
                    node: nil, subject: name, issuedAt: begin, notAfter: begin + day * days)
                #expect(try await catalog.add(person: person, now: begin) == .done)
            }
            func told(after span: Duration) async throws -> [String] {
                server.rig.clock.advance(by: span)
                return try await Self.alarms(server).filter { $0.kind == "certificate" }.map { alarm in
                    #expect(alarm.node.isEmpty && alarm.store.isEmpty)
                    return "\(alarm.severity) \(alarm.summary.split(separator: "'")[1])"
                }.sorted()
            }
            #expect(try await told(after: .zero) == ["critical old"], "it was never far from its end")
            #expect(try await told(after: day * 2) == ["warning vera"], "what has run out is no news")
            #expect(try await told(after: day * 2) == ["warning otto", "warning vera"])
            #expect(try await told(after: day * 21) == ["critical vera", "warning otto"])
            #expect(try await catalog.revoke(person: "vera", at: server.rig.clock.now()) == .done)
            #expect(try await told(after: .zero) == ["warning otto"])
            #expect(try await told(after: day * 9).isEmpty)
        }
    }

    @Test func theCoordinatorsOwnCertificateIsToldInTime() async throws {
        try await Rig.serve { server in
            let coordinator = server.service.coordinator
            let now = server.rig.clock.now()
            #expect(coordinator.ownCertificateAlarms(now: now).isEmpty)
            let soon = coordinator.ownCertificateAlarms(now: now + .seconds(310 * 86_400))
            #expect(soon.map(\.key) == ["certificate//server"])
            let late = coordinator.ownCertificateAlarms(now: now + .seconds(3400 * 86_400))
            #expect(late.map(\.key) == ["certificate//server", "certificate//authority"])
            #expect(late.map(\.severity) == [.critical, .warning])
        }
    }

    @Test func aStoreThatIsNotWellIsAnAlarmAndCopiesThatWaitAreADebt() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            func kinds() async throws -> [Muster_V1_Alarm] {
                try await Self.alarms(server).filter { ["store", "debt"].contains($0.kind) }
            }
            try Self.move(rig.folder(2) + "/format.json", rig.folder(2) + "/format-away.json")
            try Data().write(to: URL(filePath: rig.folder(2) + "/manifests"))
            // A node whose first choice is the broken store gets no receipt; every second one has the other first.
            for number in 0..<40 {
                let node = try await server.makeNode("node\(number)")
                let snapshot = try node.makeSnapshot()
                let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
                if answer.status == 200 { break }
            }
            #expect(try await kinds().map(\.kind) == ["store"])
            server.rig.clock.advance(by: .seconds(7 * 3600))
            let alarms = try await kinds()
            #expect(alarms.map(\.kind) == ["store", "debt"] && alarms.map(\.store) == ["store2", "store2"])
            #expect(alarms.last?.summary.contains("lacks 1 copy") == true, "\(alarms)")
            try Self.move(rig.folder(2) + "/format-away.json", rig.folder(2) + "/format.json")
            try FileManager.default.removeItem(atPath: rig.folder(2) + "/manifests")
            try await ReplicationTests.settle(server)
            #expect(try await kinds().isEmpty)
        }
    }

    @Test func aStoresStateAndItsProbeAreToldApart() {
        let state = FleetAlarm(.store, "it is away", hint: "").of(store: "near")
        let probe = FleetAlarm(.store, "it lies", hint: "").of(store: "near", aspect: "probe")
        #expect(state.key == "store/near" && probe.key != state.key)
        #expect(probe.key != FleetAlarm(.store, "it lies", hint: "").of(store: "far", aspect: "probe").key)
    }

    private static func move(_ path: String, _ target: String) throws {
        try FileManager.default.moveItem(atPath: path, toPath: target)
    }
}

extension Rig {
    /// Adds lines to `coordinator.yaml`, for the next server.
    func addSettings(_ lines: String) throws {
        let text = try String(contentsOfFile: place.settings, encoding: .utf8)
        try PrivateFile.write(text + lines, to: place.settings)
    }
}
