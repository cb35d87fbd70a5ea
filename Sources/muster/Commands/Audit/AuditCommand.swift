import ArgumentParser
import MusterAPI

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "See who changed what, and prove that the record is whole.",
        subcommands: [AuditListCommand.self, AuditVerify.self])
}

struct AuditListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the newest rows of the audit, the newest first.",
        discussion: """
            Every change by a person or a policy has a row, and denied requests have one for each kind with their number.
            """)

    @Option(help: "Only rows since that time, as RFC 3339.")
    var since: String?

    @Option(help: "At most <n> rows.")
    var limit = 100

    @Option(help: "Only of this actor, exactly as it is listed.")
    var actor: String?

    @OptionGroup var admin: AdminOptions

    private static let page = 1000

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit must be 1 or more") }
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        var rows: [AuditRow] = []
        var before: UInt64 = 0
        // Each page is older than the one before, so there is an end.
        repeat {
            let page = try await coordinator.audit(
                since: since ?? "", actor: actor ?? "", before: before, limit: min(Self.page, limit - rows.count))
            rows += page.entries.map(AuditRow.init)
            before = page.next
        } while before > 0 && rows.count < limit
        try admin.format.show(rows)
    }
}

struct AuditVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read the whole audit again and check that each row follows from the one before.",
        discussion: """
            Prints the number of rows and the hash of the last one. Who can write the coordinator's files can make the
            whole chain anew or cut its end off: keep what is printed elsewhere, and give it with --head the next time.
            The stores have the head of each hour and of each change of the fleet, sealed; a rebuild compares it.

            Exit status: 0 if the chain is whole; 1 if a row was changed, or the row of --head is not what it was.
            """)

    @Option(help: "What an earlier run printed, as <rows>:<hash>.")
    var head: String?

    @OptionGroup var admin: AdminOptions

    private struct Shown: Encodable {
        let rows: UInt64
        let headHash: String
        let firstBroken: UInt64
        let headHolds: Bool
        let lostFrom: UInt64
        let lostTo: UInt64
    }

    func validate() throws {
        guard let head else { return }
        let parts = head.split(separator: ":")
        guard parts.count == 2, UInt64(parts[0]).map({ $0 > 0 }) == true, parts[1].count == 64 else {
            throw ValidationError("--head must be <rows>:<hash>, as an earlier run printed it")
        }
    }

    func run() async throws {
        let parts = head?.split(separator: ":").map(String.init) ?? []
        let check = try await admin.coordinator().auditCheck(row: parts.first.flatMap { UInt64($0) } ?? 0)
        let holds = parts.count < 2 || check.rowHash == parts[1]
        try admin.format.show(
            Shown(
                rows: check.rows, headHash: check.headHash, firstBroken: check.firstBroken, headHolds: holds,
                lostFrom: check.lostFrom,
                lostTo: check.lostTo),
            lines: [
                ("rows", String(check.rows)), ("head", "\(check.rows):\(check.headHash)"),
                ("chain", check.firstBroken == 0 ? "whole" : "row \(check.firstBroken) was changed, or one before it"),
                (
                    "before the rebuild",
                    check.lostTo == 0 ? "nothing is lost" : "rows \(check.lostFrom) to \(check.lostTo) are lost"
                ),
                ("earlier head", parts.isEmpty ? "not given" : holds ? "is in it" : "is NOT in it"),
            ])
        if check.firstBroken != 0 || !holds { throw Outcome.failed }
    }
}

struct AuditRow: Row {
    static let columns = ["number", "at", "actor", "action", "subject"]
    let number: UInt64
    let at, actor, action, subject, hash: String

    init(_ entry: Muster_V1_AuditEntry) {
        (number, at, actor) = (entry.number, entry.at, entry.actor)
        (action, subject, hash) = (entry.action, entry.subject, entry.hash)
    }

    var cells: [String] { [String(number), at, actor, action, subject] }
}
