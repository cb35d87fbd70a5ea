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
import X509

@testable import MusterCoordinator

@Suite("Who may do what")
struct AuthorisationTests {
    /// What DESIGN.md section 8 wants, written down a second time and by hand: the table of the code must agree.
    static let wanted: [String: [Plane: Set<Role>]] = [
        "POST /v1/join": [.agent: [.anonymous]],
        "POST /v1/renew": [.agent: [.anonymous, .node]],
        "POST /v1/keys": [.agent: [.node]],
        "POST /v1/chunks/missing": [.agent: [.node]],
        "PUT /v1/packs/*": [.agent: [.node]],
        "POST /v1/uploads": [.agent: [.node]],
        "POST /v1/packs/*/claim": [.agent: [.node]],
        "POST /v1/snapshots": [.agent: [.node], .admin: [.operator, .admin]],
        "POST /v1/report": [.agent: [.node]],
        "POST /v1/work": [.agent: [.node]],
        "POST /v1/jobs/*/outcome": [.agent: [.node]],
        "POST /v1/jobs/*/progress": [.agent: [.node]],
        "POST /v1/restores": [.admin: [.operator, .admin]],
        "POST /v1/restore-grants": [.admin: [.admin]],
        "GET /v1/restores/*": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/restores/*/cancel": [.admin: [.admin]],
        "DELETE /v1/restores/*": [:],
        "GET /v1/snapshots": [.agent: [.node], .admin: [.viewer, .operator, .admin]],
        "GET /v1/snapshots/*": [.agent: [.node], .admin: [.viewer, .operator, .admin]],
        "GET /v1/snapshots/*/manifest": [.agent: [.node], .admin: [.operator, .admin]],
        "GET /v1/packs/*": [.agent: [.node], .admin: [.operator, .admin]],
        "GET /v1/nodes/*/keys": [.agent: [.node], .admin: [.operator, .admin]],
        "POST /v1/tokens": [.admin: [.admin]],
        "GET /v1/fleet-snapshots": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/fleet-snapshots/*": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/fleet-snapshots": [.admin: [.operator, .admin]],
        "POST /v1/fleet-snapshots/*/forget": [.admin: [.admin]],
        "POST /v1/nodes/*/retire": [.admin: [.admin]],
        "POST /v1/nodes/*/revoke": [.admin: [.admin]],
        "GET /v1/people": [.admin: [.admin]],
        "POST /v1/people": [.admin: [.admin]],
        "POST /v1/people/*/revoke": [.admin: [.admin]],
        "DELETE /v1/nodes/*": [:],
        "DELETE /v1/people/*": [:],
        "GET /v1/retention": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/retention/preview": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/retention": [.admin: [.admin]],
        "POST /v1/retention/apply": [.admin: [.admin]],
        "POST /v1/retention/undo": [.admin: [.admin]],
        "POST /v1/snapshots/hold": [.admin: [.admin]],
        "POST /v1/snapshots/release": [.admin: [.admin]],
        "POST /v1/snapshots/forget": [.admin: [.admin]],
        "POST /v1/alarms/clear": [.admin: [.admin]],
        "GET /v1/gc": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/gc": [.admin: [.admin]],
        "GET /v1/stores": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/stores": [.admin: [.admin]],
        "POST /v1/stores/*": [.admin: [.admin]],
        "DELETE /v1/stores/*": [:],
        "POST /v1/stores/*/probe": [.admin: [.admin]],
        "GET /v1/stores/*/probe": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/stores/*/check": [.admin: [.operator, .admin]],
        "GET /v1/stores/*/check": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/stores/*/repair": [.admin: [.operator, .admin]],
        "GET /v1/stores/*/repair": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/nodes": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/nodes/*": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/databases": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/jobs/*": [.admin: [.viewer, .operator, .admin]],
        "POST /v1/verifications": [.admin: [.operator, .admin]],
        "GET /v1/verifications": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/verifications/*": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/verifications/*/nodes": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/verifications/*/items": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/databases/*/drills": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/coverage": [.admin: [.viewer, .operator, .admin]],
        "GET /metrics": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/audit": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/audit/check": [.admin: [.viewer, .operator, .admin]],
        "GET /v1/status": [.admin: [.viewer, .operator, .admin]],
        "DELETE /v1/snapshots/*": [:],
        "DELETE /v1/packs/*": [:],
        "PUT /v1/snapshots/*": [:],
        "DELETE /v1/uploads": [:],
        "GET /v1/uploads": [:],
        "POST /v1/packs/*": [:],
        "GET /v1/tokens": [:],
        "POST /v1/dashboard": [.admin: [.viewer, .operator, .admin]],
        "GET /enter/*": [.dashboard: [.anonymous, .viewer, .operator, .admin]],
        "POST /enter/*": [.dashboard: [.anonymous, .viewer, .operator, .admin]],
        "GET /assets/*": [.dashboard: [.anonymous, .viewer, .operator, .admin]],
        "GET /": [.dashboard: [.viewer, .operator, .admin]],
        "GET /nodes": [.dashboard: [.viewer, .operator, .admin]],
        "GET /nodes/*": [.dashboard: [.viewer, .operator, .admin]],
        "GET /databases/*": [.dashboard: [.viewer, .operator, .admin]],
        "GET /snapshots/*": [.dashboard: [.viewer, .operator, .admin]],
        "GET /verifications": [.dashboard: [.viewer, .operator, .admin]],
        "GET /verifications/*": [.dashboard: [.viewer, .operator, .admin]],
        "GET /fleet-snapshots": [.dashboard: [.viewer, .operator, .admin]],
        "GET /fleet-snapshots/*": [.dashboard: [.viewer, .operator, .admin]],
        "GET /stores": [.dashboard: [.viewer, .operator, .admin]],
        "GET /alarms": [.dashboard: [.viewer, .operator, .admin]],
        "GET /jobs": [.dashboard: [.viewer, .operator, .admin]],
        "GET /audit": [.dashboard: [.viewer, .operator, .admin]],
        "POST /sign-out": [.dashboard: [.viewer, .operator, .admin]],
        "POST /actions/snapshot": [.dashboard: [.operator, .admin]],
        "POST /actions/verify": [.dashboard: [.operator, .admin]],
        "POST /actions/forget": [:],
        "POST /": [:],
    ]

    @Test func everyCellOfTheTableIsTheServersAnswer() async throws {
        try await Rig.serve { server in
            let peers = try await Self.peers(server)
            for (request, planes) in Self.wanted {
                for plane in Plane.allCases {
                    for role in Role.allCases {
                        let peer = try #require(peers[role])
                        let session = plane == .dashboard ? try await Self.session(of: role, peer, server) : nil
                        let isAllowed = await Self.isAllowed(peer, plane, request, session: session)
                        // The dashboard's plane asks for no certificate: there a node is as anybody.
                        let seen = plane == .dashboard && role == .node ? Role.anonymous : role
                        let wanted = planes[plane, default: []].contains(seen)
                        #expect(isAllowed == wanted, "\(plane) plane, \(request), \(role)")
                    }
                }
            }
        }
    }

    @Test func everyRuleIsInTheMatrixAndEveryRouteHasARule() {
        for rule in RouteRule.all {
            #expect(Self.wanted["\(rule.method) \(rule.path)"]?[rule.plane] == rule.roles, "\(rule.path)")
        }
        #expect(Set(RouteRule.all.map(\.route)) == Set(Route.allCases))
        #expect(RouteRule.all.count == Self.wanted.values.reduce(0) { $0 + $1.count })
    }

    /// The other half of the matrix: what was good once and is good no longer is nobody's on every route.
    @Test func aCertificateThatEndedIsRefusedOnEveryRoute() async throws {
        try await Rig.serve { server in
            let coordinator = server.service.coordinator
            var ended: [(String, Peer)] = []
            let (retired, revoked) = (try await server.makeNode("gone"), try await server.makeNode("stolen"))
            let renewed = try await server.makeNode("renewed")
            try await coordinator.catalog.retire(retired.id, at: server.rig.clock.now())
            try await coordinator.catalog.revoke(revoked.id, at: server.rig.clock.now())
            let old = try coordinator.authority.issueNode(
                request: renewed.request, node: renewed.id, random: .system, now: server.rig.clock.now())
            try await coordinator.catalog.add(
                Catalog.Certificate(
                    fingerprint: old.fingerprint, role: .node, node: renewed.id, subject: "", issuedAt: old.notAfter,
                    notAfter: server.rig.clock.now()))
            ended += [
                ("retired node", server.peer(retired)), ("revoked node", server.peer(revoked)),
                (
                    "expired node",
                    Peer(server: server, identity: .init(certificate: old.pem, key: renewed.tlsKey.pemRepresentation))
                ),
            ]
            for role in [Role.viewer, .operator, .admin] {
                for isRevoked in [true, false] {
                    let (peer, issued) = try Self.peer(server, of: coordinator.authority, role.rawValue)
                    try await coordinator.catalog.add(
                        Catalog.Certificate(
                            fingerprint: issued.fingerprint, role: role, node: nil, subject: "\(role) \(isRevoked)",
                            issuedAt: server.rig.clock.now(),
                            notAfter: isRevoked ? issued.notAfter : server.rig.clock.now()))
                    if isRevoked {
                        try await coordinator.catalog.revoke(issued.fingerprint, at: server.rig.clock.now())
                    }
                    ended.append(("\(isRevoked ? "revoked" : "expired") \(role)", peer))
                }
            }
            for (state, peer) in ended {
                // No certificate says who somebody is on the dashboard.
                for rule in RouteRule.all where rule.plane != .dashboard {
                    let path = rule.path.replacing("*", with: String(repeating: "0", count: 64))
                    let method = try #require(HTTPRequest.Method(rawValue: "\(rule.method)"))
                    let answer = try await peer.send(rule.plane, method, path, method == .get ? nil : [])
                    #expect(
                        answer.status == 401 && answer.code == "unknown_certificate",
                        "\(state), \(rule.plane) plane, \(rule.method) \(rule.path)")
                }
            }
        }
    }

    @Test func aCertificateOfAnotherAuthorityEndsTheHandshake() async throws {
        try await Rig.serve { server in
            let stranger = try Authority.make(random: .system, now: server.rig.clock.now())
            let peer = try Self.peer(server, of: stranger, "admin").peer
            // The dashboard's plane asks for no certificate, and takes none.
            for plane in [Plane.agent, .admin] {
                await #expect(throws: TransferError.self) { try await peer.send(plane, .get, "/v1/status") }
            }
        }
    }

    @Test func aCertificateThatTheCatalogDoesNotKnowIsNobodys() async throws {
        try await Rig.serve { server in
            let peer = try Self.peer(server, of: server.service.coordinator.authority, "admin").peer
            for (plane, path) in [(Plane.admin, "/v1/status"), (.agent, "/v1/snapshots")] {
                let answer = try await peer.send(plane, .get, path)
                #expect(answer.status == 401 && answer.code == "unknown_certificate")
            }
        }
    }

    @Test func aRevokedNodeIsRefusedWithinAMinute() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            #expect(try await peer.send(.agent, .get, "/v1/snapshots").status == 200)
            try await server.service.coordinator.catalog.revoke(node.id, at: server.rig.clock.now())
            server.rig.clock.advance(by: .seconds(30))
            let answer = try await peer.send(.agent, .get, "/v1/snapshots")
            #expect(answer.status == 401 && answer.code == "unknown_certificate")
            let renewal = try node.renewRequest(signedAt: server.rig.clock.now())
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/renew", renewal).status == 401)
        }
    }

    @Test func anExpiredCertificateStopsCountingOnAnOpenConnectionToo() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            server.rig.clock.advance(by: Authority.nodeLifetime)
            #expect(try await server.peer(node).send(.agent, .get, "/v1/snapshots").status == 401)
        }
    }

    @Test func aNodeSeesItsOwnOnly() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            let snapshot = try alpha.makeSnapshot()
            #expect(try await server.peer(alpha).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let paths = [
                "/v1/snapshots/\(snapshot.id)", "/v1/snapshots/\(snapshot.id)/manifest",
                "/v1/packs/\(snapshot.pack.id)", "/v1/nodes/\(alpha.id)/keys", "/v1/nodes/alpha/keys",
            ]
            for path in paths {
                #expect(try await server.peer(alpha).send(.agent, .get, path).status == 200, "\(path)")
                let answer = try await server.peer(beta).send(.agent, .get, path)
                #expect(answer.status == 404 && answer.code == "not_found", "\(path)")
            }
            let list: Muster_V1_SnapshotList = try await server.peer(beta).get(
                .agent, "/v1/snapshots?node=alpha&pack=\(snapshot.pack.id)")
            #expect(list.snapshots.isEmpty)
        }
    }

    /// The cookie of a session on the dashboard; nil for those who get none there.
    private static func session(of role: Role, _ peer: Peer, _ server: Server) async throws -> String? {
        guard ![.anonymous, .node].contains(role) else { return nil }
        let visitor = Visitor(server)
        _ = try await visitor.signIn(as: peer)
        return visitor.cookie
    }

    /// A peer for each role, known to the catalog.
    static func peers(_ server: Server) async throws -> [Role: Peer] {
        let coordinator = server.service.coordinator
        var peers: [Role: Peer] = [.anonymous: server.asAnonymous, .admin: server.asAdmin]
        peers[.node] = server.peer(try await server.makeNode("matrix"))
        for role in [Role.viewer, .operator] {
            let (peer, issued) = try peer(server, of: coordinator.authority, role.rawValue)
            try await coordinator.catalog.add(
                Catalog.Certificate(
                    fingerprint: issued.fingerprint, role: role, node: nil, subject: role.rawValue,
                    issuedAt: server.rig.clock.now(), notAfter: issued.notAfter))
            peers[role] = peer
        }
        return peers
    }

    private static func peer(
        _ server: Server, of authority: Authority, _ name: String
    ) throws -> (peer: Peer, issued: IssuedCertificate) {
        let key = P256.Signing.PrivateKey()
        let issued = try authority.issueClient(
            publicKey: Certificate.PublicKey(key.publicKey), commonName: name, lifetime: .seconds(3600),
            random: .system, now: server.rig.clock.now())
        return (
            Peer(server: server, identity: .init(certificate: issued.pem, key: key.pemRepresentation)), issued
        )
    }

    /// True where the table let the request through to its route, whatever the route made of it.
    private static func isAllowed(
        _ peer: Peer, _ plane: Plane, _ request: String, session: String? = nil
    ) async -> Bool {
        let words = request.split(separator: " ")
        let path = String(words[1]).replacing("*", with: String(repeating: "0", count: 64))
        guard let method = HTTPRequest.Method(rawValue: String(words[0])) else { return false }
        // On the admin plane TLS itself refuses a connection without a certificate.
        var headers = ["accept": "application/x-protobuf", "content-type": "application/x-protobuf"]
        headers["cookie"] = session
        let body: [UInt8]? = method == .get || method == .delete ? nil : []
        guard let answer = try? await peer.send(plane, method, path, body, headers: headers) else { return false }
        if plane == .dashboard {
            return ![401, 405].contains(answer.status) && answer.pageCode != "forbidden"
                && !String(decoding: answer.body, as: UTF8.self).contains("no such route")
                || answer.pageCode == "link_refused"
        }
        if ["unauthenticated", "forbidden"].contains(answer.code) { return false }
        return !answer.error.summary.contains("no such route")
    }
}
