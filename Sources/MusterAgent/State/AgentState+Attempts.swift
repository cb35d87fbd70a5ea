import GRDB
package import MusterModel
import Synchronization

/// How the newest try of each database went: kept in memory, written down only where there is news.
extension AgentState {
    /// Reads what an earlier life left: a snapshot's own row says that its try went well.
    static func attempts(_ db: GRDB.Database) throws -> [DatabaseID: Attempt] {
        var attempts: [DatabaseID: Attempt] = [:]
        let heads = try Row.fetchCursor(db, sql: "SELECT database, captured_at FROM head")
        while let row = try heads.next() {
            attempts[try row.identifier("database")] = Attempt(
                at: Timestamp(microseconds: row["captured_at"]), failuresInARow: 0, errorSummary: "", errorHint: "")
        }
        let rows = try Row.fetchCursor(db, sql: "SELECT * FROM attempt")
        while let row = try rows.next() {
            let (database, attempt) = (try row.identifier("database") as DatabaseID, Attempt(row: row))
            if let known = attempts[database], known.at > attempt.at { continue }
            attempts[database] = attempt
        }
        return attempts
    }

    package func attempt(of database: DatabaseID) throws -> Attempt? { attempts.withLock { $0[database] } }

    /// Written down where something went wrong or well again; of failures in a row the first, second, fourth, eighth:
    /// ten thousand databases on a disk that is away must not keep this one busy.
    package func record(_ attempt: Attempt, for database: DatabaseID) throws {
        let isWritten = attempts.withLock { attempts in
            let before = attempts.updateValue(attempt, forKey: database)
            guard attempt.failuresInARow > 0 else { return before.map { $0.failuresInARow > 0 } ?? false }
            return attempt.failuresInARow.nonzeroBitCount == 1 || attempt.errorSummary != before?.errorSummary
        }
        guard isWritten else { return }
        try queue.write { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?)",
                arguments: [
                    database.blob, attempt.at.microseconds, attempt.failuresInARow, attempt.errorSummary,
                    attempt.errorHint,
                ])
        }
    }
}
