import Crypto
import MusterAPI
import MusterCatalog
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterAgent
@testable import MusterCoordinator

@Suite("People", .timeLimit(.minutes(10)))
struct PeopleTests {
    private static func request(_ name: String, _ role: String) throws -> (Muster_V1_PersonRequest, key: String) {
        let fresh = try CertificateRequest(name: "whatever it says")
        var request = Muster_V1_PersonRequest()
        (request.name, request.role, request.certificateRequest) = (name, role, fresh.request)
        return (request, fresh.privateKey)
    }

    private static func add(_ name: String, _ role: String, _ server: Server) async throws -> Peer {
        let (request, key) = try request(name, role)
        let added: Muster_V1_PersonAdded = try await server.asAdmin.post(.admin, "/v1/people", request)
        return Peer(server: server, identity: .init(certificate: added.certificate, key: key))
    }

    @Test func aPersonHasTheRoleThatAnAdminGaveUntilItIsTakenBack() async throws {
        let rig = try await Rig()
        let viewer = try await rig.serve { server in
            let viewer = try await Self.add("vera", "viewer", server)
            let other = try await Self.add("otto", "operator", server)
            #expect(try await viewer.send(.admin, .get, "/v1/status").status == 200)
            #expect(try await viewer.send(.admin, .post, "/v1/snapshots", []).code == "forbidden")
            #expect(try await viewer.send(.admin, .get, "/v1/people").code == "forbidden")
            // Not forbidden, only without a database to take one of.
            #expect(try await other.send(.admin, .post, "/v1/snapshots", []).code == "not_found")
            let list: Muster_V1_PersonList = try await server.asAdmin.get(.admin, "/v1/people")
            #expect(list.people.map(\.name) == ["admin", "otto", "vera"])
            #expect(list.people.map(\.role) == ["admin", "operator", "viewer"])
            let after: Muster_V1_PersonList = try await server.asAdmin.post(
                .admin, "/v1/people/otto/revoke", Muster_V1_NodeEndRequest())
            #expect(after.people.filter { !$0.revokedAt.isEmpty }.map(\.name) == ["otto"])
            #expect(try await other.send(.admin, .get, "/v1/status").code == "unknown_certificate")
            let entries = try await server.service.coordinator.catalog.auditEntries(limit: 3)
            #expect(entries.map(\.subject) == ["otto", "otto as operator", "vera as viewer"])
            return viewer.identity
        }
        // A rebuild knows who they are, too.
        let rebuilt = try await rig.rebuilt(from: [rig.place.store]).rig
        try await rebuilt.serve { server in
            let peer = Peer(server: server, identity: viewer)
            let answer = try await peer.send(.admin, .get, "/v1/status")
            #expect(answer.status == 200)
        }
    }

    @Test func nobodyIsAddedTwiceOrWithoutAKeyOrAsSomethingElse() async throws {
        try await Rig.serve { server in
            _ = try await Self.add("vera", "viewer", server)
            var (again, _) = try Self.request("vera", "admin")
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/people", again).code == "person_exists")
            for (name, role) in [
                ("", "viewer"), ("a b", "viewer"), ("otto", "node"), ("otto", "anonymous"), ("otto", ""),
            ] {
                let (request, _) = try Self.request(name, role)
                #expect(
                    try await server.asAdmin.tryPost(.admin, "/v1/people", request).code == "invalid", "\(name) \(role)"
                )
            }
            again.name = "otto"
            again.certificateRequest = "none"
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/people", again).code == "malformed")
        }
    }

    @Test func theLastAdminStays() async throws {
        try await Rig.serve { server in
            let path = "/v1/people/admin/revoke"
            let refused = try await server.asAdmin.tryPost(.admin, path, Muster_V1_NodeEndRequest())
            #expect(refused.status == 409 && refused.code == "last_admin")
            let second = try await Self.add("ada", "admin", server)
            let _: Muster_V1_PersonList = try await second.post(.admin, path, Muster_V1_NodeEndRequest())
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/status").status == 401)
            let unknown = try await second.tryPost(.admin, "/v1/people/nobody/revoke", Muster_V1_NodeEndRequest())
            #expect(unknown.status == 404)
        }
    }
}
