import Crypto
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

@Suite("The end of a node", .timeLimit(.minutes(10)))
struct NodeEndTests {
    private static func end(_ node: String, _ verb: String, _ server: Server) async throws -> Muster_V1_NodeEnded {
        try await server.asAdmin.post(.admin, "/v1/nodes/\(node)/\(verb)", Muster_V1_NodeEndRequest())
    }

    private static func report(_ node: TestNode, _ server: Server) async throws {
        var request = Muster_V1_ReportRequest()
        (request.agentVersion, request.clock) = ("test", server.rig.clock.now().description)
        request.databases = [
            .with {
                ($0.databaseID, $0.name, $0.path) = (node.database.description, "app", "/srv/app.db")
                ($0.schedule, $0.state) = ("every 5m", "ok")
            }
        ]
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    @Test func aRetiredNodesHistoryStaysAndItsNameIsFree() async throws {
        let rig = try await Rig()
        // TLS goes by the real time: what is made a day later must be good by it.
        rig.clock.advance(by: .seconds(-2 * 86_400))
        let (first, second, snapshot) = try await rig.serve { server in
            let first = try await server.makeNode("alpha")
            try await Self.report(first, server)
            let snapshot = try first.makeSnapshot()
            #expect(try await server.peer(first).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let created: Muster_V1_JobList = try await server.asAdmin.post(
                .admin, "/v1/snapshots", Muster_V1_SnapshotCreateRequest())
            var taken = Muster_V1_TokenRequest()
            taken.nodeName = "alpha"
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/tokens", taken).code == "node_exists")

            let ended = try await Self.end("alpha", "retire", server)
            #expect(ended.node.state == "retired" && !ended.node.endedAt.isEmpty && ended.closedJobs == 1)
            let again = try await server.asAdmin.tryPost(
                .admin, "/v1/nodes/alpha/retire", Muster_V1_NodeEndRequest())
            #expect(again.status == 409 && again.code == "node_ended")
            let job: Muster_V1_Job = try await server.asAdmin.get(.admin, "/v1/jobs/\(created.jobs[0].id)?wait=60")
            #expect(job.state == "failed" && job.errorSummary == "node 'alpha' was retired")
            #expect(try await server.peer(first).send(.agent, .get, "/v1/snapshots").code == "unknown_certificate")

            // Nobody waits for it any more, however long it is away.
            server.rig.clock.advance(by: .seconds(86_400))
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.allSatisfy { $0.node.isEmpty } && status.nodeCount == 0, "\(status.alarms)")

            // The same name is another node: its history is its own.
            let second = try await server.makeNode("alpha")
            let nodes: Muster_V1_NodeList = try await server.asAdmin.get(.admin, "/v1/nodes")
            #expect(nodes.nodes.map(\.name) == ["alpha", "alpha"])
            #expect(Set(nodes.nodes.map(\.state)) == ["active", "retired"])
            let shown: Muster_V1_Node = try await server.asAdmin.get(.admin, "/v1/nodes/alpha")
            #expect(shown.id == second.id.description)
            return (first, second, snapshot)
        }
        try await rig.serve { try await Self.expectHistory(first, second, snapshot, $0) }
        // A coordinator that was lost knows both again.
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.place.store])
        #expect(outcome.findings == [])
        try await rebuilt.serve { try await Self.expectHistory(first, second, snapshot, $0) }
    }

    private static func expectHistory(
        _ first: TestNode, _ second: TestNode, _ snapshot: TestSnapshot, _ server: Server
    ) async throws {
        let admin = server.asAdmin
        let old: Muster_V1_SnapshotList = try await admin.get(.admin, "/v1/snapshots?node=\(first.id)")
        #expect(old.snapshots.map(\.id) == [snapshot.id.description])
        let new: Muster_V1_SnapshotList = try await admin.get(.admin, "/v1/snapshots?node=alpha")
        #expect(new.snapshots.isEmpty)
        #expect(try await admin.send(.admin, .get, "/v1/snapshots/\(snapshot.id)/manifest").status == 200)
        #expect(try await admin.send(.admin, .get, "/v1/packs/\(snapshot.pack.id)").body == snapshot.pack.bytes)
        #expect(try await admin.send(.admin, .get, "/v1/nodes/\(first.id)/keys").status == 200)
        #expect(try await server.peer(first).send(.agent, .get, "/v1/snapshots").status == 401)
        #expect(try await server.peer(second).send(.agent, .get, "/v1/snapshots").status == 200)
    }

    @Test func aRevokedNodesPollAndUploadEnd() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            var poll = Muster_V1_WorkRequest()
            (poll.waitSeconds, poll.bootID) = (60, "one")
            let request = poll
            async let waiting = server.peer(node).tryPost(.agent, "/v1/work", request)
            let coordinator = server.service.coordinator
            while await !coordinator.work.isAwaited(node.id) { await Task.yield() }
            // So slow that it takes minutes, unless it is cut off.
            let snapshot = try node.makeSnapshot(extents: 128)
            async let upload = Self.putSlowly(snapshot.pack, node, server)
            while coordinator.connections.count(of: node.id) < 2 { try await Task.sleep(for: .milliseconds(20)) }
            _ = try await Self.end("alpha", "revoke", server)
            // A second after the answer its connection is closed, which a busy machine may do first.
            let polled = try? await waiting.status
            #expect(polled == nil || polled == 401)
            let uploaded = await upload
            #expect(uploaded != 200, "the upload went on")
            #expect(try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil).isEmpty)
            while coordinator.connections.count(of: node.id) > 0 { try await Task.sleep(for: .milliseconds(20)) }
        }
    }

    /// - Returns: the status; nil where the connection broke.
    private static func putSlowly(_ pack: Pack, _ node: TestNode, _ server: Server) async -> Int? {
        let tls = TLSFiles(
            authority: server.rig.admin.authority,
            identity: .init(certificate: node.certificate, key: node.tlsKey.pemRepresentation))
        guard let http = try? HTTPClient(tls: tls) else { return nil }
        defer { http.shutdown() }
        return try? await http.send(
            HTTPRequest(
                .put, server.url(.agent) + "/v1/packs/\(pack.id)", body: .bytes(pack.bytes), timeout: .seconds(300),
                maximumSendBytesPerSecond: 100_000)
        ).status
    }

    @Test func aStoreOnANodeIsGivenUpOnlyWhereItsNodeIsRevoked() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode("keeper")
            let coordinator = server.service.coordinator
            let entry = try await coordinator.catalog.add(
                store: "edge", url: "node://127.0.0.1:9/\(node.id)", node: node.id, at: server.rig.clock.now())
            coordinator.stores.put(try coordinator.opening.connect(entry))
            let shown: Muster_V1_Node = try await server.asAdmin.get(.admin, "/v1/nodes/keeper")
            #expect(shown.stores == ["edge"])
            let retire = try await server.asAdmin.tryPost(
                .admin, "/v1/nodes/keeper/retire", Muster_V1_NodeEndRequest())
            #expect(retire.status == 409 && retire.code == "keeps_stores")
            #expect(try await coordinator.catalog.isActive(node.id))
            let ended = try await Self.end("keeper", "revoke", server)
            #expect(ended.lostStores == ["edge"])
            #expect(!coordinator.stores.all.contains { $0.name == "edge" })
            #expect(try await coordinator.catalog.stores().last?.state == .lost)
            // Its name stays its own until it is retired too.
            var request = Muster_V1_TokenRequest()
            request.nodeName = "keeper"
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/tokens", request).code == "node_exists")
            #expect(try await Self.end("keeper", "retire", server).node.state == "retired")
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/tokens", request).status == 200)
        }
    }
}
