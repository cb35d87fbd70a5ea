import ArgumentParser
import MusterAPI
import MusterModel

struct RetentionPreview: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview", abstract: "Say for every snapshot whether it is kept, and by which rule.",
        discussion: """
            Without rules it shows what the policies that are set would do now. With rules it shows what those would
            do in their place: as the policy of the fleet, of --node, of --database or of --label. Nothing is changed.

            A snapshot that was given up before and can still be restored is listed as marked, until its grace is over.
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
        var (expiring, markedCount): (UInt64, Int) = (0, 0)
        for database in try await choice.databases(coordinator) {
            var request = Muster_V1_RetentionPreviewRequest()
            (request.databaseID, request.limit) = (database.id, 10_000)
            if policy.isGiven {
                request.candidate = Muster_V1_RetentionTerms(policy.terms)
                request.candidateScope = candidateScope(database)
            }
            var decided: [DecisionRow] = []
            expiring += try await addRows(of: database, request, to: &decided, coordinator)
            let marked = try await marked(of: database, coordinator)
            markedCount += marked.count
            rows += (decided + marked).newestFirst()
        }
        try admin.format.show(rows)
        Console.note("\(rows.count - markedCount - Int(expiring)) kept, \(expiring) to give up, \(markedCount) marked")
    }

    /// What was given up already.
    private func marked(
        of database: Muster_V1_Database, _ coordinator: CoordinatorClient
    ) async throws -> [DecisionRow] {
        var filter = SnapshotFilter()
        (filter.database, filter.isExpired, filter.limit) = (database.id, true, 1000)
        var rows: [DecisionRow] = []
        repeat {
            let page = try await coordinator.snapshots(filter)
            rows += page.snapshots.map { DecisionRow(marked: $0, database) }
            filter.after = page.next
        } while !filter.after.isEmpty
        return rows
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
    /// Of one that is marked: until then it can be brought back.
    @Known var graceUntil: String?

    init(_ message: Muster_V1_RetentionDecision, _ owner: Muster_V1_Database) {
        (node, database) = (owner.node, owner.name)
        (id, receivedAt, reasons) = (message.snapshotID, message.receivedAt, message.reasons)
        decision = message.kept ? "keep" : "expire"
        _graceUntil = Known(wrappedValue: nil)
    }

    init(marked snapshot: Muster_V1_Snapshot, _ owner: Muster_V1_Database) {
        (node, database) = (owner.node, owner.name)
        (id, receivedAt, decision) = (snapshot.id, snapshot.receivedAt, "marked")
        reasons = [
            "given up at \(snapshot.expiredAt); 'muster retention undo \(snapshot.id)' brings it back until "
                + snapshot.graceUntil
        ]
        _graceUntil = Known(wrappedValue: known(snapshot.graceUntil))
    }

    var cells: [String] {
        [node, database, String(id.prefix(12)), receivedAt, decision, reasons.joined(separator: "; ")]
    }
}

extension [DecisionRow] {
    /// By their times and not by the texts of these.
    fileprivate func newestFirst() -> [DecisionRow] {
        map { (row: $0, received: Timestamp($0.receivedAt) ?? Timestamp(microseconds: .min)) }
            .sorted { $0.received > $1.received }.map(\.row)
    }
}
