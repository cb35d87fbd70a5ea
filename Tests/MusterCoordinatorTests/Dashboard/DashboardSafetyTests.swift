import Crypto
import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing
import X509

@testable import MusterCoordinator

@Suite("Forms and sessions of the dashboard")
struct DashboardSafetyTests {
    @Test func aFormStartsASnapshotAndAVerification() async throws {
        try await Rig.serve { server in
            let (node, visitor) = try await Self.scene(server)
            let token = try await visitor.formToken()
            let fields = ["form_token": token, "database": "\(node.database)", "level": "scrub"]
            let answer = try await visitor.send("/actions/snapshot", fields)
            #expect(answer.status == 303 && answer.headers["location"] == "/jobs")
            #expect(try await visitor.page("/jobs").contains("queued"))
            let begun = try await visitor.send("/actions/verify", fields)
            let place = try #require(begun.headers["location"])
            #expect(begun.status == 303 && place.hasPrefix("/verifications/"))
            #expect(try await visitor.page(place).contains("Scrub of 1 snapshot"))
            let fleet = try await visitor.send("/actions/verify", ["form_token": token, "level": "check"])
            #expect(fleet.status == 303)
            let records = try await server.service.coordinator.catalog.auditEntries(limit: 3)
            #expect(records.map(\.action) == ["verify", "verify", "snapshot"])
            #expect(records.allSatisfy { $0.actor == "admin" })
        }
    }

    @Test func aFormOfAnotherPageIsRefused() async throws {
        try await Rig.serve { server in
            let (node, visitor) = try await Self.scene(server)
            let token = try await visitor.formToken()
            let good = ["form_token": token, "database": "\(node.database)"]
            let other = Visitor(server)
            _ = try await other.signIn(as: server.asAdmin)
            let foreign = try await other.formToken()
            let origin = ["origin": server.url(.dashboard)]
            let forged: [([String: String], [String: String])] = [
                (["database": "\(node.database)"], ["sec-fetch-site": "same-origin"]),
                (good.merging(["form_token": foreign]) { _, new in new }, ["sec-fetch-site": "same-origin"]),
                (good.merging(["form_token": ""]) { _, new in new }, ["sec-fetch-site": "same-origin"]),
                (good, ["sec-fetch-site": "cross-site"]), (good, ["sec-fetch-site": "same-site"]),
                (good, ["sec-fetch-site": "none"]), (good, [:]), (good, ["origin": "null"]),
                (good, ["origin": "https://elsewhere.example"]),
                (good, origin.merging(["sec-fetch-site": "cross-site"]) { _, new in new }),
            ]
            for (fields, headers) in forged {
                for path in ["/actions/snapshot", "/actions/verify", "/sign-out"] {
                    let answer = try await visitor.send(path, fields, headers: headers)
                    #expect(answer.status == 403 && answer.pageCode == "forged", "\(path) \(headers)")
                }
            }
            #expect(!(try await visitor.page("/jobs").contains("queued")))
            // A browser that does not know Sec-Fetch-Site says where the form comes from.
            #expect(try await visitor.send("/actions/snapshot", good, headers: origin).status == 303)
            let typed = try await visitor.send(
                "/actions/snapshot", good, headers: ["sec-fetch-site": "same-origin", "content-type": "text/plain"])
            #expect(typed.status == 400)
        }
    }

    @Test func whoSignsOutIsOut() async throws {
        try await Rig.serve { server in
            let (_, visitor) = try await Self.scene(server)
            let answer = try await visitor.send("/sign-out", ["form_token": try await visitor.formToken()])
            #expect(answer.status == 200 && answer.headers["set-cookie"]?.contains("Max-Age=0") == true)
            #expect(try await visitor.get("/").status == 401)
        }
    }

    @Test func aViewerSeesNoFormsAndStartsNothing() async throws {
        try await Rig.serve { server in
            let (node, admin) = try await Self.scene(server)
            let (viewer, fingerprint) = try await Self.person(.viewer, server)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: viewer)
            let path = "/databases/\(node.database)"
            #expect(try await admin.page(path).contains("Take a snapshot now"))
            #expect(!(try await visitor.page(path).contains("Take a snapshot now")))
            let token = try await visitor.formToken()
            for action in ["/actions/snapshot", "/actions/verify"] {
                let answer = try await visitor.send(
                    action, ["form_token": token, "database": "\(node.database)", "level": "check"])
                #expect(answer.status == 403 && answer.pageCode == "forbidden", "\(action)")
            }
            // And a session ends with the certificate that it was opened with.
            try await server.service.coordinator.catalog.revoke(fingerprint, at: server.rig.clock.now())
            server.rig.clock.advance(by: .seconds(30))
            #expect(try await visitor.get("/").status == 401)
            #expect(try await admin.get("/").status == 200)
        }
    }

    @Test func aDashboardThatIsOffSaysSo() async throws {
        let rig = try await Rig()
        let settings = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try PrivateFile.write(settings + "dashboard_listen: never\n", to: rig.place.settings)
        let service = try CoordinatorSettings(yaml: settings + "dashboard_listen: never\n")
        #expect(service.dashboardListen == nil)
        #expect(try CoordinatorSettings(yaml: "listen: 127.0.0.1:5000").dashboardListen?.port == 5002)
        #expect(try CoordinatorSettings(yaml: "dashboard_listen: '[::1]:9'\nlisten: a:1").dashboardListen?.port == 9)
    }

    /// A node with a snapshot, and an admin who is signed in.
    private static func scene(_ server: Server) async throws -> (TestNode, Visitor) {
        let node = try await server.makeNode()
        try await DashboardTests.report(node, named: "orders", to: server)
        let snapshot = try node.makeSnapshot()
        #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
        let visitor = Visitor(server)
        _ = try await visitor.signIn(as: server.asAdmin)
        return (node, visitor)
    }

    private static func person(_ role: Role, _ server: Server) async throws -> (Peer, CertificateFingerprint) {
        let key = P256.Signing.PrivateKey()
        let now = server.rig.clock.now()
        let issued = try server.service.coordinator.authority.issueClient(
            publicKey: Certificate.PublicKey(key.publicKey), commonName: role.rawValue, lifetime: .seconds(7200),
            random: .system, now: now)
        try await server.service.coordinator.catalog.add(
            Catalog.Certificate(
                fingerprint: issued.fingerprint, role: role, node: nil, subject: role.rawValue, issuedAt: now,
                notAfter: issued.notAfter))
        return (
            Peer(server: server, identity: .init(certificate: issued.pem, key: key.pemRepresentation)),
            issued.fingerprint
        )
    }
}
