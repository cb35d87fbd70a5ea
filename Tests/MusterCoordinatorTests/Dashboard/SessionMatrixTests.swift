import Crypto
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing
import X509

@testable import MusterCoordinator

/// The dashboard's part of the matrix: every route of its plane, with every state that a session and a form can be in.
///
/// The routes are those of the table that the server itself goes by, so a new one is in here from its first day.
@Suite("Sessions of the dashboard, cell by cell", .timeLimit(.minutes(10)))
struct SessionMatrixTests {
    private static let rules = RouteRule.all.filter { $0.plane == .dashboard }
    private static let methods = ["GET", "POST", "PUT", "DELETE", "HEAD"]

    /// What a browser may come with that is no session.
    enum NoSession: String, CaseIterable, CustomTestStringConvertible {
        case nothing, emptyCookie, guessed, truncated, underAnotherName, formSecret
        case signedOut, idle, old, revoked, certificateOver, afterARestart
        var testDescription: String { rawValue }
    }

    @Test(arguments: NoSession.allCases)
    func whoHasNoSessionSeesNothingAndChangesNothing(_ state: NoSession) async throws {
        let rig = try await Rig()
        if state == .afterARestart {
            let cookie = try await rig.serve { try await Self.cookie(of: state, $0) }
            return try await rig.serve { try await Self.expectRefused(cookie, state, $0) }
        }
        try await rig.serve { server in
            try await Self.expectRefused(try await Self.cookie(of: state, server), state, server)
        }
    }

    private static func expectRefused(_ cookie: String, _ state: NoSession, _ server: Server) async throws {
        let catalog = server.service.coordinator.catalog
        let before = try await catalog.auditEntries(limit: 1000).map(\.action)
        let headers = ["cookie": cookie, "sec-fetch-site": "same-origin"]
        for rule in rules {
            let answer = try await request("\(rule.method)", rule, headers, server)
            let cell: Comment = "\(state), \(rule.method) \(rule.path): \(answer.status)"
            if rule.roles.contains(.anonymous) {
                // As anybody: a link that is none, or no such asset.
                #expect(answer.pageCode == (rule.route == .dashboardAsset ? "not_found" : "link_refused"), cell)
            } else {
                #expect(answer.status == 401 && answer.pageCode == "unauthenticated", cell)
            }
            #expect(answer.headers["set-cookie"] == nil, cell)
        }
        #expect(try await catalog.auditEntries(limit: 1000).map(\.action) == before)
    }

    /// With one that is good, the table decides, and of a form besides whether it came from a page of this session.
    @Test(arguments: [Role.viewer, .operator, .admin])
    func whoHasASessionDoesWhatTheTableSaysByItsOwnFormsOnly(_ role: Role) async throws {
        try await Rig.serve { server in
            let person = try await Self.person(role, server).peer
            let reader = Visitor(server)
            _ = try await reader.signIn(as: person)
            for rule in Self.rules {
                if "\(rule.method)" == "GET" {
                    let answer = try await reader.get(Self.path(rule))
                    #expect(Self.isThrough(answer) == rule.roles.contains(role), "\(role), GET \(rule.path)")
                    continue
                }
                // Each of its own: one of the forms ends the session.
                let (visitor, other) = (Visitor(server), Visitor(server))
                _ = try await visitor.signIn(as: person)
                _ = try await other.signIn(as: person)
                let own = try await visitor.formToken()
                let foreign = try await other.formToken()
                for form in Self.forms(own: own, foreign: foreign) {
                    let answer = try await visitor.send(Self.path(rule), form.fields, headers: form.headers)
                    let cell: Comment = "\(role), \(rule.method) \(rule.path), \(form.name): \(answer.status)"
                    if !rule.roles.contains(role) {
                        #expect(answer.status == 403 && answer.pageCode == "forbidden", cell)
                    } else if form.isGood || rule.route == .signIn && form.isFromHere {
                        // Signing in wants no token: it is what gives the first one.
                        #expect(Self.isThrough(answer), cell)
                    } else {
                        #expect(answer.status == 403 && answer.pageCode == "forged", cell)
                    }
                }
            }
        }
    }

    /// Each path with each method that it has no rule for.
    @Test func noPathHasAnotherMethodThanTheTableSays() async throws {
        try await Rig.serve { server in
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            let token = try await visitor.formToken()
            let headers = ["cookie": visitor.cookie, "sec-fetch-site": "same-origin"]
            let known = Set(Self.rules.map { "\($0.method) \($0.path)" })
            for rule in Self.rules {
                for method in Self.methods where !known.contains("\(method) \(rule.path)") {
                    let answer = try await Self.request(method, rule, headers, server, form: "form_token=\(token)")
                    #expect(answer.status == 404, "\(method) \(rule.path): \(answer.status)")
                    #expect(answer.headers["set-cookie"] == nil)
                }
            }
            #expect(try await visitor.get("/").status == 200, "none of them signed anybody out")
        }
    }

    // MARK: - Cells

    private struct Form {
        let name: String
        let fields: [String: String]
        let headers: [String: String]
        var isFromHere = true
        var isGood = false
    }

    /// The good one comes last: it may end the session.
    private static func forms(own: String, foreign: String) -> [Form] {
        let here = ["sec-fetch-site": "same-origin"]
        let good = ["form_token": own]
        return [
            Form(name: "no token", fields: [:], headers: here),
            Form(name: "empty token", fields: ["form_token": ""], headers: here),
            Form(name: "wrong token", fields: ["form_token": String(repeating: "0", count: 64)], headers: here),
            Form(name: "another session's token", fields: ["form_token": foreign], headers: here),
            Form(name: "cross-site", fields: good, headers: ["sec-fetch-site": "cross-site"], isFromHere: false),
            Form(name: "from nowhere", fields: good, headers: [:], isFromHere: false),
            Form(name: "good", fields: good, headers: here, isGood: true),
        ]
    }

    /// Whether the table let it through, whatever the route made of it.
    private static func isThrough(_ answer: Peer.Answer) -> Bool {
        ![401, 403, 405].contains(answer.status) || answer.pageCode == "link_refused"
    }

    private static func path(_ rule: RouteRule) -> String {
        rule.path.replacing("*", with: String(repeating: "0", count: 64))
    }

    private static func request(
        _ name: String, _ rule: RouteRule, _ headers: [String: String], _ server: Server,
        form: String = ""
    ) async throws -> Peer.Answer {
        let method = try #require(HTTPRequest.Method(rawValue: name))
        var headers = headers
        let hasBody = ![.get, .head].contains(method)
        if hasBody { headers["content-type"] = "application/x-www-form-urlencoded" }
        return try await server.asAnonymous.send(
            .dashboard, method, path(rule), hasBody ? Array(form.utf8) : nil, headers: headers)
    }

    /// What the cookie header says in that state.
    private static func cookie(of state: NoSession, _ server: Server) async throws -> String {
        let lifetime = Duration.seconds(state == .certificateOver ? 1200 : 86_400)
        let (person, fingerprint) = try await person(.admin, server, lifetime: lifetime)
        let visitor = Visitor(server)
        _ = try await visitor.signIn(as: person)
        let secret = try #require(visitor.cookie.split(separator: "=").last)
        let (clock, catalog) = (server.rig.clock, server.service.coordinator.catalog)
        switch state {
        case .nothing: return ""
        case .emptyCookie: return "\(OpenSession.cookie)="
        case .guessed: return "\(OpenSession.cookie)=\(String(repeating: "a", count: 64))"
        case .truncated: return "\(OpenSession.cookie)=\(secret.dropLast())"
        case .underAnotherName: return "muster=\(secret)"
        case .formSecret: return "\(OpenSession.cookie)=\(try await visitor.formToken())"
        case .signedOut:
            #expect(try await visitor.send("/sign-out", ["form_token": try await visitor.formToken()]).status == 200)
        case .idle: clock.advance(by: SessionBook.longestIdle)
        case .old:
            for _ in 0..<24 {
                #expect(try await visitor.get("/").status == 200)
                clock.advance(by: SessionBook.longestSession / 24)
            }
        case .revoked:
            try await catalog.revoke(fingerprint, at: clock.now())
            // As long as an answer about a certificate counts.
            clock.advance(by: .seconds(30))
        case .certificateOver: clock.advance(by: .seconds(1800))
        case .afterARestart: break
        }
        return visitor.cookie
    }

    /// A person with a certificate that the catalog knows.
    private static func person(
        _ role: Role, _ server: Server, lifetime: Duration = .seconds(86_400)
    ) async throws -> (peer: Peer, fingerprint: CertificateFingerprint) {
        let key = P256.Signing.PrivateKey()
        let now = server.rig.clock.now()
        let issued = try server.service.coordinator.authority.issueClient(
            publicKey: Certificate.PublicKey(key.publicKey), commonName: role.rawValue, lifetime: lifetime,
            random: .system, now: now)
        try await server.service.coordinator.catalog.add(
            Catalog.Certificate(
                fingerprint: issued.fingerprint, role: role, node: nil, subject: "one \(role)", issuedAt: now,
                notAfter: issued.notAfter))
        return (
            Peer(server: server, identity: .init(certificate: issued.pem, key: key.pemRepresentation)),
            issued.fingerprint
        )
    }
}
