import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

@Suite("Restores that another node does", .timeLimit(.minutes(10)))
struct RestoreTests {
    @Test func anOrderReachesItsNodeAndEndsWithItsOutcome() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[1])
            let run = try await scene.begin(grant)
            #expect(run.state == "running" && run.passed == 0 && run.total == 1)
            #expect(try await scene.work(scene.stranger).isEmpty)
            let job = try #require(try await scene.work(scene.target).first)
            #expect(job.kind == "restore" && job.id == grant.terms.id.description && !job.again)
            #expect(Array(job.grant) == grant.bytes)
            let received = try RestoreGrant.parse(Array(job.grant))
            let key = GrantKey(of: scene.target.id, signer: scene.target.signer)
            #expect(try received.openSecret(with: key).bytes == scene.source.secret.bytes)

            var progress = Muster_V1_RestoreProgress()
            (progress.bytesRead, progress.bytesTotal) = (10, 40)
            let path = "/v1/jobs/\(job.id)/progress"
            let word: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.target).post(
                .agent, path, progress)
            let other: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.stranger).post(
                .agent, path, progress)
            #expect(word.open && !other.open)
            let item = try #require(try await scene.show(run).items.first)
            #expect(item.state == "running" && item.bytesRead == 10 && item.bytesTotal == 40)
            #expect(item.node == "source" && item.targetNode == "target" && item.targetPath == RestoreScene.path)

            #expect(try await scene.finish(grant, as: scene.stranger).status == 404)
            #expect(try await scene.finish(grant, as: scene.target).status == 200)
            let ended = try await scene.show(run)
            #expect(ended.state == "finished" && ended.passed == 1)
            // Told again, as after an answer that was lost; and too late to be taken back.
            #expect(try await scene.finish(grant, as: scene.target, isDone: false).status == 200)
            #expect(try await scene.show(run).passed == 1)
            let audit: Muster_V1_AuditList = try await server.asAdmin.get(.admin, "/v1/audit")
            let rows = audit.entries.filter { $0.action.hasPrefix("restore") }
            #expect(rows.map(\.action) == ["restore-end", "restore"])
            #expect(rows.allSatisfy { $0.subject.contains(grant.terms.id.description) })
        }
    }

    @Test func aNewLifeOfTheAgentGetsTheOrderAgain() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            _ = try await scene.begin(try scene.grant(scene.snapshots[0]))
            #expect(try await scene.work(scene.target).map(\.again) == [false])
            #expect(try await scene.work(scene.target).isEmpty, "one life gets it once")
            #expect(try await scene.work(scene.target, boot: "two").map(\.again) == [true])
        }
    }

    /// The order would be lost until its end, and keep all others of the node waiting.
    @Test func anOrderOfWhichNothingIsHeardIsHandedOutAgain() async throws {
        let rig = try await Rig()
        let target = try await rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            _ = try await scene.begin(grant)
            #expect(try await scene.work(scene.target).map(\.again) == [false])
            rig.clock.advance(by: .seconds(59))
            #expect(try await scene.work(scene.target).isEmpty)
            let _: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.target).post(
                .agent, "/v1/jobs/\(grant.terms.id)/progress", Muster_V1_RestoreProgress())
            rig.clock.advance(by: .seconds(59))
            #expect(try await scene.work(scene.target).isEmpty, "a word of it came meanwhile")
            rig.clock.advance(by: .seconds(1))
            #expect(try await scene.work(scene.stranger).isEmpty)
            let jobs = try await scene.work(scene.target)
            #expect(jobs.map(\.id) == [grant.terms.id.description] && jobs.map(\.again) == [true])
            #expect(try await scene.work(scene.target).isEmpty, "not at each question")
            return scene.target
        }
        // The coordinator's next process has heard nothing yet, and listens for as long.
        try await rig.serve { server in
            var request = Muster_V1_WorkRequest()
            request.bootID = "one"
            for (seconds, count) in [(0, 0), (59, 0), (1, 1)] as [(Int64, Int)] {
                rig.clock.advance(by: .seconds(seconds))
                let answer: Muster_V1_WorkResponse = try await server.peer(target).post(.agent, "/v1/work", request)
                #expect(answer.jobs.count == count, "\(seconds)")
            }
        }
    }

    /// What waits behind it keeps no snapshot waiting on the node.
    @Test func aNodeGetsOneOrderAfterTheOther() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grants = [try scene.grant(scene.snapshots[0]), try scene.grant(scene.snapshots[1])]
            #expect(try await scene.order(grants).status == 200)
            #expect(try await scene.work(scene.target).map(\.id) == [grants[0].terms.id.description])
            #expect(try await scene.work(scene.target).isEmpty)
            #expect(try await scene.finish(grants[0], as: scene.target, isDone: false).status == 200)
            #expect(try await scene.work(scene.target).map(\.id) == [grants[1].terms.id.description])
        }
    }

    @Test func anOrderOutlivesTheCoordinatorsProcess() async throws {
        let rig = try await Rig()
        // Nothing that is returned may keep the first process's service.
        let (target, path, run) = try await rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            let run = try await scene.begin(grant)
            #expect(try await scene.work(scene.target).count == 1)
            return (scene.target, "\(scene.manifest(scene.snapshots[0]))?grant=\(grant.terms.id)", run.run)
        }
        try await rig.serve { server in
            #expect(try await server.peer(target).send(.agent, .get, path).status == 200)
            let shown: Muster_V1_RestoreRun = try await server.asAdmin.get(.admin, "/v1/restores/\(run)")
            #expect(shown.state == "running")
        }
    }

    @Test func whatNobodyFinishesEndsInTime() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let run = try await scene.begin(try scene.grant(scene.snapshots[0]))
            server.rig.clock.advance(by: .seconds(3601))
            try await server.service.coordinator.expireRestores()
            let ended = try await scene.show(run)
            #expect(ended.state == "finished" && ended.passed == 0)
            #expect(ended.items.first?.errorSummary.contains("in time") == true)
            let audit: Muster_V1_AuditList = try await server.asAdmin.get(.admin, "/v1/audit?actor=coordinator")
            let end = try #require(audit.entries.first { $0.action == "restore-end" })
            #expect(end.subject.hasSuffix("failed: node 'target' did not finish the restore in time"))
            #expect(try await scene.work(scene.target).isEmpty)
        }
    }

    @Test func aNodeThatIsEndedRestoresNothingMore() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let run = try await scene.begin(try scene.grant(scene.snapshots[0]))
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/target/revoke", Muster_V1_NodeEndRequest())
            #expect(try await scene.show(run).state == "finished")
            let audit: Muster_V1_AuditList = try await server.asAdmin.get(.admin, "/v1/audit")
            let end = try #require(audit.entries.first { $0.action == "restore-end" })
            #expect(end.subject.contains(run.run) && end.subject.contains("failed: the node was revoked"))
            let answer = try await scene.order([try scene.grant(scene.snapshots[0])])
            #expect(answer.status == 409 && answer.code == "node_ended")
        }
    }

    /// What a lost machine had goes onto another: that is what the order is for.
    @Test func theSnapshotsOfANodeThatIsGoneAreRestored() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/source/revoke", Muster_V1_NodeEndRequest())
            let grant = try scene.grant(scene.snapshots[0])
            _ = try await scene.begin(grant)
            let answer = try await scene.read(scene.pack(scene.snapshots[0]), as: scene.target, grant)
            #expect(answer.status == 200 && answer.body == scene.snapshots[0].pack.bytes)
        }
    }

    @Test func aSnapshotIsPinnedForAsLongAsItsOrderStands() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            _ = try await scene.begin(grant)
            let until = try await server.service.coordinator.catalog.pinEnd(of: scene.snapshots[0].id, .restore)
            #expect(until.map { $0 >= grant.terms.expiresAt } == true)
            #expect(try await server.service.coordinator.catalog.pinEnd(of: scene.snapshots[1].id, .restore) == nil)
        }
    }

    @Test func anOperatorOrdersWhatANodeDoesWithItsOwnKey() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let peers = try await AuthorisationTests.peers(server)
            let someone = try #require(peers[.operator])
            let foreign = try scene.grant(scene.snapshots[0])
            let own = try RestoreGrant(scene.terms(scene.snapshots[0], onto: scene.source))
            for (grant, path, status) in [
                (foreign, "/v1/restores", 403), (foreign, "/v1/restore-grants", 403), (own, "/v1/restores", 200),
            ] {
                #expect(try await scene.order([grant], as: someone, path).status == status, "\(path)")
            }
            let job = try #require(try await scene.work(scene.source).first)
            #expect(job.id == own.terms.id.description)
            // Not even an admin, by the route for what needs none.
            #expect(try await scene.order([foreign], "/v1/restores").status == 403)
        }
    }
}
