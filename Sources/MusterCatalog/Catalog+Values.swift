import Foundation
import GRDB
import MusterModel

extension Identifier {
    var blob: Data { Data(bytes) }
}

extension Digest {
    var blob: Data { Data(bytes) }
}

/// Columns by name, as the values that they stand for.
protocol NamedColumns {
    func column<Value: DatabaseValueConvertible & StatementColumnConvertible>(_ name: String) -> Value
}

extension Row: NamedColumns {
    func column<Value: DatabaseValueConvertible & StatementColumnConvertible>(_ name: String) -> Value { self[name] }
}

extension NamedColumns {
    func identifier<Kind>(_ column: String) throws(CatalogError) -> Identifier<Kind> {
        guard let bytes: Data = self.column(column), let value = Identifier<Kind>(bytes: [UInt8](bytes)) else {
            throw .damaged(column: column)
        }
        return value
    }

    func optionalIdentifier<Kind>(_ column: String) throws(CatalogError) -> Identifier<Kind>? {
        guard let bytes: Data = self.column(column) else { return nil }
        guard let value = Identifier<Kind>(bytes: [UInt8](bytes)) else { throw .damaged(column: column) }
        return value
    }

    func digest<Kind>(_ column: String) throws(CatalogError) -> Digest<Kind> {
        guard let bytes: Data = self.column(column), let value = Digest<Kind>(bytes: [UInt8](bytes)) else {
            throw .damaged(column: column)
        }
        return value
    }

    func time(_ column: String) -> Timestamp { Timestamp(microseconds: self.column(column)) }

    func optionalTime(_ column: String) -> Timestamp? {
        let microseconds: Int64? = self.column(column)
        return microseconds.map(Timestamp.init(microseconds:))
    }

    func span(_ column: String) -> Duration? {
        let microseconds: Int64? = self.column(column)
        return microseconds.map { .microseconds($0) }
    }

    func byteCount(_ column: String) -> UInt64? {
        let count: Int64? = self.column(column)
        return count.map { UInt64(bitPattern: $0) }
    }

    func word<Word: RawRepresentable>(_ column: String) throws(CatalogError) -> Word where Word.RawValue == String {
        guard let text: String = self.column(column), let value = Word(rawValue: text) else {
            throw .damaged(column: column)
        }
        return value
    }

    func byteArray(_ column: String) -> [UInt8] {
        let bytes: Data = self.column(column)
        return [UInt8](bytes)
    }
}

/// Labels as one JSON text: they are small, and read and written whole.
enum LabelText {
    static func encode(_ labels: [String: String]) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(labels), as: UTF8.self)
    }

    static func decode(_ text: String) throws -> [String: String] {
        try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
    }
}
