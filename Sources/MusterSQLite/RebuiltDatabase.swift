import CSQLite
import MusterModel

/// A database that was rebuilt from a snapshot, and may be hostile: asked with all of SQLite's defences on.
///
/// It is meant for a process that can do nothing else: what SQLite itself may be made to do, that process does. The
/// connection comes from `DatabaseImage`: read only, defensive, without trust in the schema, no mapped memory, no other
/// file. Here come a limit on memory and time, no attached database, and for the owner's assertions an authorizer
/// that lets them read and nothing else.
package struct RebuiltDatabase: ~Copyable {
    private static let mostViolations: Int64 = 100_000
    /// SQLite's own limit (sqlite.org/limits.html).
    private static let mostLengthBytes: Int64 = 1_000_000_000

    private let image: DatabaseImage
    private let elapsed: () -> Duration
    private let began: Duration

    /// - Parameters:
    ///   - descriptor: of the file, open for reading; it is closed with this value.
    ///   - elapsed: time since some fixed moment.
    package init(descriptor: Int32, elapsed: @escaping () -> Duration) throws(CaptureError) {
        self.init(try DatabaseImage(descriptor: descriptor), elapsed)
    }

    package init(path: String, elapsed: @escaping () -> Duration) throws(CaptureError) {
        self.init(try DatabaseImage(path: path), elapsed)
    }

    private init(_ image: consuming DatabaseImage, _ elapsed: @escaping () -> Duration) {
        self.image = image
        (self.elapsed, began) = (elapsed, elapsed())
    }

    /// Bounds the memory that SQLite takes in this whole process; only for one that does nothing else.
    package static func limitHeap(bytes: Int64) { sqlite3_hard_heap_limit64(bytes) }

    /// Asks everything; what cannot be asked is said in the answer.
    package borrowing func answers(to questions: RebuiltQuestions) -> RebuiltAnswers {
        var answers = RebuiltAnswers()
        do {
            unsafe sqlite3_limit(image.connection.pointer, SQLITE_LIMIT_ATTACHED, 0)
            unsafe sqlite3_limit(image.connection.pointer, SQLITE_LIMIT_TRIGGER_DEPTH, 10)
            // What is longer would have no room.
            let longest = min(Self.mostLengthBytes, questions.heapBytes / 2)
            unsafe sqlite3_limit(image.connection.pointer, SQLITE_LIMIT_LENGTH, Int32(clamping: longest))
            let deadline = began + .seconds(questions.seconds)
            answers.problems = try image.integrityCheck { elapsed() > deadline }
            // A database that is not sound would answer anything.
            guard questions.isDrill, answers.problems.isEmpty else { return answers }
            try checkForeignKeys(&answers, until: deadline)
            try countRows(&answers, until: deadline)
            try ask(questions, &answers, until: deadline)
        } catch {
            answers.failure = RebuiltTrouble(error, limit: .tooLong)
            answers.details.append(error.reason)
        }
        return answers
    }

    private borrowing func checkForeignKeys(
        _ answers: inout RebuiltAnswers, until deadline: Duration
    ) throws(SQLiteError) {
        var violations: Int64 = 0
        do {
            try image.connection.interruptible(every: 10_000, when: { elapsed() > deadline }) {
                () throws(SQLiteError) in
                try image.connection.forEachRow("PRAGMA foreign_key_check", []) { _ in
                    violations += 1
                    return violations < Self.mostViolations
                }
            }
        } catch {
            guard error.isPlainError else { throw error }
            // A key that names no key of its parent: SQLite cannot even look for violations.
            violations += 1
            answers.details.append("foreign_key_check: \(error.reason)")
        }
        answers.foreignKeyViolations = violations
    }

    private borrowing func countRows(
        _ answers: inout RebuiltAnswers, until deadline: Duration
    ) throws(SQLiteError) {
        let tables = try CountedTables(of: image.connection, atMost: RebuiltAnswers.mostTables)
        answers.tablesPresent = tables.presentCount
        for name in tables.names {
            let quoted = "\"" + name.replacing("\"", with: "\"\"") + "\""
            answers.rows[name] = try image.connection.interruptible(every: 10_000, when: { elapsed() > deadline }) {
                () throws(SQLiteError) in
                try image.connection.integer("SELECT count(*) FROM \(quoted)")
            }
        }
    }

    private borrowing func ask(
        _ questions: RebuiltQuestions, _ answers: inout RebuiltAnswers, until deadline: Duration
    ) throws(SQLiteError) {
        guard !questions.assertions.isEmpty else { return }
        try image.connection.allowReadingOnly()
        for assertion in questions.assertions {
            let limit = min(deadline, elapsed() + .seconds(questions.secondsForAssertion))
            answers.assertions.append(ask(assertion, until: limit, &answers.details))
        }
    }

    private borrowing func ask(
        _ assertion: OwnerAssertion, until limit: Duration, _ details: inout [String]
    ) -> RebuiltAnswers.Answer {
        var first: SQLiteValue?
        do {
            try image.connection.interruptible(every: 1000, when: { elapsed() > limit }) { () throws(SQLiteError) in
                try image.connection.forEachRow(assertion.sql, []) { row in
                    first = row.first ?? .null
                    return false
                }
            }
        } catch {
            details.append("assertion '\(assertion.name)': \(error.reason)")
            return .none(RebuiltTrouble(error, limit: .assertionTooLong))
        }
        guard let first else { return .none(.noRow) }
        guard assertion.wantsNumber else { return .row }
        return switch first {
        case .integer(let number): .number(Double(number))
        case .real(let number) where number.isFinite: .number(number)
        default: .none(.noNumber)
        }
    }
}

extension SQLiteConnection {
    /// From now on statements may read, and call functions that touch nothing else.
    borrowing func allowReadingOnly() throws(SQLiteError) {
        try check(
            unsafe sqlite3_set_authorizer(
                pointer,
                { _, action, first, second, _, _ in
                    switch action {
                    case SQLITE_SELECT, SQLITE_READ, SQLITE_RECURSIVE: return SQLITE_OK
                    case SQLITE_FUNCTION:
                        guard let second = unsafe second else { return SQLITE_DENY }
                        let name = unsafe String(cString: second).lowercased()
                        return ["load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"].contains(name)
                            ? SQLITE_DENY : SQLITE_OK
                    case SQLITE_PRAGMA:
                        // The full-text index asks whether its file has changed.
                        guard let first = unsafe first else { return SQLITE_DENY }
                        return unsafe String(cString: first).lowercased() == "data_version" ? SQLITE_OK : SQLITE_DENY
                    default: return SQLITE_DENY
                    }
                }, nil))
    }
}
