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

    private static func cancel(_ scene: RestoreScene, _ id: String, as peer: Peer? = nil) async throws -> Peer.Answer {
        try await (peer ?? scene.server.asAdmin).tryPost(
            .admin, "/v1/restores/\(id)/cancel", Muster_V1_RestoreProgress())
    }

    /// Reads, secret and pin end at once; the node hears it with its next word.
    @Test func anOrderThatIsTakenBackAllowsNothingMore() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let catalog = server.service.coordinator.catalog
            let (snapshot, grant) = (scene.snapshots[1], try scene.grant(scene.snapshots[1]))
            let run = try await scene.begin(grant)
            #expect(try await scene.work(scene.target).count == 1)
            for path in [scene.manifest(snapshot), scene.pack(snapshot)] {
                #expect(try await scene.read(path, as: scene.target, grant).status == 200)
            }
            let now = server.rig.clock.now()
            #expect(try await catalog.pinEnd(of: snapshot.id, .order) == grant.terms.expiresAt)

            let rows = try await catalog.auditEntries(limit: 100).count
            let answer = try await Self.cancel(scene, grant.terms.id.description)
            #expect(answer.status == 200, "\(answer.error)")
            let item = try #require(try Muster_V1_RestoreRun(serializedBytes: answer.body).items.first)
            #expect(item.state == "cancelled" && item.errorSummary.contains("has not said yet"))
            let audit = try await catalog.auditEntries(limit: 100)
            #expect(audit.count == rows + 1 && audit[0].action == "restore-cancel" && audit[0].actor == run.actor)
            #expect(audit[0].subject.contains(grant.terms.id.description))
            for path in [scene.manifest(snapshot), scene.pack(snapshot)] {
                #expect(try await scene.read(path, as: scene.target, grant).status == 403)
            }
            #expect(try await catalog.pinEnd(of: snapshot.id, .order) ?? now <= now)
            #expect(try await catalog.pinEnd(of: snapshot.id, .restore) == nil, "the node's reading left no other pin")
            #expect(try await catalog.restores(in: try #require(RunID(run.run))).map(\.bytes) == [[]])
            let word: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.target).post(
                .agent, "/v1/jobs/\(grant.terms.id)/progress", Muster_V1_RestoreProgress())
            #expect(!word.open)
            #expect(try await scene.work(scene.target, boot: "two").isEmpty, "nobody gets it again")

            #expect(try await scene.finish(grant, as: scene.target, isDone: false).status == 200)
            let ended = try await scene.show(run)
            #expect(ended.state == "finished" && ended.passed == 0 && ended.items[0].state == "cancelled")
            #expect(ended.items[0].errorSummary.hasSuffix("has stopped, and says: the disk is full"))
            // Once more is no change.
            #expect(try await Self.cancel(scene, run.run).status == 200)
            #expect(try await scene.show(run).items == ended.items)
            #expect(
                try await catalog.auditEntries(limit: 100).map(\.action).filter { $0 == "restore-cancel" }.count == 1)
        }
    }

    @Test func whatWasTakenBackTooLateSaysSo() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            let run = try await scene.begin(grant)
            #expect(try await scene.work(scene.target).count == 1)
            #expect(try await Self.cancel(scene, run.run).status == 200)
            #expect(try await scene.finish(grant, as: scene.stranger).status == 404)
            #expect(try await scene.finish(grant, as: scene.target).status == 200)
            let item = try #require(try await scene.show(run).items.first)
            #expect(item.state == "done" && item.errorSummary.contains("too late"))
            #expect(
                try await scene.finish(grant, as: scene.target, isDone: false).status == 200, "its first word counts")
            #expect(try await scene.show(run).items.first == item)
            let last = try await server.service.coordinator.catalog.auditEntries(limit: 1)
            #expect(last[0].action == "restore-end" && last[0].subject.contains("too late"))
        }
    }

    @Test func aRunIsTakenBackAsFarAsItIsOpenAndOthersKeepTheirPins() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let catalog = server.service.coordinator.catalog
            let (done, queued, other) = (
                try scene.grant(scene.snapshots[0]), try scene.grant(scene.snapshots[1]),
                try scene.grant(scene.snapshots[1], onto: scene.stranger) {
                    $0.expiresAt = $0.issuedAt + .seconds(1800)
                }
            )
            let answer = try await scene.order([done, queued])
            let run = try Muster_V1_RestoreRun(serializedBytes: answer.body)
            let second = try await scene.begin(other)
            #expect(try await scene.work(scene.target).count == 1)
            #expect(try await scene.finish(done, as: scene.target).status == 200)
            #expect(try await Self.cancel(scene, run.run).status == 200)
            let items = try await scene.show(run).items
            #expect(items.map(\.state) == ["done", "cancelled"] && items[1].errorSummary.contains("before node"))
            #expect(try await scene.show(second).items.map(\.state) == ["queued"])
            #expect(try await catalog.pinEnd(of: scene.snapshots[1].id, .order) == other.terms.expiresAt)
            #expect(try await catalog.pinEnd(of: scene.snapshots[0].id, .order) == done.terms.expiresAt)
            #expect(try await scene.read(scene.pack(scene.snapshots[1]), as: scene.stranger, other).status == 200)
        }
    }

    @Test func onlyAnAdminTakesOrdersBackAndOnlyThoseThatAre() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let run = try await scene.begin(try scene.grant(scene.snapshots[0]))
            for id in [RunID(from: .system).description, "junk", String(repeating: "0", count: 500)] {
                #expect(try await Self.cancel(scene, id).status == 404)
            }
            let anOperator = try #require(try await AuthorisationTests.peers(server)[.operator])
            #expect(try await Self.cancel(scene, run.run, as: anOperator).status == 403)
            #expect(try await scene.show(run).state == "running")
        }
    }

    /// For hours, if need be; whoever looks at the order knows.
    @Test func whyANodeWaitsIsShown() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            let run = try await scene.begin(grant)
            #expect(try await scene.work(scene.target).count == 1)
            var progress = Muster_V1_RestoreProgress()
            progress.waitsFor = String(repeating: "store 'main' is away ", count: 10_000 / 21)
            let path = "/v1/jobs/\(grant.terms.id)/progress"
            let _: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.target).post(.agent, path, progress)
            let shown = try #require(try await scene.show(run).items.first?.waitsFor)
            #expect(shown.hasPrefix("store 'main' is away") && shown.utf8.count <= 4096)
            progress.waitsFor = ""
            let _: Muster_V1_RestoreProgressAccepted = try await server.peer(scene.target).post(.agent, path, progress)
            #expect(try await scene.show(run).items.first?.waitsFor == "")
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
            let until = try await server.service.coordinator.catalog.pinEnd(of: scene.snapshots[0].id, .order)
            #expect(until.map { $0 >= grant.terms.expiresAt } == true)
            #expect(try await server.service.coordinator.catalog.pinEnd(of: scene.snapshots[1].id, .order) == nil)
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
