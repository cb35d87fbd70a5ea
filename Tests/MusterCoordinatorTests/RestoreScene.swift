import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

/// A node with snapshots, one that restores, one that has nothing to do with it, and the admin between them.
struct RestoreScene: Sendable {
    static let path = "/srv/restore/app.db"

    let server: Server
    let source: TestNode
    let target: TestNode
    let stranger: TestNode
    /// Of one lineage, each with a pack of its own that the others do not need.
    let snapshots: [TestSnapshot]
    let recovery: RecoveryKey

    static func make(_ server: Server) async throws -> RestoreScene {
        let source = try await server.makeNode("source")
        let (target, stranger) = (try await server.makeNode("target"), try await server.makeNode("stranger"))
        var snapshots: [TestSnapshot] = []
        for seed in UInt64(1)...3 {
            let snapshot = try source.makeSnapshot(seed: seed, after: snapshots.last?.manifest)
            let answer = try await server.peer(source).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
            snapshots.append(snapshot)
        }
        let scene = RestoreScene(
            server: server, source: source, target: target, stranger: stranger, snapshots: snapshots,
            recovery: try RecoveryKey(
                fileText: try String(contentsOfFile: server.rig.place.recoveryKey, encoding: .utf8)))
        for node in [source, target, stranger] { #expect(try await scene.publish(node).status == 200) }
        return scene
    }

    /// Tells the coordinator what grants for the node are sealed to.
    func publish(_ node: TestNode, _ statement: [UInt8]? = nil) async throws -> Peer.Answer {
        var report = Muster_V1_ReportRequest()
        report.clock = server.rig.clock.now().description
        report.grantKey = Data(statement ?? GrantKey.statement(of: node.id, signer: node.signer))
        return try await server.peer(node).tryPost(.agent, "/v1/report", report)
    }

    func terms(
        _ snapshot: TestSnapshot, onto target: TestNode? = nil,
        _ change: (inout RestoreGrant.Terms) -> Void = { _ in }
    ) -> RestoreGrant.Terms {
        let (part, now) = (snapshot.manifest.publicPart, server.rig.clock.now())
        var terms = RestoreGrant.Terms(
            id: GrantID(from: .system), sourceNode: source.id, sourceKey: source.signer.verifyingKey,
            scope: source.scope,
            keyEpoch: 1, snapshot: part.snapshot, contentRoot: part.contentRoot, targetNode: (target ?? self.target).id,
            targetPath: Self.path, issuedAt: now, expiresAt: now + .seconds(3600))
        change(&terms)
        return terms
    }

    func grant(
        _ snapshot: TestSnapshot, onto target: TestNode? = nil, sealer: RecoveryKey? = nil, recipient: TestNode? = nil,
        _ change: (inout RestoreGrant.Terms) -> Void = { _ in }
    ) throws -> RestoreGrant {
        let reader = recipient ?? target ?? self.target
        return try RestoreGrant(
            terms(snapshot, onto: target, change), secret: source.secret,
            to: GrantKey(of: reader.id, signer: reader.signer).publicKey, by: sealer ?? recovery, random: .system)
    }

    func order(
        _ grants: [RestoreGrant], as peer: Peer? = nil, _ path: String = "/v1/restore-grants"
    ) async throws -> Peer.Answer {
        var request = Muster_V1_RestoreRequest()
        request.grants = grants.map { Data($0.bytes) }
        return try await (peer ?? server.asAdmin).tryPost(.admin, path, request)
    }

    /// Orders one that must be taken.
    func begin(_ grant: RestoreGrant) async throws -> Muster_V1_RestoreRun {
        let answer = try await order([grant])
        guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
        return try Muster_V1_RestoreRun(serializedBytes: answer.body)
    }

    func show(_ run: Muster_V1_RestoreRun) async throws -> Muster_V1_RestoreRun {
        try await server.asAdmin.get(.admin, "/v1/restores/\(run.run)")
    }

    func work(_ node: TestNode, boot: String = "one") async throws -> [Muster_V1_Job] {
        let answer: Muster_V1_WorkResponse = try await server.peer(node).post(
            .agent, "/v1/work", Muster_V1_WorkRequest.with { $0.bootID = boot })
        return answer.jobs
    }

    func finish(_ grant: RestoreGrant, as node: TestNode, isDone: Bool = true) async throws -> Peer.Answer {
        var outcome = Muster_V1_JobOutcome()
        outcome.state = isDone ? "done" : "failed"
        if !isDone { (outcome.errorSummary, outcome.errorHint) = ("the disk is full", "Make room.") }
        return try await server.peer(node).tryPost(.agent, "/v1/jobs/\(grant.terms.id)/outcome", outcome)
    }

    /// What a node gets for a path, with the order named or not.
    func read(_ path: String, as node: TestNode, _ grant: RestoreGrant?) async throws -> Peer.Answer {
        try await server.peer(node).send(.agent, .get, path + (grant.map { "?grant=\($0.terms.id)" } ?? ""))
    }

    func manifest(_ snapshot: TestSnapshot) -> String { "/v1/snapshots/\(snapshot.id)/manifest" }
    func pack(_ snapshot: TestSnapshot) -> String { "/v1/packs/\(snapshot.pack.id)" }
}
