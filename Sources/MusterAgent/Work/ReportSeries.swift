import MusterAPI
import MusterModel

/// The reports of one life of the agent: the first says everything, those that follow only what is new.
///
/// A report that was not answered may have arrived: the next one keeps its number and says all of it again, with what
/// is new since.
struct ReportSeries {
    private let life: String
    private let period: Duration
    private var number: UInt64 = 1
    /// What the coordinator knows of each database, as a hash; nil where it has to be told everything.
    private var known: [DatabaseID: Int]?
    private var sent: [DatabaseID: Int] = [:]

    /// - Parameter life: not used before by any agent of this node.
    init(life: String, period: Duration) { (self.life, self.period) = (life, period) }

    mutating func next(_ rows: [DatabaseRow]) -> Muster_V1_ReportRequest {
        var request = Muster_V1_ReportRequest()
        (request.life, request.reportNumber) = (life, number)
        request.periodMilliseconds = UInt64(clamping: period.microseconds / 1000)
        request.isDelta = known != nil
        sent = [:]
        sent.reserveCapacity(rows.count)
        for row in rows {
            let hash = row.hashOfNews
            sent[row.id] = hash
            if known?[row.id] != hash { request.databases.append(row.message) }
        }
        if let known { request.removed = known.keys.filter { sent[$0] == nil }.sorted().map(\.description) }
        return request
    }

    /// The newest report was answered.
    mutating func delivered(wantsFull: Bool) {
        known = wantsFull ? nil : sent
        number += 1
    }
}

/// What a report says of one database.
struct DatabaseRow {
    let database: ProtectedDatabase
    let attempt: Attempt?
    let coverage: Coverage
    let isFollowed: Bool
    var mark = SourceMarks.Mark()

    var id: DatabaseID { database.id }

    /// Another one where there is anything to tell. That a try went as well as the one before is no news.
    var hashOfNews: Int {
        var hasher = Hasher()
        for text in [database.name, database.path, state, attempt?.errorSummary ?? ""] { hasher.combine(text) }
        hasher.combine(database.schedule.every)
        hasher.combine(database.schedule.jitter)
        hasher.combine(database.isPaused)
        hasher.combine(database.vanishedAt)
        hasher.combine(coverage.isCovered)
        hasher.combine(coverage.counter)
        hasher.combine(coverage.coveredCounter)
        hasher.combine(coverage.uncoveredSince)
        hasher.combine(isFollowed)
        hasher.combine(mark)
        hasher.combine(database.freshness)
        return hasher.finalize()
    }

    var message: Muster_V1_DatabaseReport {
        var report = Muster_V1_DatabaseReport()
        report.databaseID = database.id.description
        (report.name, report.path, report.state) = (database.name, database.path, state)
        report.schedule = "every \(database.schedule.every.text)"
        let interval = database.schedule.every + database.schedule.jitter
        report.intervalMilliseconds = UInt64(clamping: interval.microseconds / 1000)
        report.capture = capture
        report.changedSinceReceipt = !coverage.isCovered
        (report.writerVersion, report.journalMode) = (mark.writerVersion, mark.journalMode)
        report.schemaMark = .init(mark.schema)
        report.freshnessMilliseconds = UInt64(clamping: (database.freshness?.microseconds ?? 0) / 1000)
        if database.isActive {
            (report.changeCounter, report.receiptChangeCounter) = (coverage.counter, coverage.coveredCounter)
            (report.errorSummary, report.errorHint) = (attempt?.errorSummary ?? "", attempt?.errorHint ?? "")
            report.attemptedAt = attempt?.at.description ?? ""
            report.unprotectedSince = coverage.uncoveredSince?.description ?? ""
        } else if let since = database.vanishedAt, !database.isPaused {
            let vanished = DatabaseVanished(path: database.path, since: since)
            (report.errorSummary, report.errorHint) = (vanished.summary, vanished.hint)
        }
        return report
    }

    private var state: String {
        if database.isPaused { return "waiting" }
        if database.vanishedAt != nil { return "failing" }
        return attempt.map { $0.failuresInARow > 0 ? "failing" : "ok" } ?? "waiting"
    }

    var watchedState: WatchedState {
        if database.isPaused { return .paused }
        if state == "failing" { return .failing }
        if isFollowed { return .followed }
        return state == "ok" ? .parked : .waiting
    }

    private var capture: String {
        if database.isPaused { return "paused" }
        if isFollowed { return "followed" }
        return coverage.coveredAt == nil ? "" : "parked"
    }
}
