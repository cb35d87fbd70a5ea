import MusterEngine
import MusterModel
import MusterSQLite

/// What the sources themselves say, for each report.
///
/// Followers are asked, whose proof is the WAL's own index. Of the others so many files are looked at for one report,
/// those first that were not for the longest time: ten thousand idle databases must not cost ten thousand looks.
struct SourceLooks {
    /// And of very many a fifth, so that each is seen again well before what was seen no longer counts.
    private static let filesPerReport = 1000
    private static let filesAtOnce = 50

    private struct Entry {
        /// The try after which the head was read.
        var attemptAt: Timestamp?
        var receiptCapturedAt: Timestamp?
        /// Of the file's fingerprint at the newest receipt; nil where that proves nothing.
        var receiptCounter: UInt64?
        var coverage = Coverage()
        /// At the report before this one.
        var wasBusy = false
    }

    private let state: AgentState
    private let sessions: SourceSessions
    private let board: DatabaseBoard
    private let files: BlockingPool
    private let period: Duration
    private let marks: SourceMarks?
    private var entries: [DatabaseID: Entry] = [:]

    init(
        state: AgentState, sessions: SourceSessions, board: DatabaseBoard, files: BlockingPool, period: Duration,
        marks: SourceMarks? = nil
    ) {
        (self.state, self.sessions, self.board) = (state, sessions, board)
        (self.files, self.period, self.marks) = (files, period, marks)
    }

    mutating func rows(at now: Timestamp) async throws -> [DatabaseRow] {
        let databases = board.databases
        forgetAllBut(databases)
        var (attempts, files): ([DatabaseID: Attempt], [ProtectedDatabase]) = ([:], [])
        for database in databases {
            let attempt = try state.attempt(of: database.id)
            attempts[database.id] = attempt
            var entry = try entry(of: database.id, after: attempt)
            // Of what is paused or gone nothing proves that it is as it was.
            let sight = database.isActive ? sight(of: database.id, &entry) : .changed(counter: 0)
            if let sight {
                entry.coverage.take(sight, at: moment(now, entry, attempt))
            } else {
                files.append(database)
            }
            entries[database.id] = entry
        }
        try await look(at: files, attempts, now)
        return databases.map { database in
            DatabaseRow(
                database: database, attempt: attempts[database.id],
                coverage: entries[database.id]?.coverage ?? Coverage(),
                isFollowed: sessions.existing(of: database.id)?.isFollowing == true,
                mark: marks?[database.id] ?? SourceMarks.Mark())
        }
    }

    private mutating func forgetAllBut(_ databases: [ProtectedDatabase]) {
        guard entries.count > databases.count else { return }
        let current = Set(databases.map(\.id))
        entries = entries.filter { current.contains($0.key) }
    }

    /// The head moves with a try, so it is read once after each.
    private func entry(of id: DatabaseID, after attempt: Attempt?) throws -> Entry {
        var entry = entries[id] ?? Entry()
        guard entries[id] == nil || entry.attemptAt != attempt?.at else { return entry }
        let head = try state.head(of: id)
        entry.attemptAt = attempt?.at
        entry.receiptCapturedAt = head?.capturedAt
        entry.receiptCounter = head.flatMap { $0.fingerprint.isEmpty ? nil : Self.counter(of: $0.fingerprint) }
        return entry
    }

    private func moment(_ now: Timestamp, _ entry: Entry, _ attempt: Attempt?) -> Coverage.Moment {
        let isWell = attempt?.failuresInARow == 0 && entry.receiptCapturedAt != nil
        return Coverage.Moment(
            now: now, receiptCapturedAt: entry.receiptCapturedAt, triedWellAt: isWell ? attempt?.at : nil,
            period: period)
    }

    /// - Returns: nil where the file has to be looked at.
    private func sight(of id: DatabaseID, _ entry: inout Entry) -> Coverage.Sight? {
        let isBusy = board.isBusy(id)
        defer { entry.wasBusy = isBusy }
        // A try that is under way for so long has something to do, or hangs.
        if isBusy { return entry.wasBusy ? .changed(counter: 0) : .unseen }
        guard let session = sessions.existing(of: id), let status = session.status else {
            return entry.receiptCapturedAt == nil ? .changed(counter: 0) : nil
        }
        guard let commits = status.sourceCommits else { return .changed(counter: 0) }
        let counter = 1 << 32 | UInt64(commits)
        return session.isUnchanged ? .same(counter: counter) : .changed(counter: counter)
    }

    // MARK: - Files

    private mutating func look(
        at databases: [ProtectedDatabase], _ attempts: [DatabaseID: Attempt], _ now: Timestamp
    ) async throws {
        let longestAgo = databases.map { (at: entries[$0.id]?.coverage.coveredAt?.microseconds, database: $0) }
            .sorted { ($0.at ?? .min) < ($1.at ?? .min) }.map(\.database)
        let most = max(Self.filesPerReport, databases.count / 5)
        var sights: [DatabaseID: Coverage.Sight] = [:]
        for start in stride(from: 0, to: min(longestAgo.count, most), by: Self.filesAtOnce) {
            let part = Array(longestAgo[start...].prefix(Self.filesAtOnce))
            let board = board
            let fingerprints = try await files.run {
                // A capture that began meanwhile must not find our lease in its way.
                part.map { database in
                    board.isBusy(database.id)
                        ? nil : Result { try SourceIdentity.fingerprint(of: database.path) }
                }
            }
            for (database, fingerprint) in zip(part, fingerprints) {
                sights[database.id] = fingerprint.map { Self.sight($0, entries[database.id]?.receiptCounter) }
            }
        }
        for database in databases {
            guard var entry = entries[database.id] else { continue }
            entry.coverage.take(sights[database.id] ?? .unseen, at: moment(now, entry, attempts[database.id]))
            entries[database.id] = entry
        }
    }

    private static func sight(_ fingerprint: Result<String, any Error>, _ receiptCounter: UInt64?) -> Coverage.Sight {
        guard case .success(let text) = fingerprint else { return .changed(counter: 0) }
        let counter = counter(of: text)
        return counter == receiptCounter ? .same(counter: counter) : .changed(counter: counter)
    }

    /// Another number for another fingerprint, never 0; good in this life of the agent.
    private static func counter(of fingerprint: String) -> UInt64 {
        UInt64(truncatingIfNeeded: fingerprint.hashValue) | 1
    }
}
