import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// What a node says of itself and of its databases.
extension Coordinator {
    private static let maximumDatabases = 20_000
    private static let longestInterval: Int64 = 31 * 86_400_000
    private static let longestObjective: Int64 = 366 * 86_400_000
    private static let schemaMarkBytes = 16
    private static let periods: ClosedRange<Int64> = 1000...600_000
    private static let usualPeriod: Int64 = 30_000

    /// Takes a whole report or the change of one; where a part is missing it asks for all of it again.
    func report(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        let request: Muster_V1_ReportRequest = try await passBodies(
            node, byteCount: call.declaredLength ?? 0
        ) { try await call.message() }
        guard max(request.databases.count, request.removed.count) <= Self.maximumDatabases else {
            throw Refusal.tooLarge("the list of databases", limitBytes: Self.maximumDatabases)
        }
        guard request.life.utf8.count <= 128, !request.isDelta || !request.life.isEmpty else {
            throw Refusal.malformed("life must be a short text, and a delta needs one")
        }
        if !request.life.isEmpty {
            try await tellTwinsApart(
                TwinBook.Sight(
                    life: request.life, machine: request.machine, address: call.address, version: request.agentVersion),
                of: node, in: .reports, now: clock.now())
        }
        try await keep(grantKey: Array(request.grantKey), of: node)
        let wantsFull = try await reportLanes.pass(node) { try await take(request, from: node) }
        var answer = Muster_V1_ReportResponse()
        answer.clock = clock.now().description
        answer.wantsFull = wantsFull
        return try call.answer(answer)
    }

    /// - Returns: whether the node has to say all of it again.
    private func take(_ request: Muster_V1_ReportRequest, from node: NodeID) async throws -> Bool {
        let now = clock.now()
        guard let nodeClock = Timestamp(request.clock) else { throw Refusal.malformed("clock is no RFC 3339 time") }
        let place = reports.place(
            of: request.reportNumber, life: request.life, isDelta: request.isDelta, from: node)
        if place == .late { return false }
        var report = Catalog.Report(
            agentVersion: request.agentVersion.cut(64), clockOffset: nodeClock - now,
            databases: try request.databases.map { try Self.database($0, of: node) }, isWhole: !request.isDelta)
        report.freeBytes = request.freeBytes > 0 ? request.freeBytes : nil
        report.removed = try request.removed.map { text in
            guard let id = DatabaseID(text) else { throw Refusal.malformed("'removed' holds no id of a database") }
            return id
        }
        // What it says of single databases is true also where something before it is missing.
        try await record(report, from: node, now: now)
        guard place == .next else {
            reports.lose(node)
            return true
        }
        let period =
            request.periodMilliseconds == 0
            ? Self.usualPeriod : Int64(clamping: request.periodMilliseconds).clamped(to: Self.periods)
        reports.take(
            ReportBook.Standing(
                life: request.life, number: request.reportNumber, at: now, period: .milliseconds(period)),
            from: node)
        return false
    }

    /// A report that says nothing new is written down once in a while only: it must not cost a durable write.
    private func record(_ report: Catalog.Report, from node: NodeID, now: Timestamp) async throws {
        let isDue = await contacts.isDue(node, now: now)
        guard report.isWhole || !report.databases.isEmpty || !report.removed.isEmpty || isDue else { return }
        let foreign = try await catalog.record(report, from: node, now: now)
        guard foreign.isEmpty else {
            throw Refusal(
                .forbidden, "not_yours", "database \(foreign[0]) belongs to another node",
                hint: "Look for two agents that share a state directory.")
        }
    }

    /// A newer agent may say states that this coordinator does not know: they are shown as they are.
    private static func isWord(_ text: String) -> Bool {
        let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
        guard let first = text.utf8.first, letters.contains(first), text.utf8.count <= 32 else { return false }
        return text.utf8.allSatisfy { letters.contains($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
    }

    private static func database(
        _ report: Muster_V1_DatabaseReport, of node: NodeID
    ) throws -> Catalog.Database {
        guard let id = DatabaseID(report.databaseID), (1...255).contains(report.name.utf8.count),
            isWord(report.state), report.state != Catalog.removedState, report.capture.isEmpty || isWord(report.capture)
        else { throw Refusal.malformed("a database of the report has no valid id, name, state or capture") }
        var database = Catalog.Database(id: id, node: node, nodeName: "", name: report.name)
        database.path = report.path.cut(maximumTextBytes)
        database.schedule = report.schedule.cut(255)
        database.state = report.state
        database.errorSummary = report.errorSummary.cut(maximumTextBytes)
        database.errorHint = report.errorHint.cut(maximumTextBytes)
        database.attemptedAt = Timestamp(report.attemptedAt)
        database.hasChanged = report.changedSinceReceipt
        database.changeCounter = report.changeCounter
        database.receiptChangeCounter = report.receiptChangeCounter
        database.unprotectedSince = Timestamp(report.unprotectedSince)
        database.capture = report.capture
        database.intervalMilliseconds = Int64(clamping: report.intervalMilliseconds).clamped(to: 0...longestInterval)
        database.freshnessMilliseconds = Int64(clamping: report.freshnessMilliseconds).clamped(to: 0...longestObjective)
        (database.writerVersion, database.journalMode) = (report.writerVersion, report.journalMode.cut(32))
        guard [0, schemaMarkBytes].contains(report.schemaMark.count) else {
            throw Refusal.malformed("a schema mark has \(schemaMarkBytes) bytes")
        }
        database.schemaMark = [UInt8](report.schemaMark)
        return database
    }
}

extension Int64 {
    fileprivate func clamped(to range: ClosedRange<Int64>) -> Int64 {
        Swift.min(range.upperBound, Swift.max(range.lowerBound, self))
    }
}
