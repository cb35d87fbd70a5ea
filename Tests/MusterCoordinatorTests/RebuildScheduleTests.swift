import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@testable import MusterCoordinator

/// Of what no store tells: how often a node takes its snapshots.
@Suite("A rebuild without a backup of the catalog")
struct RebuildScheduleTests {
    private static var terms: RetentionTerms {
        var terms = RetentionTerms()
        (terms.rules, terms.minimumAge) = (["keep-last": "1"], "0h")
        return terms
    }

    private static func policy() throws -> ScopedPolicy {
        ScopedPolicy(scope: .fleet, policy: try terms.policy(), grace: try terms.graceSpan())
    }

    private static func verdict(_ server: Server, _ id: DatabaseID) async throws -> Catalog.RetentionVerdict {
        let catalog = server.service.coordinator.catalog
        return try #require(
            try await catalog.retentionVerdict(on: id, candidate: try policy(), now: server.rig.clock.now()))
    }

    private static func report(_ node: TestNode, interval milliseconds: UInt64, to server: Server) async throws {
        var database = Muster_V1_DatabaseReport()
        (database.databaseID, database.name, database.path) = (node.database.description, "app", "/srv/app.db")
        (database.state, database.capture, database.intervalMilliseconds) = ("ok", "followed", milliseconds)
        var report = Muster_V1_ReportRequest()
        (report.clock, report.databases) = (server.rig.clock.now().description, [database])
        #expect(try await server.peer(node).tryPost(.agent, "/v1/report", report).status == 200)
    }

    private static func rebuilt() async throws -> (Rig, TestLineage) {
        let rig = try await Rig(stores: 1)
        let lineage = try await rig.serve { try await TestLineage.make($0, count: 3) }
        return (try await rig.rebuilt(from: [rig.folder(1)]).rig, lineage)
    }

    @Test func nothingIsGivenUpBeforeTheNodeSaysItsSchedule() async throws {
        let (rebuilt, lineage) = try await Self.rebuilt()
        let id = lineage.node.database
        try await rebuilt.serve { server in
            let before = try await Self.verdict(server, id)
            #expect(before.expiringCount == 0 && before.alarm == "schedule" && before.isAwaited)
            try await Self.report(lineage.node, interval: 0, to: server)
            let after = try await Self.verdict(server, id)
            #expect(after.alarm == nil && !after.isAwaited && after.expiringCount > 0)
        }
    }

    /// It stands where a policy would give something up, and a person may accept that there is no schedule.
    @Test func anAlarmTellsAndAPersonMayClearIt() async throws {
        let (rebuilt, lineage) = try await Self.rebuilt()
        try await rebuilt.serve { server in
            let coordinator = server.service.coordinator
            let now = server.rig.clock.now()
            #expect(try await coordinator.catalog.setPolicy(.fleet, to: Self.terms, actor: "admin", now: now))
            let applied = try await coordinator.apply(
                to: lineage.node.database, run: RunID(from: .system), actor: "admin", audit: nil)
            #expect(applied?.marked == 0)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.contains { $0.kind == "schedule" && $0.summary.contains("since the rebuild") })
            #expect(
                try await coordinator.catalog.clearAlarms(.schedule, of: lineage.node.database, now: now) == 1)
            let again = try await coordinator.apply(
                to: lineage.node.database, run: RunID(from: .system), actor: "admin", audit: nil)
            #expect(again?.marked == 2)
        }
    }

    /// With a backup it is as it was.
    @Test func whatTheBackupSaysOfAScheduleCounts() async throws {
        let rig = try await Rig(stores: 1)
        let lineage = try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 3)
            try await Self.report(lineage.node, interval: 1000, to: server)
            try await server.service.coordinator.backUpCatalog()
            return lineage
        }
        let (rebuilt, _) = try await rig.rebuilt(from: [rig.folder(1)])
        try await rebuilt.serve { server in
            let verdict = try await Self.verdict(server, lineage.node.database)
            #expect(verdict.alarm == nil && !verdict.isAwaited)
        }
    }
}
