import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("The admin plane")
struct AdminTests {
    private static func report(_ node: TestNode, _ server: Server, state: String = "ok") async throws {
        var request = Muster_V1_ReportRequest()
        request.agentVersion = "test"
        request.clock = server.rig.clock.now().description
        request.databases = [
            .with {
                ($0.databaseID, $0.name, $0.path) = (node.database.description, "app", "/srv/app.db")
                ($0.schedule, $0.state) = ("every 5m", state)
                if state == "failing" { ($0.errorSummary, $0.errorHint) = ("it is locked", "Unlock it.") }
            }
        ]
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    @Test(.timeLimit(.minutes(10))) func aJobWakesTheNodeThatWaits() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server)
            var poll = Muster_V1_WorkRequest()
            (poll.waitSeconds, poll.bootID) = (60, "one")
            async let work: Muster_V1_WorkResponse = server.peer(node).post(.agent, "/v1/work", poll)
            while await !server.service.coordinator.work.isAwaited(node.id) { await Task.yield() }
            var request = Muster_V1_SnapshotCreateRequest()
            (request.node, request.database, request.labels) = ("alpha", "app", ["why": "test"])
            let created: Muster_V1_JobList = try await server.asAdmin.post(.admin, "/v1/snapshots", request)
            let jobs = try await work.jobs
            #expect(jobs.map(\.id) == created.jobs.map(\.id))
            #expect(jobs.first?.labels == ["why": "test"] && jobs.first?.database == "app")

            var outcome = Muster_V1_JobOutcome()
            (outcome.state, outcome.errorSummary) = ("failed", "it is locked")
            let path = "/v1/jobs/\(created.jobs[0].id)"
            let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(.agent, path + "/outcome", outcome)
            let job: Muster_V1_Job = try await server.asAdmin.get(.admin, path)
            #expect(job.state == "failed" && job.errorSummary == "it is locked")
        }
    }

    @Test(.timeLimit(.minutes(10))) func theEndOfAJobWakesWhoWaitsForIt() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server)
            let created: Muster_V1_JobList = try await server.asAdmin.post(
                .admin, "/v1/snapshots", Muster_V1_SnapshotCreateRequest())
            let path = "/v1/jobs/\(created.jobs[0].id)"
            // Not waited for, or not for long: as it is.
            for wait in ["", "?wait=0", "?wait=1"] {
                let job: Muster_V1_Job = try await server.asAdmin.get(.admin, path + wait)
                #expect(job.state == "queued", "\(wait)")
            }
            for wait in ["x", "-1", "61"] {
                #expect(try await server.asAdmin.send(.admin, .get, path + "?wait=" + wait).status == 400, "\(wait)")
            }
            async let ended: Muster_V1_Job = server.asAdmin.get(.admin, path + "?wait=60")
            let endings = server.service.coordinator.endings
            while await !endings.isAwaited(node.id) { await Task.yield() }
            // Somebody else's ring does not end it.
            await endings.ring(node.id)
            while await !endings.isAwaited(node.id) { await Task.yield() }
            var outcome = Muster_V1_JobOutcome()
            (outcome.state, outcome.errorSummary) = ("failed", "it is locked")
            let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(.agent, path + "/outcome", outcome)
            #expect(try await ended.state == "failed")
        }
    }

    @Test func anotherNodesJobIsNotFound() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            try await Self.report(alpha, server)
            let created: Muster_V1_JobList = try await server.asAdmin.post(
                .admin, "/v1/snapshots", Muster_V1_SnapshotCreateRequest())
            var outcome = Muster_V1_JobOutcome()
            outcome.state = "done"
            let answer = try await server.peer(beta).tryPost(
                .agent, "/v1/jobs/\(created.jobs[0].id)/outcome", outcome)
            #expect(answer.status == 404)
        }
    }

    @Test func whatShouldBeLookedAtIsAnAlarm() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, state: "failing")
            func kinds() async throws -> [String] {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                return status.alarms.map(\.kind).sorted()
            }
            #expect(try await kinds() == ["failing"])
            server.rig.clock.advance(by: .seconds(16 * 60))
            #expect(try await kinds() == ["failing", "silent"])
            try await Self.report(node, server)
            #expect(try await kinds().isEmpty)
        }
    }

    @Test func listsAreNarrowedAndPaged() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            var parent: TestSnapshot?
            var ids: [String] = []
            for seed in UInt64(0)..<4 {
                let snapshot = try node.makeSnapshot(seed: seed, after: parent?.manifest)
                #expect(
                    try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
                server.rig.clock.advance(by: .seconds(1))
                parent = snapshot
                ids.append(snapshot.id.description)
            }
            func list(_ query: String) async throws -> Muster_V1_SnapshotList {
                try await server.asAdmin.get(.admin, "/v1/snapshots?" + query)
            }
            let page = try await list("node=alpha&database=app&label=env%3Dprod&limit=3")
            #expect(page.snapshots.map(\.id) == [3, 2, 1].map { ids[$0] })
            #expect(page.snapshots.map(\.sequence) == [3, 2, 1])
            let rest = try await list("limit=3&after=\(page.next)")
            #expect(rest.snapshots.map(\.id) == [ids[0]] && rest.next.isEmpty)
            #expect(try await list("label=env%3Dtest").snapshots.isEmpty)
            let last = try #require(page.snapshots.first)
            #expect(try await list("since=\(last.receivedAt)").snapshots.map(\.id) == [ids[3]])
            for query in ["node=nobody", "database=nothing"] {
                let answer = try await server.asAdmin.send(.admin, .get, "/v1/snapshots?" + query)
                #expect(answer.status == 404 && answer.code == "not_found", "\(query)")
            }
            for query in ["limit=x", "since=yesterday", "label=x", "after=x"] {
                #expect(try await server.asAdmin.send(.admin, .get, "/v1/snapshots?" + query).status == 400, "\(query)")
            }
        }
    }

    @Test func nodesThatWereInvitedAreListed() async throws {
        try await Rig.serve { server in
            _ = try await server.makeNode("alpha")
            _ = try await server.invite("beta")
            let list: Muster_V1_NodeList = try await server.asAdmin.get(.admin, "/v1/nodes")
            #expect(list.nodes.map(\.name) == ["alpha", "beta"])
            #expect(list.nodes.map(\.state) == ["active", "invited"])
            var request = Muster_V1_TokenRequest()
            request.nodeName = "alpha"
            let taken = try await server.asAdmin.tryPost(.admin, "/v1/tokens", request)
            #expect(taken.status == 409 && taken.code == "node_exists")
        }
    }
}
