import ArgumentParser
import MusterAPI
import MusterAgent
import MusterModel

struct PersonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "person", abstract: "Say who may look at the fleet, work with it, or rule it.",
        discussion: """
            A viewer may look; an operator may also take snapshots, verify and restore; an admin may also change stores and
            retention, invite, retire and revoke. A program that asks for status is a person too.
            """,
        subcommands: [PersonAdd.self, PersonList.self, PersonRevoke.self])
}

struct PersonAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Write a context file with which a person reaches the coordinator.",
        discussion: """
            The key in it is made here and nobody else has it: hand the file over on a safe way, and keep no copy. It is good for
            a year.
            """)

    enum Role: String, ExpressibleByArgument, CaseIterable { case viewer, `operator`, admin }

    @Argument(help: "The person's name, as it will stand in the audit.")
    var name: String

    @Option(help: "viewer, operator or admin.")
    var role: Role

    @Option(help: "Where to write the context, mode 0600; nothing may stand there.")
    var out: String

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let own = try admin.readContext()
        let reserved = try ReservedContext(path: out)
        let fresh = try CertificateRequest(name: name)
        var request = Muster_V1_PersonRequest()
        (request.name, request.role, request.certificateRequest) = (name, role.rawValue, fresh.request)
        let answer = try await admin.coordinator().add(person: request)
        try reserved.write(
            AdminContext(
                url: own.url, authority: own.authority, certificate: answer.certificate, privateKey: fresh.privateKey))
        let row = PersonRow(answer.person)
        try admin.format.show(
            row,
            lines: [
                ("name", row.name), ("role", row.role), ("good until", row.expiresAt), ("context", out),
            ])
    }
}

struct PersonList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the certificates of people and their programs.")

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try admin.format.show(try await admin.coordinator().people().people.map(PersonRow.init))
    }
}

struct PersonRevoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "End every certificate under a name, at once.",
        discussion: "The last admin stays: add another one first.")

    @Argument(help: "The person's name.")
    var name: String

    @OptionGroup var confirmation: Confirmation
    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        let theirs = try await coordinator.people().people.filter { $0.name == name && $0.revokedAt.isEmpty }
        guard !theirs.isEmpty else {
            throw NamedThingMissing(
                summary: "there is no person '\(name)' with a certificate that was not revoked",
                hint: "Look at 'muster person list'.")
        }
        guard confirmation.confirm else {
            try admin.format.show(theirs.map(PersonRow.init))
            return try confirmation.require()
        }
        let left = try await coordinator.revoke(person: name)
        try admin.format.show(left.people.filter { $0.name == name }.map(PersonRow.init))
    }
}

struct PersonRow: Row {
    static let columns = ["name", "role", "since", "good until", "revoked"]
    let name, role, issuedAt, expiresAt: String
    @Known var revokedAt: String?

    init(_ person: Muster_V1_Person) {
        (name, role) = (person.name, person.role)
        (issuedAt, expiresAt, revokedAt) = (person.issuedAt, person.expiresAt, known(person.revokedAt))
    }

    var cells: [String] { [name, role, issuedAt, expiresAt, revokedAt ?? ""] }
}
