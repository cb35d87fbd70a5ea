import GRDB

/// Statements that are compiled once on a connection: a commit runs dozens of them.
extension GRDB.Database {
    func run(_ sql: String, _ arguments: StatementArguments = []) throws {
        try cachedStatement(sql: sql).execute(arguments: arguments)
    }

    func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(cachedStatement(sql: sql), arguments: arguments)
    }

    func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row] {
        try Row.fetchAll(cachedStatement(sql: sql), arguments: arguments)
    }

    func value<Value: DatabaseValueConvertible>(_ sql: String, _ arguments: StatementArguments) throws -> Value? {
        try Value.fetchOne(cachedStatement(sql: sql), arguments: arguments)
    }
}

/// A row of a long list: its columns are found by their names once for the statement, not once for each row.
struct ListedRow: NamedColumns {
    private let row: Row
    private let positions: [String: Int]

    fileprivate init(_ row: Row, _ positions: [String: Int]) { (self.row, self.positions) = (row, positions) }

    subscript<Value: DatabaseValueConvertible & StatementColumnConvertible>(_ name: String) -> Value { column(name) }

    func column<Value: DatabaseValueConvertible & StatementColumnConvertible>(_ name: String) -> Value {
        row[positions[name] ?? -1]
    }
}

extension GRDB.Database {
    /// What `decode` makes of each row, which it must not keep.
    func list<Value>(
        _ sql: String, _ arguments: StatementArguments, _ decode: (ListedRow) throws -> Value
    ) throws -> [Value] {
        let statement = try cachedStatement(sql: sql)
        let names = statement.columnNames
        let positions = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
        let rows = try Row.fetchCursor(statement, arguments: arguments)
        var values: [Value] = []
        while let row = try rows.next() { values.append(try decode(ListedRow(row, positions))) }
        return values
    }
}
