import CSQLite

/// One column of one row.
package enum SQLiteValue: Equatable, Sendable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    package var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
    package var text: String? { if case .text(let value) = self { value } else { nil } }
}

extension SQLiteConnection {
    /// All rows of one statement; meant for results that are known to be small.
    package borrowing func rows(
        _ sql: String, _ parameters: [SQLiteValue] = []
    ) throws(SQLiteError) -> [[SQLiteValue]] {
        var rows: [[SQLiteValue]] = []
        try forEachRow(sql, parameters) { row in
            rows.append(row)
            return true
        }
        return rows
    }

    /// The first column of the first row, or nil if it is no integer.
    package borrowing func integer(_ sql: String) throws(SQLiteError) -> Int64? {
        try firstValue(sql).integer
    }

    /// The first column of the first row, or nil if it is no text.
    package borrowing func text(_ sql: String) throws(SQLiteError) -> String? {
        try firstValue(sql).text
    }

    private borrowing func firstValue(_ sql: String) throws(SQLiteError) -> SQLiteValue {
        var first = SQLiteValue.null
        try forEachRow(sql, []) { row in
            first = row.first ?? .null
            return false
        }
        return first
    }

    /// - Parameter body: returns false to see no more rows.
    borrowing func forEachRow(
        _ sql: String, _ parameters: [SQLiteValue], _ body: ([SQLiteValue]) -> Bool
    ) throws(SQLiteError) {
        var prepared: OpaquePointer?
        try check(unsafe sqlite3_prepare_v2(pointer, sql, -1, &prepared, nil))
        guard let statement = unsafe prepared else { return }
        defer { unsafe sqlite3_finalize(statement) }
        for (index, parameter) in parameters.enumerated() {
            try check(unsafe Self.bind(parameter, to: statement, at: Int32(index + 1)))
        }
        while true {
            let code = unsafe sqlite3_step(statement)
            if code == SQLITE_DONE { return }
            guard code == SQLITE_ROW else { throw lastError(code) }
            let columns = unsafe sqlite3_column_count(statement)
            guard body((0..<columns).map { unsafe Self.value(statement, $0) }) else { return }
        }
    }

    /// The same, until `shouldStop` is true: then it throws an error whose `isInterrupted` is true.
    borrowing func forEachRow(
        _ sql: String, until shouldStop: () -> Bool, _ body: ([SQLiteValue]) -> Bool
    ) throws(SQLiteError) {
        try interruptible(every: 10_000, when: shouldStop) { () throws(SQLiteError) in
            try forEachRow(sql, [], body)
        }
    }

    private static func bind(_ value: SQLiteValue, to statement: OpaquePointer, at index: Int32) -> Int32 {
        switch value {
        case .null: unsafe sqlite3_bind_null(statement, index)
        case .integer(let number): unsafe sqlite3_bind_int64(statement, index, number)
        case .real(let number): unsafe sqlite3_bind_double(statement, index, number)
        case .text(let text): unsafe sqlite3_bind_text(statement, index, text, -1, csqlite_transient())
        case .blob(let bytes):
            unsafe sqlite3_bind_blob64(statement, index, bytes, UInt64(bytes.count), csqlite_transient())
        }
    }

    private static func value(_ statement: OpaquePointer, _ column: Int32) -> SQLiteValue {
        switch unsafe sqlite3_column_type(statement, column) {
        case SQLITE_INTEGER: return .integer(unsafe sqlite3_column_int64(statement, column))
        case SQLITE_FLOAT: return .real(unsafe sqlite3_column_double(statement, column))
        case SQLITE_TEXT:
            let bytes = unsafe UnsafeRawBufferPointer(
                start: sqlite3_column_text(statement, column), count: Int(sqlite3_column_bytes(statement, column)))
            return .text(unsafe String(decoding: bytes, as: UTF8.self))
        case SQLITE_BLOB:
            // The pointer first, then the length: the order that sqlite3_column_blob asks for.
            let start = unsafe sqlite3_column_blob(statement, column)
            let count = Int(unsafe sqlite3_column_bytes(statement, column))
            return .blob(unsafe Array(UnsafeRawBufferPointer(start: start, count: count)))
        default: return .null
        }
    }

    /// Runs `body` while SQLite asks `shouldStop` after every `operations` steps of its virtual machine.
    ///
    /// A call that was stopped throws an error whose `isInterrupted` is true.
    borrowing func interruptible<Success>(
        every operations: Int32, when shouldStop: () -> Bool, _ body: () throws(SQLiteError) -> Success
    ) throws(SQLiteError) -> Success {
        try withoutActuallyEscaping(shouldStop) { (shouldStop) throws(SQLiteError) -> Success in
            let question = ProgressQuestion(shouldStop)
            unsafe sqlite3_progress_handler(
                pointer, operations,
                { context in
                    guard let context = unsafe context else { return 1 }
                    return unsafe Unmanaged<ProgressQuestion>.fromOpaque(context).takeUnretainedValue().ask() ? 1 : 0
                },
                Unmanaged.passUnretained(question).toOpaque())
            defer {
                unsafe sqlite3_progress_handler(pointer, 0, nil, nil)
                withExtendedLifetime(question) {}
            }
            return try body()
        }
    }
}

private final class ProgressQuestion {
    let ask: () -> Bool
    init(_ ask: @escaping () -> Bool) { self.ask = ask }
}
