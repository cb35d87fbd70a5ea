import ArgumentParser
import Foundation

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json
}

/// One row of a list: its columns for people, its fields for programs.
protocol Row: Encodable {
    static var columns: [String] { get }
    var cells: [String] { get }
}

extension OutputFormat {
    /// Prints a list: a table, or one JSON array.
    func show<R: Row>(_ rows: [R]) throws {
        switch self {
        case .json: Console.result(try json(rows))
        case .table: Console.result(Table.text(columns: R.columns, rows: rows.map(\.cells)))
        }
    }

    /// Prints one thing: lines for people, or one JSON document.
    func show<Value: Encodable>(_ value: Value, lines: [(String, String)]) throws {
        switch self {
        case .json: Console.result(try json(value))
        case .table:
            let width = lines.map(\.0.count).max() ?? 0
            let text = lines.map { $0.0.padding(toLength: width + 2, withPad: " ", startingAt: 0) + $0.1 }
            Console.result(text.joined(separator: "\n"))
        }
    }

    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
