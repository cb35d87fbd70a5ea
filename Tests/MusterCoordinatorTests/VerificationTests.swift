import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Verification of a fleet")
struct VerificationTests {
    /// One node with one snapshot.
    private static func fill(_ server: Server, _ name: String) async throws -> (TestNode, TestSnapshot) {
        let node = try await server.makeNode(name)
        let snapshot = try node.makeSnapshot()
        #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
        return (node, snapshot)
    }

    private static func begin(
        _ server: Server, _ change: (inout Muster_V1_VerificationRequest) -> Void
    ) async throws -> Muster_V1_Verification {
        var request = Muster_V1_VerificationRequest()
        request.level = "drill"
        change(&request)
        return try await server.asAdmin.post(.admin, "/v1/verifications", request)
    }

    private static func show(
        _ server: Server, _ run: String, until isRight: (Muster_V1_Verification) -> Bool
    ) async throws -> Muster_V1_Verification {
        for _ in 0..<20_000 {
            let now: Muster_V1_Verification = try await server.asAdmin.get(.admin, "/v1/verifications/\(run)")
            if isRight(now) { return now }
        }
        throw Unexpected("run \(run) does not come so far")
    }

    private static func work(
        _ server: Server, _ node: TestNode, boot: String = "one", atWork: [String]? = nil
    ) async throws -> Muster_V1_Job? {
        var poll = Muster_V1_WorkRequest()
        poll.bootID = boot
        if let atWork { poll.atWork.ids = atWork }
        let work: Muster_V1_WorkResponse = try await server.peer(node).post(.agent, "/v1/work", poll)
        return work.jobs.first
    }

    private static func finish(_ server: Server, _ node: TestNode, _ job: Muster_V1_Job) async throws {
        var outcome = Muster_V1_JobOutcome()
        (outcome.state, outcome.seconds, outcome.bytesRead) = ("done", 3, 50)
        outcome.drill.restoreSeconds = 1.5
        outcome.drill.rowCount = 12
        outcome.drill.assertions = [.with { ($0.name, $0.passed, $0.value) = ("orders", true, 7) }]
        let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
            .agent, "/v1/jobs/\(job.id)/outcome", outcome)
    }

    @Test func aRunOverTheFleetTakesTheNewestSnapshotOfEveryDatabase() async throws {
        let rig = try await Rig()
        let (alpha, beta, run) = try await rig.serve { server in
            let (alpha, first) = try await Self.fill(server, "alpha")
            let newer = try alpha.makeSnapshot(after: first.manifest)
            #expect(try await server.peer(alpha).commit(newer.manifest, packs: [newer.pack.bytes]).status == 200)
            let (beta, _) = try await Self.fill(server, "beta")
            let run = try await Self.begin(server) { $0.fleet = true }.run
            let full = try await Self.show(server, run) { !$0.filling }
            #expect(full.total == 2 && full.waiting.contains(newer.id.description) && full.scope == "fleet")
            let job = try #require(try await Self.work(server, alpha))
            #expect(job.snapshotID == newer.id.description && job.level == "drill")
            return (alpha, beta, run)
        }
        // The coordinator was stopped in the middle; alpha's agent too.
        try await rig.serve { server in
            for node in [alpha, beta] {
                let job = try #require(try await Self.work(server, node, boot: "two"))
                try await Self.finish(server, node, job)
            }
            let ended = try await Self.show(server, run) { $0.state == "finished" }
            #expect(ended.passed == 2 && ended.total == 2 && ended.bytesRead == 100)
            let nodes: Muster_V1_VerificationNodeList = try await server.asAdmin.get(
                .admin, "/v1/verifications/\(run)/nodes")
            #expect(nodes.nodes.map(\.node) == ["alpha", "beta"] && nodes.nodes.map(\.passed) == [1, 1])
            let list: Muster_V1_VerificationList = try await server.asAdmin.get(.admin, "/v1/verifications?limit=1")
            #expect(list.verifications.map(\.run) == [run] && list.next.isEmpty)
            let items: Muster_V1_VerificationItemList = try await server.asAdmin.get(
                .admin, "/v1/verifications/\(run)/items?node=beta&state=passed")
            #expect(items.items.map(\.node) == ["beta"] && items.items.first?.seconds == 3)
        }
    }

    /// Their history stays, and to read it again takes no key of theirs.
    @Test(arguments: [("check", 2), ("scrub", 2), ("verify", 1), ("drill", 1)])
    func aRunWithoutKeysTakesNodesThatLeftTheFleetToo(level: String, count: Int) async throws {
        try await Rig.serve { server in
            _ = try await Self.fill(server, "alpha")
            let (gone, snapshot) = try await Self.fill(server, "beta")
            _ = try await server.service.coordinator.catalog.revoke(gone.id, at: server.rig.clock.now())
            let run = try await Self.begin(server) { ($0.fleet, $0.level) = (true, level) }.run
            let full = try await Self.show(server, run) { !$0.filling }
            #expect(Int(full.total) == count)
            guard count == 2 else { return }
            let ended = try await Self.show(server, run) { $0.state == "finished" }
            #expect(ended.passed == 2)
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.verdict == "passed \(level)")
        }
    }

    @Test func whatADrillMeasuredIsKeptAndCovers() async throws {
        try await Rig.serve { server in
            let (node, snapshot) = try await Self.fill(server, "alpha")
            let run = try await Self.begin(server) { $0.node = "alpha" }
            #expect(run.scope == "node alpha")
            _ = try await Self.show(server, run.run) { !$0.filling }
            let before: Muster_V1_Coverage = try await server.asAdmin.get(.admin, "/v1/coverage")
            #expect(before.databases == 1 && before.levels.map(\.within) == [0, 0, 0, 0])
            try await Self.finish(server, node, try #require(try await Self.work(server, node)))
            let coverage: Muster_V1_Coverage = try await server.asAdmin.get(.admin, "/v1/coverage")
            #expect(coverage.levels.map(\.level) == ["check", "scrub", "verify", "drill"])
            #expect(coverage.levels.map(\.within) == [0, 0, 1, 1] && coverage.levels.map(\.never) == [1, 1, 0, 0])
            let databases: Muster_V1_DatabaseList = try await server.asAdmin.get(.admin, "/v1/databases")
            let database = try #require(databases.databases.first)
            #expect(database.rtoSeconds == 1.5 && !database.drilledAt.isEmpty)
            #expect(database.verifiedAt == database.drilledAt && database.scrubbedAt.isEmpty)
            let drills: Muster_V1_DrillList = try await server.asAdmin.get(
                .admin, "/v1/databases/\(database.id)/drills")
            #expect(drills.drills.map(\.snapshotID) == [snapshot.id.description])
            #expect(drills.drills.first?.outcome.assertions.map(\.value) == [7])
            let named: Muster_V1_DrillList = try await server.asAdmin.get(
                .admin, "/v1/databases/\(database.name)/drills?node=alpha")
            #expect(named == drills)
            let strange = try await server.asAdmin.send(.admin, .get, "/v1/databases/\(database.name)/drills?node=beta")
            #expect(strange.status == 404)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.coverage == coverage)
        }
    }

    @Test func aNodeThatIsAwayDoesNotKeepARunFromItsEnd() async throws {
        try await Rig.serve { server in
            let (alpha, _) = try await Self.fill(server, "alpha")
            _ = try await Self.fill(server, "beta")
            let run = try await Self.begin(server) { ($0.fleet, $0.patienceSeconds) = (true, 600) }.run
            _ = try await Self.show(server, run) { $0.total == 2 && !$0.filling }
            server.rig.clock.advance(by: .seconds(599))
            let job = try #require(try await Self.work(server, alpha))
            server.rig.clock.advance(by: .seconds(30))
            let coordinator = server.service.coordinator
            try await coordinator.giveUpNodes()
            let waiting = try await Self.show(server, run) { $0.unfinished > 0 }
            #expect(waiting.state == "running" && waiting.waitingCount == 1, "alpha was heard of, and works on it")
            #expect(waiting.failed.map(\.node) == ["beta"])
            #expect(waiting.failed.first?.reason.contains("node 'beta' has been away since ") == true)
            try await Self.finish(server, alpha, job)
            let ended = try await Self.show(server, run) { $0.state == "finished" }
            #expect(ended.passed == 1 && ended.unfinished == 1 && ended.total == 2)
        }
    }

    @Test func anInspectionThatNeverReachedItsAgentIsGivenOutAgain() async throws {
        try await Rig.serve { server in
            let (alpha, _) = try await Self.fill(server, "alpha")
            let run = try await Self.begin(server) { $0.fleet = true }.run
            _ = try await Self.show(server, run) { $0.total == 1 && !$0.filling }
            let lost = try #require(try await Self.work(server, alpha, atWork: []))
            let again = try #require(try await Self.work(server, alpha, atWork: []))
            #expect(again.id == lost.id)
            #expect(try await Self.work(server, alpha, atWork: [lost.id]) == nil)
            try await Self.finish(server, alpha, again)
            #expect(try await Self.show(server, run) { $0.state == "finished" }.passed == 1)
        }
    }

    @Test(arguments: ["", "fleet,node", "fleet,ids", "node,ids", "ids,database", "level", "patience"])
    func aRequestThatNamesNotExactlyOneThingIsRefused(what: String) async throws {
        try await Rig.serve { server in
            let (_, snapshot) = try await Self.fill(server, "alpha")
            var request = Muster_V1_VerificationRequest()
            request.level = what == "level" ? "deep" : "drill"
            let words = what.split(separator: ",")
            if words.contains("fleet") { request.fleet = true }
            if words.contains("node") { request.node = "alpha" }
            if words.contains("database") { request.database = "app" }
            if words.contains("ids") || words == ["level"] { request.snapshotIds = [snapshot.id.description] }
            if words == ["patience"] { (request.fleet, request.patienceSeconds) = (true, 1) }
            let answer = try await server.asAdmin.tryPost(.admin, "/v1/verifications", request)
            #expect(answer.status == 400 && answer.code == "invalid")
        }
    }

    @Test func thePolicyBeginsWhatIsDueAndNotMore() async throws {
        let rig = try await Rig(verification: "verify_every: 40h, drill_every: never, nodes_at_once: 1")
        try await rig.serve { server in
            let (alpha, _) = try await Self.fill(server, "alpha")
            let (beta, _) = try await Self.fill(server, "beta")
            let (coordinator, pace) = (server.service.coordinator, InspectionPace())
            func schedule() async throws {
                for node in [alpha, beta] {
                    try await coordinator.catalog.touch(node.id, at: server.rig.clock.now())
                }
                try await coordinator.scheduleInspections(pace)
            }
            try await schedule()
            #expect(try await coordinator.catalog.openInspections() == 0, "they have just joined")
            server.rig.clock.advance(by: .seconds(3600))
            try await schedule()
            #expect(try await coordinator.catalog.openInspections() == 1, "one at once")
            var done: Set<String> = []
            for _ in 0..<2 {
                for node in [alpha, beta] {
                    guard let job = try await Self.work(server, node) else { continue }
                    #expect(job.level == "verify")
                    try await Self.finish(server, node, job)
                    done.insert(job.snapshotID)
                }
                server.rig.clock.advance(by: .seconds(60))
                try await schedule()
            }
            #expect(done.count == 2)
            #expect(try await coordinator.catalog.openInspections() == 0, "nothing is due any more")
            let list: Muster_V1_VerificationList = try await server.asAdmin.get(.admin, "/v1/verifications")
            #expect(list.verifications.map(\.scope) == ["schedule"] && list.verifications.first?.passed == 2)
            // Due again after three quarters of the period, in a run of its own.
            server.rig.clock.advance(by: .seconds(31 * 3600))
            try await schedule()
            let later: Muster_V1_VerificationList = try await server.asAdmin.get(.admin, "/v1/verifications")
            #expect(later.verifications.map(\.state) == ["running", "finished"])
        }
    }
}
