import ArgumentParser
import MusterAPI

struct RetentionPreview: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview", abstract: "Say for every snapshot whether it is kept, and by which rule.",
        discussion: """
            Without rules it shows what the policies that are set would do now. With rules it shows what those would
            do in their place: as the policy of the fleet, of --node, of --database or of --label. Nothing is changed.
            """)

    @OptionGroup var choice: DatabaseChoice

    @Option(help: "Take the rules as the policy of this label, key=value.")
    var label: Label?

    @OptionGroup var policy: PolicyOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        try choice.check()
        if policy.isGiven { try policy.check() }
        if label != nil, !policy.isGiven { throw ValidationError("--label wants rules, such as --keep-daily 7") }
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        var rows: [DecisionRow] = []
        var expiring: UInt64 = 0
        for database in try await choice.databases(coordinator) {
            var request = Muster_V1_RetentionPreviewRequest()
            (request.databaseID, request.limit) = (database.id, 10_000)
            if policy.isGiven {
                request.candidate = Muster_V1_RetentionTerms(policy.terms)
                request.candidateScope = candidateScope(database)
            }
            expiring += try await addRows(of: database, request, to: &rows, coordinator)
        }
        try admin.format.show(rows)
        Console.note("\(UInt64(rows.count) - expiring) kept, \(expiring) to give up")
    }

    /// - Returns: how many are given up.
    private func addRows(
        of database: Muster_V1_Database, _ first: Muster_V1_RetentionPreviewRequest, to rows: inout [DecisionRow],
        _ coordinator: CoordinatorClient
    ) async throws -> UInt64 {
        var request = first
        while true {
            let page = try await coordinator.previewRetention(request)
            rows += page.decisions.map { DecisionRow($0, database) }
            guard !page.next.isEmpty else { return page.expiring }
            (request.after, request.asOf) = (page.next, page.asOf)
        }
    }

    private func candidateScope(_ database: Muster_V1_Database) -> Muster_V1_RetentionScope {
        var scope = Muster_V1_RetentionScope()
        if let label {
            scope.label = "\(label.key)=\(label.value)"
        } else if choice.database != nil {
            scope.database = database.id
        } else if let node = choice.node {
            scope.node = node
        } else {
            scope.fleet = true
        }
        return scope
    }
}

private struct DecisionRow: Row {
    static let columns = ["node", "database", "id", "received", "decision", "reasons"]
    let id, node, database, receivedAt, decision: String
    let reasons: [String]

    init(_ message: Muster_V1_RetentionDecision, _ owner: Muster_V1_Database) {
        (node, database) = (owner.node, owner.name)
        (id, receivedAt, reasons) = (message.snapshotID, message.receivedAt, message.reasons)
        decision = message.kept ? "keep" : "expire"
    }

    var cells: [String] {
        [node, database, String(id.prefix(12)), receivedAt, decision, reasons.joined(separator: "; ")]
    }
}
