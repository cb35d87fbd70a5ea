import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Check and scrub")
struct InspectionTests {
    /// Two snapshots that share one pack, and the pack's file.
    private static func fill(_ server: Server) async throws -> (TestNode, [TestSnapshot]) {
        let node = try await server.makeNode()
        let first = try node.makeSnapshot(extents: 30)
        let second = try node.makeSnapshot(extents: 30, after: first.manifest)
        #expect(first.pack.id == second.pack.id)
        #expect(try await server.peer(node).put(first.pack).status == 200)
        for snapshot in [first, second] {
            #expect(try await server.peer(node).commit(snapshot.manifest).status == 200)
        }
        return (node, [first, second])
    }

    static func verify(
        _ server: Server, _ level: String, _ snapshots: [TestSnapshot]
    ) async throws -> Muster_V1_Verification {
        var request = Muster_V1_VerificationRequest()
        request.level = level
        request.snapshotIds = snapshots.map { String($0.id.description.prefix(12)) }
        let begun: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
        return try await finished(server, begun.run)
    }

    static func finished(_ server: Server, _ run: String) async throws -> Muster_V1_Verification {
        for _ in 0..<5000 {
            let now: Muster_V1_Verification = try await server.asAdmin.get(.admin, "/v1/verifications/\(run)")
            if now.state == "finished" { return now }
        }
        throw Unexpected("run \(run) does not end")
    }

    private static func path(_ server: Server, _ prefix: ObjectPrefix) async throws -> (name: String, path: String) {
        let object = try #require(try await server.rig.store().objects(prefix, maximumCount: 10).first)
        return (object.name.description, server.rig.place.store + "/" + object.name.description)
    }

    /// Stored objects are read-only files, so a test changes the bytes the way a bad disk does: in place.
    private static func rewrite(_ path: String, _ change: (inout Data) -> Void) throws -> Data {
        let sound = try Data(contentsOf: URL(filePath: path))
        var bytes = sound
        change(&bytes)
        try FileManager.default.removeItem(atPath: path)
        try bytes.write(to: URL(filePath: path))
        return sound
    }

    @Test func aSharedPackIsReadOnceInARun() async throws {
        try await Rig.serve { server in
            let (_, snapshots) = try await Self.fill(server)
            let verification = try await Self.verify(server, "scrub", snapshots)
            #expect(verification.passed == 2 && verification.total == 2 && verification.failed.isEmpty)
            let packBytes = UInt64(snapshots[0].pack.bytes.count)
            #expect((packBytes..<2 * packBytes).contains(verification.bytesRead))
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshots[0].id)")
            #expect(shown.verdict == "passed scrub" && shown.verifiedAt.isEmpty)
            #expect(shown.replicas.map(\.state) == ["present"])
        }
    }

    @Test func aFlippedBitIsNamedWithEverySnapshotItHits() async throws {
        try await Rig.serve { server in
            let (node, snapshots) = try await Self.fill(server)
            let (name, path) = try await Self.path(server, .packs)
            let sound = try Self.rewrite(path) { $0[$0.count / 2] ^= 4 }
            let verification = try await Self.verify(server, "scrub", snapshots)
            #expect(verification.passed == 0 && verification.failed.count == 2)
            #expect(Set(verification.failed.map(\.snapshot)) == Set(snapshots.map(\.id.description)))
            #expect(verification.failed.allSatisfy { $0.object == name && $0.store == "main" })
            #expect(verification.failed.first?.reason.contains("also needed by \(snapshots[1].id)") == true)
            let one = try await Self.verify(server, "scrub", [snapshots[0]])
            #expect(one.failed.first?.reason.contains("\(snapshots[1].id)") == true, "those outside the run too")
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.map(\.kind) == ["damaged", "lost"])
            // The size is right, and that does not make it good again.
            #expect(try await Self.verify(server, "check", snapshots).passed == 0)

            _ = try Self.rewrite(path) { $0 = sound }
            #expect(try await Self.verify(server, "check", snapshots).passed == 2, "read again, as a whole")
            let still: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(still.alarms.map(\.kind) == ["damaged"], "a check does not lift what a scrub found")
            #expect(try await Self.verify(server, "scrub", snapshots).passed == 2)
            let good: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(good.alarms.isEmpty)
            #expect(try await server.peer(node).send(.agent, .get, "/v1/packs/\(snapshots[0].pack.id)").status == 200)
        }
    }

    @Test(arguments: ["packs", "manifests", "receipts", "nodes"], ["check", "scrub"])
    func aMissingObjectIsNamed(kind: String, level: String) async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let prefixes: [String: ObjectPrefix] = [
                "packs": .packs, "manifests": .manifests, "receipts": .receipts, "nodes": .nodes,
            ]
            let (name, path) = try await Self.path(server, try #require(prefixes[kind]))
            try FileManager.default.removeItem(atPath: path)
            let verification = try await Self.verify(server, level, [snapshot])
            #expect(verification.failed.map(\.object) == [name])
            #expect(verification.failed.map(\.reason) == ["the object is missing"])
            let reads = [
                "packs": "/v1/packs/\(snapshot.pack.id)", "manifests": "/v1/snapshots/\(snapshot.id)/manifest",
                "nodes": "/v1/nodes/alpha/keys",
            ]
            if let read = reads[kind] {
                let answer = try await server.peer(node).send(.agent, .get, read)
                #expect(answer.status == 404 && answer.code == "object_missing")
                #expect(answer.error.summary.contains(name))
            }
        }
    }

    @Test(arguments: ["manifests", "receipts", "nodes"])
    func aFlippedBitInASmallObjectIsNamed(kind: String) async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let prefixes: [String: ObjectPrefix] = [
                "manifests": .manifests, "receipts": .receipts, "nodes": .nodes,
            ]
            let (name, path) = try await Self.path(server, try #require(prefixes[kind]))
            _ = try Self.rewrite(path) { $0[$0.count / 2] ^= 1 }
            #expect(try await Self.verify(server, "scrub", [snapshot]).failed.map(\.object) == [name])
        }
    }

    @Test func aPackThatIsSentAgainHealsTheDamage() async throws {
        try await Rig.serve { server in
            let (node, snapshots) = try await Self.fill(server)
            let (_, path) = try await Self.path(server, .packs)
            try FileManager.default.removeItem(atPath: path)
            #expect(try await Self.verify(server, "check", snapshots).passed == 0)
            #expect(try await server.peer(node).put(snapshots[0].pack).status == 200)
            #expect(try await Self.verify(server, "scrub", snapshots).passed == 2)
        }
    }

    @Test func aRunGoesOnAfterARestart() async throws {
        let rig = try await Rig()
        let snapshots = try await rig.serve { try await Self.fill($0).1 }
        let run = RunID(from: .system)
        let catalog = try Catalog(path: rig.place.catalog, names: .stored) { Coordinator.hash($0) }
        try await catalog.begin(run, level: .scrub, snapshots: snapshots.map(\.id), jobs: [], now: rig.clock.now())
        try await catalog.close()
        try await rig.serve { server in
            let verification = try await Self.finished(server, run.description)
            #expect(verification.passed == 2)
        }
    }

    @Test func levelVerifyIsTheNodesWork() async throws {
        try await Rig.serve { server in
            let (node, snapshots) = try await Self.fill(server)
            var request = Muster_V1_VerificationRequest()
            request.level = "verify"
            request.snapshotIds = snapshots.map(\.id.description)
            let begun: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
            #expect(begun.state == "running" && begun.waiting == request.snapshotIds)
            var poll = Muster_V1_WorkRequest()
            poll.bootID = "one"
            let work: Muster_V1_WorkResponse = try await server.peer(node).post(.agent, "/v1/work", poll)
            #expect(work.jobs.map(\.kind) == ["verify"], "one at a time")
            #expect(work.jobs.map(\.snapshotID) == [request.snapshotIds[0]])
            var outcome = Muster_V1_JobOutcome()
            outcome.state = "done"
            let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
                .agent, "/v1/jobs/\(work.jobs[0].id)/outcome", outcome)
            let rest: Muster_V1_WorkResponse = try await server.peer(node).post(.agent, "/v1/work", poll)
            #expect(rest.jobs.map(\.snapshotID) == [request.snapshotIds[1]])
            outcome.failed = [.with { ($0.object, $0.reason) = ("packs/x", "it does not open") }]
            let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
                .agent, "/v1/jobs/\(rest.jobs[0].id)/outcome", outcome)
            let ended: Muster_V1_Verification = try await server.asAdmin.get(
                .admin, "/v1/verifications/\(begun.run)")
            #expect(ended.state == "finished" && ended.passed == 1)
            #expect(ended.failed.map(\.snapshot) == [snapshots[1].id.description])
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshots[0].id)")
            #expect(shown.verdict == "passed verify" && !shown.verifiedAt.isEmpty)
        }
    }
}
