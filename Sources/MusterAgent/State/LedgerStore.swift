import Foundation
import GRDB
package import MusterEngine
package import MusterModel

/// One database's ledger in `state.db`.
///
/// A snapshot changes it in the transaction that settles its receipt, and
/// nowhere else; a ledger that is built anew is written beside the current one
/// and takes its place in that transaction. What a crash leaves half built is
/// dropped at the next start.
package struct LedgerStore: PageLedger {
    let queue: DatabaseQueue
    /// Of the ledger in the file.
    let number: Int64

    package func extents(_ numbers: [Int]) throws -> [ExtentRecord] {
        try queue.read { db in
            let statement = try db.cachedStatement(
                sql: "SELECT extent, changed, pack, body FROM ledger_extent WHERE ledger = ? AND extent = ?")
            return try numbers.compactMap { extent in
                try Row.fetchOne(statement, arguments: [number, extent]).map(ExtentRecord.init(row:))
            }
        }
    }

    package func extents(in range: Range<Int>) throws -> [ExtentRecord] {
        try records("extent >= ? AND extent < ?", [range.lowerBound, range.upperBound])
    }

    package func extents(inPack pack: UInt32) throws -> [ExtentRecord] { try records("pack = ?", [Int64(pack)]) }

    package func extents(changedAfter sequence: UInt64, limit: Int) throws -> [ExtentRecord]? {
        let records = try records("changed > ?", [Int64(sequence)], limit: limit + 1)
        return records.count > limit ? nil : records
    }

    private func records(
        _ condition: String, _ values: StatementArguments, limit: Int = .max
    ) throws -> [ExtentRecord] {
        try queue.read { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT extent, changed, pack, body FROM ledger_extent WHERE ledger = ? AND \(condition)
                    ORDER BY extent LIMIT ?
                    """)
            return try Row.fetchAll(statement, arguments: [number] + values + [limit])
                .map(ExtentRecord.init(row:))
        }
    }

    package func extentHashes(ofGroup group: Int) throws -> [ExtentHash] {
        let blob = try queue.read { db in
            try Data.fetchOne(
                db, sql: "SELECT hashes FROM ledger_group WHERE ledger = ? AND number = ?", arguments: [number, group])
        }
        return try Hashes.decode(blob ?? Data(), "hashes")
    }

    package func append(_ records: [ExtentRecord]) throws {
        try queue.write { db in try Self.write(records, to: number, in: db) }
    }

    static func write(_ records: [ExtentRecord], to ledger: Int64, in db: GRDB.Database) throws {
        let statement = try db.cachedStatement(
            sql: "INSERT OR REPLACE INTO ledger_extent(ledger, extent, changed, pack, body) VALUES (?, ?, ?, ?, ?)")
        for record in records {
            try statement.execute(
                arguments: [
                    ledger, record.extent, Int64(record.changed), Int64(record.pack), Data(record.body),
                ])
        }
    }
}

extension ExtentRecord {
    init(row: Row) throws {
        let pack: Int64 = row["pack"]
        let record = ExtentRecord(
            extent: row["extent"], changed: UInt64(clamping: row["changed"] as Int64), pack: UInt32(clamping: pack),
            body: [UInt8](row["body"] as Data))
        guard let record else { throw LedgerError.damaged("an extent's record does not parse") }
        self = record
    }
}

/// Digests back to back in one column.
enum Hashes {
    static func encode(_ hashes: [Digest<some Any>]) -> Data { Data(hashes.flatMap(\.bytes)) }

    static func decode<Kind>(_ blob: Data, _ column: String) throws -> [Digest<Kind>] {
        let size = Digest<Kind>.byteCount
        guard blob.count.isMultiple(of: size) else { throw LedgerError.damaged("column '\(column)' does not parse") }
        let bytes = [UInt8](blob)
        return stride(from: 0, to: bytes.count, by: size).compactMap { Digest(bytes: bytes[$0..<$0 + size]) }
    }
}

/// Numbers of 32 bits back to back in one column.
enum Numbers {
    static func encode(_ numbers: some Sequence<UInt32>) -> Data {
        var bytes: [UInt8] = []
        for number in numbers {
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
        }
        return Data(bytes)
    }

    static func decode(_ blob: Data, _ column: String) throws -> [UInt32] {
        guard blob.count.isMultiple(of: 4) else { throw LedgerError.damaged("column '\(column)' does not parse") }
        let bytes = [UInt8](blob)
        return stride(from: 0, to: bytes.count, by: 4).map { start in
            (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
        }
    }
}
