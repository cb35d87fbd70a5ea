import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Synchronization
import Testing

@testable import MusterCoordinator

@Suite("Fleet snapshots", .timeLimit(.minutes(10)))
struct FleetSnapshotTests {
    private static func report(
        _ node: TestNode, _ server: Server, _ databases: [(DatabaseID, String, capture: String)]
    ) async throws {
        var request = Muster_V1_ReportRequest()
        (request.agentVersion, request.clock) = ("test", server.rig.clock.now().description)
        request.databases = databases.map { id, name, capture in
            .with {
                ($0.databaseID, $0.name, $0.path, $0.capture) = (id.description, name, "/srv/\(name).db", capture)
                ($0.schedule, $0.state) = ("every 5m", capture == "paused" ? "waiting" : "ok")
            }
        }
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    private static func create(_ name: String, _ server: Server) async throws -> Muster_V1_FleetSnapshot {
        var request = Muster_V1_FleetSnapshotRequest()
        (request.name, request.labels) = (name, ["release": "1.4"])
        return try await server.asAdmin.post(.admin, "/v1/fleet-snapshots", request)
    }

    private static func show(_ name: String, _ server: Server) async throws -> Muster_V1_FleetSnapshot {
        try await server.asAdmin.get(.admin, "/v1/fleet-snapshots/\(name)")
    }

    private static func work(_ node: TestNode, _ server: Server) async throws -> [Muster_V1_Job] {
        var poll = Muster_V1_WorkRequest()
        poll.bootID = "one"
        let answer: Muster_V1_WorkResponse = try await server.peer(node).post(.agent, "/v1/work", poll)
        return answer.jobs
    }

    private static func finish(
        _ job: Muster_V1_Job, _ node: TestNode, _ server: Server, _ snapshot: SnapshotID?
    ) async throws {
        var outcome = Muster_V1_JobOutcome()
        outcome.state = snapshot == nil ? "failed" : "done"
        outcome.snapshotID = snapshot?.description ?? ""
        if snapshot == nil { outcome.errorSummary = "it is locked" }
        let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
            .agent, "/v1/jobs/\(job.id)/outcome", outcome)
    }

    /// As an agent does it: with the job's labels in the manifest that it signs.
    private static func commit(
        _ node: TestNode, _ server: Server, labels: [String: String], after parent: TestSnapshot? = nil,
        seed: UInt64 = 1
    ) async throws -> TestSnapshot {
        let now = server.rig.clock.now()
        let snapshot = try node.makeSnapshot(seed: seed, after: parent?.manifest) { part in
            (part.labels, part.capturedBegin, part.capturedEnd) = (labels, now, now)
        }
        let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
        guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
        return snapshot
    }

    @Test func whatIsMissingHasAReasonAndWhatIsThereIsKept() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            let gone = try await server.makeNode("gone")
            let (paused, locked) = (DatabaseID(from: .system), DatabaseID(from: .system))
            try await Self.report(
                alpha, server, [(alpha.database, "app", ""), (paused, "idle", "paused"), (locked, "locked", "")])
            try await Self.report(beta, server, [(beta.database, "app", "")])
            try await Self.report(gone, server, [(gone.database, "old", "")])
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/gone/retire", Muster_V1_NodeEndRequest())

            let made = try await Self.create("r14", server)
            #expect(made.state == "taking" && made.taken == 0 && made.total == 4, "a retired node has no part in it")
            var again = Muster_V1_FleetSnapshotRequest()
            again.name = "r14"
            let taken = try await server.asAdmin.tryPost(.admin, "/v1/fleet-snapshots", again)
            #expect(taken.status == 409 && taken.code == "fleet_snapshot_exists")

            let jobs = try await Self.work(alpha, server)
            #expect(Set(jobs.map(\.database)) == ["app", "locked"])
            #expect(jobs.allSatisfy { $0.labels == ["release": "1.4", "fleet-snapshot": "r14"] })
            let job = try #require(jobs.first { $0.database == "app" })
            let member = try await Self.commit(alpha, server, labels: job.labels)
            try await Self.finish(job, alpha, server, member.id)
            try await Self.finish(try #require(jobs.first { $0.database == "locked" }), alpha, server, nil)
            #expect(try await Self.show("r14", server).state == "taking", "a node has not answered")

            server.rig.clock.advance(by: .seconds(301))
            try await server.service.coordinator.closeFleetWindows()
            let ended = try await Self.show("r14", server)
            #expect(ended.state == "finished" && ended.taken == 1 && ended.total == 4)
            let reasons = Dictionary(
                uniqueKeysWithValues: ended.items.map { ("\($0.node)/\($0.database)", $0.reason) })
            #expect(
                reasons == [
                    "alpha/app": "", "alpha/idle": "it is paused on its node", "alpha/locked": "it is locked",
                    "beta/app": "node 'beta' did not take it up within the window",
                ])
            // Its job is over as well: an agent that comes back finds nothing to do.
            #expect(try await Self.work(beta, server).isEmpty)
            try await Self.expectKept(member, alpha, server)
        }
        // It stands after a restart, and after the coordinator was lost.
        try await rig.serve { server in
            let shown = try await Self.show("r14", server)
            #expect(shown.taken == 1)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.place.store])
        #expect(outcome.findings == [])
        try await rebuilt.serve { try await Self.expectReleased($0) }
    }

    /// It is listed as a member, and nothing gives it up.
    private static func expectKept(_ member: TestSnapshot, _ node: TestNode, _ server: Server) async throws {
        // With its label, and not asked for by the fleet snapshot: it is none of it.
        let later = try await commit(
            node, server, labels: ["fleet-snapshot": "r14", "release": "1.4"], after: member, seed: 2)
        let list: Muster_V1_SnapshotList = try await server.asAdmin.get(.admin, "/v1/snapshots?fleet_snapshot=r14")
        #expect(list.snapshots.map(\.id) == [member.id.description])
        #expect(later.id != member.id)
        var forget = Muster_V1_SnapshotForgetRequest()
        forget.snapshotIds = [member.id.description]
        let held: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(
            .admin, "/v1/snapshots/forget", forget)
        #expect(held.outcomes.map(\.outcome) == ["it is held"])
        var release = Muster_V1_SnapshotReleaseRequest()
        (release.snapshotIds, release.name) = ([member.id.description], "fleet:r14")
        #expect(try await server.asAdmin.tryPost(.admin, "/v1/snapshots/release", release).status == 400)
        let none = try await server.asAdmin.send(.admin, .get, "/v1/snapshots?fleet_snapshot=r15")
        #expect(none.status == 404)
    }

    private static func expectReleased(_ server: Server) async throws {
        let restored = try await show("r14", server)
        #expect(restored.taken == 1 && restored.total == 4 && restored.state == "finished")
        #expect(restored.labels == ["release": "1.4"] && restored.actor == "admin")
        let member = try #require(restored.items.first?.snapshotID)
        let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(member)")
        #expect(shown.holds.map(\.name) == ["fleet:r14"])
        let forgotten: Muster_V1_FleetSnapshotForgotten = try await server.asAdmin.post(
            .admin, "/v1/fleet-snapshots/r14/forget", Muster_V1_NodeEndRequest())
        #expect(forgotten.released == 1)
        var forget = Muster_V1_SnapshotForgetRequest()
        forget.snapshotIds = [member]
        let given: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(
            .admin, "/v1/snapshots/forget", forget)
        #expect(given.outcomes.map(\.outcome) == ["marked"])
        #expect(try await server.asAdmin.send(.admin, .get, "/v1/fleet-snapshots/r14").status == 404)
    }

    /// More than one step fills, and more than one answer holds.
    @Test func aLargeOneIsFilledInStepsAndReadInPages() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let ids = (0..<2100).map { _ in DatabaseID(from: .system) }
            try await Self.report(
                node, server, ids.map { ($0, "db\($0)", $0 == ids[7] ? "paused" : "") })
            let first = try await Self.create("large", server)
            #expect(first.total == 2100 && first.items.count == 1000 && first.state == "taking")
            #expect(first.nextItem == first.items.last?.databaseID)
            let path = "/v1/fleet-snapshots/large?items_after="
            let second: Muster_V1_FleetSnapshot = try await server.asAdmin.get(.admin, path + first.nextItem)
            let third: Muster_V1_FleetSnapshot = try await server.asAdmin.get(.admin, path + second.nextItem)
            #expect(third.items.count == 100 && third.nextItem.isEmpty)
            let seen = [first, second, third].flatMap { $0.items.map(\.databaseID) }
            #expect(seen.count == 2100 && Set(seen) == Set(ids.map(\.description)))
            #expect(try await server.asAdmin.send(.admin, .get, path + "x").status == 400)

            let admin = server.rig.admin
            let http = try HTTPClient(tls: TLSFiles(authority: admin.authority, identity: server.rig.adminIdentity))
            defer { http.shutdown() }
            let client = CoordinatorClient(
                http: http, url: server.url(.admin),
                retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: .system, clock: ContinuousClock()))
            let whole = try await client.fleetSnapshot("large")
            #expect(whole.items.count == 2100 && whole.nextItem.isEmpty && whole.total == 2100)
            #expect(whole.items.map(\.database) == ids.map { "db\($0)" }.sorted())
            #expect(whole.items.filter { $0.state == "missing" }.map(\.databaseID) == [ids[7].description])
            #expect(whole.items.count { !$0.jobID.isEmpty } == 2099)
        }
    }

    @Test func aNodeCannotPassAnotherSnapshotOffAsAMember() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, [(node.database, "app", "")])
            let labels = ["fleet-snapshot": "r15"]
            let before = try await Self.commit(node, server, labels: labels)
            server.rig.clock.advance(by: .seconds(1))
            _ = try await Self.create("r15", server)
            let job = try #require(try await Self.work(node, server).first)
            try await Self.finish(job, node, server, before.id)
            let ended = try await Self.show("r15", server)
            #expect(ended.taken == 0 && ended.items.map(\.reason) == ["the node named another snapshot"])
        }
    }

    /// Whoever tells of it first, the agent or the end of the window.
    @Test(arguments: [true, false])
    func whatComesAfterTheWindowIsNone(isTold: Bool) async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, [(node.database, "app", "")])
            let made = try await Self.create("", server)
            #expect(made.name.hasPrefix("fleet-20"))
            let job = try #require(try await Self.work(node, server).first)
            server.rig.clock.advance(by: .seconds(307))
            let late = try await Self.commit(node, server, labels: job.labels)
            if isTold { try await Self.finish(job, node, server, late.id) }
            try await server.service.coordinator.closeFleetWindows()
            if !isTold { try await Self.finish(job, node, server, late.id) }
            let ended = try await Self.show(made.name, server)
            #expect(ended.state == "finished" && ended.taken == 0)
            let reasons = [
                true: "it came 7 seconds after the window",
                false: "node 'alpha' took it up and did not finish it within the window",
            ]
            #expect(ended.items.map(\.reason) == [reasons[isTold]])
        }
    }

    @Test func nOfMIsFinalWhenTheWindowEnds() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let nodes = try await [server.makeNode("alpha"), server.makeNode("beta"), server.makeNode("gamma")]
            for node in nodes { try await Self.report(node, server, [(node.database, "app", "")]) }
            _ = try await Self.create("r16", server)
            var jobs: [Muster_V1_Job] = []
            for node in nodes { jobs += try await Self.work(node, server) }
            #expect(jobs.count == 3)
            let member = try await Self.commit(nodes[0], server, labels: jobs[0].labels)
            // Received at the last moment, and its agent was cut off before it told of it.
            server.rig.clock.advance(by: .seconds(300))
            let untold = try await Self.commit(nodes[1], server, labels: jobs[1].labels)
            try await Self.finish(jobs[0], nodes[0], server, member.id)
            try await server.service.coordinator.closeFleetWindows()
            #expect(try await Self.show("r16", server).state == "taking", "the window is open still")

            server.rig.clock.advance(by: .seconds(1))
            try await server.service.coordinator.closeFleetWindows()
            let ended = try await Self.show("r16", server)
            #expect(ended.state == "finished" && ended.taken == 2 && ended.total == 3)
            #expect(Set(ended.items.map(\.snapshotID)) == [member.id.description, untold.id.description, ""])
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(untold.id)")
            #expect(shown.holds.map(\.name) == ["fleet:r16"])
            // What is told or comes afterwards changes nothing, though its snapshot is kept as any other.
            try await Self.finish(jobs[1], nodes[1], server, untold.id)
            let late = try await Self.commit(nodes[2], server, labels: jobs[2].labels)
            try await Self.finish(jobs[2], nodes[2], server, late.id)
            #expect(try await Self.show("r16", server) == ended)
            for node in nodes { #expect(try await Self.work(node, server).isEmpty) }
        }
        // Nor does a rebuild make more of it.
        let rebuilt = try await rig.rebuilt(from: [rig.place.store]).rig
        try await rebuilt.serve { server in
            let shown = try await Self.show("r16", server)
            #expect(shown.taken == 2 && shown.total == 3 && shown.state == "finished")
        }
    }

    /// Its receipt says that it came in time, and a rebuild goes by that.
    @Test func theEndOfAWindowWaitsForACommitThatIsUnderWay() async throws {
        let (rig, hooks) = (try await Rig(), StoreHooks())
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, [(node.database, "app", "")])
            _ = try await Self.create("r17", server)
            let job = try #require(try await Self.work(node, server).first)
            let isFirst = Flag()
            hooks.onCommit { name throws(StoreError) in
                guard case .manifest = StoredItem(name), isFirst.take() else { return }
                server.rig.clock.advance(by: .seconds(301))
                // What goes wrong here shows in what the fleet snapshot is afterwards.
                try? await server.service.coordinator.closeFleetWindows()
            }
            let member = try await Self.commit(node, server, labels: job.labels)
            #expect(!isFirst.take(), "the window ended in the middle of the commit")
            try await server.service.coordinator.closeFleetWindows()
            let ended = try await Self.show("r17", server)
            #expect(ended.state == "finished" && ended.items.map(\.snapshotID) == [member.id.description])
        }
        let rebuilt = try await rig.rebuilt(from: [rig.place.store]).rig
        try await rebuilt.serve { server in
            let shown = try await Self.show("r17", server)
            #expect(shown.taken == 1)
        }
    }

    /// True once.
    private final class Flag: Sendable {
        private let isLeft = Mutex(true)

        func take() -> Bool {
            isLeft.withLock { isLeft in
                defer { isLeft = false }
                return isLeft
            }
        }
    }

    @Test func labelsAndWindowsAreChecked() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, server, [(node.database, "app", "")])
            for (name, window, labels) in [
                ("a b", "", [:]), ("a", "1s", [:]), ("a", "25h", [:]), ("a", "soon", [:]),
                ("a", "", ["fleet-snapshot": "b"]),
            ] as [(String, String, [String: String])] {
                var request = Muster_V1_FleetSnapshotRequest()
                (request.name, request.window, request.labels) = (name, window, labels)
                let answer = try await server.asAdmin.tryPost(.admin, "/v1/fleet-snapshots", request)
                #expect(answer.code == "invalid", "\(name) \(window) \(labels)")
            }
            var single = Muster_V1_SnapshotCreateRequest()
            single.labels = ["fleet-snapshot": "a"]
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/snapshots", single).code == "invalid")
        }
    }
}
