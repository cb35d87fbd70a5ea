import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Who may reach the admin plane besides the first admin.
extension Coordinator {
    private static let roles: Set<Role> = [.viewer, .operator, .admin]

    func listPeople(_ call: Call) async throws -> Response { try call.answer(try await people()) }

    /// Signs a certificate for a key that stays with the person.
    func addPerson(_ call: Call) async throws -> Response {
        let request: Muster_V1_PersonRequest = try await call.message()
        let name = try Self.checked(personName: request.name)
        guard let role = Role(rawValue: request.role), Self.roles.contains(role) else {
            throw Refusal.invalid(
                "'\(request.role.prefix(40))' is no role of a person", hint: "Use viewer, operator or admin.")
        }
        let now = clock.now()
        let issued: IssuedCertificate
        do {
            issued = try authority.issuePerson(
                request: request.certificateRequest, name: name, random: random, now: now)
        } catch {
            throw Refusal.malformed("the certificate request is no PKCS #10 that is signed by its key")
        }
        let entry = Catalog.Certificate(
            fingerprint: issued.fingerprint, role: role, node: nil, subject: name, issuedAt: now,
            notAfter: issued.notAfter)
        let row = row(call, "person-add", "\(name) as \(role.rawValue)")
        guard try await catalog.add(person: entry, now: now, audit: row) == .done else {
            throw Refusal(
                .conflict, "person_exists", "'\(name)' has a certificate that is good",
                hint: "Choose another name, or revoke it first with 'muster person revoke \(name)'.")
        }
        try await keepChange()
        var answer = Muster_V1_PersonAdded()
        answer.person = Muster_V1_Person(entry, revokedAt: nil)
        answer.certificate = issued.pem
        return try call.answer(answer)
    }

    func revokePerson(_ call: Call) async throws -> Response {
        let name = call.parameters[0]
        switch try await catalog.revoke(person: name, at: clock.now(), audit: row(call, "person-revoke", name)) {
        case .done: break
        case .lastAdmin:
            throw Refusal(
                .conflict, "last_admin", "'\(name)' is the last admin", hint: "Add another admin first.")
        case .unknown, .nameTaken: throw Refusal.notFound("person '\(name.prefix(80))' with a good certificate")
        }
        callers.forget()
        try await keepChange()
        return try call.answer(try await people())
    }

    private func people() async throws -> Muster_V1_PersonList {
        var answer = Muster_V1_PersonList()
        answer.people = try await catalog.people(now: clock.now()).map { Muster_V1_Person($0.0, revokedAt: $0.1) }
        return answer
    }

    static func checked(personName name: String) throws -> String {
        guard name.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil else {
            throw Refusal.invalid(
                "'\(name.prefix(80))' is no name of a person",
                hint: "Use 1 to 63 letters, digits, dots, dashes and underscores.")
        }
        return name
    }
}

extension Muster_V1_Person {
    fileprivate init(_ certificate: Catalog.Certificate, revokedAt: Timestamp?) {
        self.init()
        (name, role) = (certificate.subject, certificate.role.rawValue)
        (issuedAt, expiresAt) = (certificate.issuedAt.description, certificate.notAfter.description)
        self.revokedAt = revokedAt?.description ?? ""
    }
}
