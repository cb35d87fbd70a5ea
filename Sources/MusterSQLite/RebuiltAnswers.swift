import CSQLite
package import MusterModel

/// What is asked of a database that was rebuilt from a snapshot, and within which limits.
package struct RebuiltQuestions: Hashable, Sendable, Codable {
    /// Rows are counted, foreign keys checked and assertions asked; else only `integrity_check` runs.
    package var isDrill: Bool
    package var assertions: [OwnerAssertion] = []
    /// For everything.
    package var seconds = 3600.0
    package var secondsForAssertion = 30.0
    /// For SQLite's heap.
    package var heapBytes: Int64 = 256 << 20

    package init(isDrill: Bool) { self.isDrill = isDrill }
}

/// What it answered: numbers and codes, for whoever asked to judge.
///
/// A hostile database may have taken over the process that answers. So of its texts none leaves the node: table names,
/// `problems` and `details` stay there, names of assertions are not in here, and a `RebuiltTrouble` has no words.
package struct RebuiltAnswers: Hashable, Sendable, Codable {
    /// So many tables are counted at most.
    package static let mostTables = 1000

    /// To one assertion.
    package enum Answer: Hashable, Sendable, Codable {
        case row
        /// Of the first column of the first row.
        case number(Double)
        case none(RebuiltTrouble)
    }

    /// Of `integrity_check`; empty for a sound database.
    package var problems: [String] = []
    package var foreignKeyViolations: Int64 = 0
    /// In the order of the questions.
    package var assertions: [Answer] = []
    /// Of tables in the order of the bytes of their names, the first `mostTables`.
    package var rows: [String: Int64] = [:]
    /// Tables that could be counted; those beyond `rows` come after them in that order.
    package var tablesPresent: Int64 = 0
    /// Why not everything could be asked.
    package var failure: RebuiltTrouble?
    package var details: [String] = []

    package init() {}

    package init(failure: RebuiltTrouble) { self.failure = failure }
}

/// Why a rebuilt database does not answer, or not as its owner wants.
package enum RebuiltTrouble: Hashable, Sendable, Codable, CustomStringConvertible {
    case unopened
    case tooLong
    case assertionTooLong
    case tooMuchMemory
    case notOnlyReading
    /// With SQLite's extended code, as in the next one.
    case damaged(UInt16)
    case refused(UInt16)
    case noRow
    case noNumber
    case outOfBounds

    package var description: String {
        switch self {
        case .unopened: "it cannot be opened"
        case .tooLong: "it needs more than the time that it was given"
        case .assertionTooLong: "it needs more than the time of an assertion"
        case .tooMuchMemory: "it needs more memory than it may have"
        case .notOnlyReading: "it wants to do more than read"
        case .damaged(let code): "the database is damaged (SQLite code \(code))"
        case .refused(let code): "SQLite refuses it (code \(code))"
        case .noRow: "it gives no row"
        case .noNumber: "its first column is no number"
        case .outOfBounds: "its value is not within the bounds"
        }
    }

    /// - Parameter limit: what it is where the time is over.
    init(_ error: SQLiteError, limit: RebuiltTrouble) {
        let code = UInt16(truncatingIfNeeded: error.code)
        self =
            switch error.primaryCode {
            case SQLITE_INTERRUPT: limit
            case SQLITE_NOMEM, SQLITE_TOOBIG: .tooMuchMemory
            case SQLITE_AUTH: .notOnlyReading
            case SQLITE_CORRUPT, SQLITE_NOTADB: .damaged(code)
            default: .refused(code)
            }
    }
}
