import Foundation
import GRDB
import MusterModel

extension Identifier {
    var blob: Data { Data(bytes) }
}

extension Digest {
    var blob: Data { Data(bytes) }
}

extension Row {
    func identifier<Kind>(_ column: String) throws(CatalogError) -> Identifier<Kind> {
        guard let bytes: Data = self[column], let value = Identifier<Kind>(bytes: bytes) else {
            throw .damaged(column: column)
        }
        return value
    }

    func optionalIdentifier<Kind>(_ column: String) throws(CatalogError) -> Identifier<Kind>? {
        let bytes: Data? = self[column]
        return bytes == nil ? nil : try identifier(column)
    }

    func digest<Kind>(_ column: String) throws(CatalogError) -> Digest<Kind> {
        guard let bytes: Data = self[column], let value = Digest<Kind>(bytes: bytes) else {
            throw .damaged(column: column)
        }
        return value
    }

    func time(_ column: String) -> Timestamp { Timestamp(microseconds: self[column]) }

    func optionalTime(_ column: String) -> Timestamp? {
        let microseconds: Int64? = self[column]
        return microseconds.map(Timestamp.init(microseconds:))
    }

    func word<Word: RawRepresentable>(_ column: String) throws(CatalogError) -> Word where Word.RawValue == String {
        guard let text: String = self[column], let value = Word(rawValue: text) else {
            throw .damaged(column: column)
        }
        return value
    }

    func byteArray(_ column: String) -> [UInt8] {
        let bytes: Data = self[column]
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
