import Foundation
package import MusterModel

/// `format.json`: what tells a place to be a store, and of which version.
struct FormatRecord: Codable {
    static let version = 1
    static let maximumBytes = 4096

    let version: Int
    let store: String
    let created: String

    init(_ id: StoreID, created: Timestamp) {
        (version, store, self.created) = (Self.version, "\(id)", "\(created)")
    }

    var bytes: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        do {
            return Array(try encoder.encode(self) + Data("\n".utf8))
        } catch {
            preconditionFailure("a record of three plain values was not encoded: \(error)")
        }
    }

    /// Reads the record of a store.
    ///
    /// - Parameter place: named in the error.
    /// - Returns: the store's id.
    static func read(in store: any Store, at place: String) async throws(StoreError) -> StoreID {
        let bytes: [UInt8]
        do {
            bytes = try await store.read(.format, maximumBytes: maximumBytes)
        } catch .notFound {
            throw .notAStore(path: place, reason: "it has no \(ObjectName.format)")
        }
        let record: FormatRecord
        do {
            record = try JSONDecoder().decode(FormatRecord.self, from: Data(bytes))
        } catch {
            throw .notAStore(path: place, reason: "its \(ObjectName.format) cannot be read")
        }
        guard record.version == Self.version else {
            throw .notAStore(path: place, reason: "it has version \(record.version), and this program reads version 1")
        }
        guard let id = StoreID(record.store) else {
            throw .notAStore(path: place, reason: "its \(ObjectName.format) names no store")
        }
        return id
    }
}

extension Store {
    /// Which store this is, as its `format.json` says.
    ///
    /// - Parameter place: named in the error.
    package func identity(at place: String) async throws(StoreError) -> StoreID {
        try await FormatRecord.read(in: self, at: place)
    }
}
