import Foundation
import GRDB
package import MusterModel

/// The audit: rows that are only ever added, each with a hash over itself and the one before.
///
/// Whoever can write the file can also make the whole chain anew, or cut its end off: that shows only where a row's
/// number and hash were kept elsewhere. The record of the fleet's state in the stores has those of the newest row, and a
/// rebuild compares them; a person may keep them too (`muster audit verify --head`).
extension Catalog {
    package struct AuditEntry: Hashable, Sendable {
        package let number: Int64
        package let at: Timestamp
        package let actor: String
        package let action: String
        package let subject: String
        package let hash: [UInt8]
    }

    /// The newest row: 0 and zeros where there is none.
    package struct AuditHead: Hashable, Sendable, Codable {
        package var row: Int64
        /// Hex digits.
        package var hash: String

        package init(row: Int64, hash: String) { (self.row, self.hash) = (row, hash) }
    }

    package struct AuditCheck: Hashable, Sendable {
        package var rows: Int64 = 0
        package var headHash = [UInt8](repeating: 0, count: 32)
        /// The first row that does not follow from the one before.
        package var firstBroken: Int64?
        /// Of the row that was asked for; nil where there is none.
        package var rowHash: [UInt8]?
    }

    /// Who did what, for the audit.
    package struct AuditRow: Hashable, Sendable {
        package let actor: String
        package let action: String
        package let subject: String
        package let at: Timestamp

        package init(actor: String, action: String, subject: String, at: Timestamp) {
            (self.actor, self.action, self.subject, self.at) = (actor, action, subject, at)
        }
    }

    /// Adds a row for what is no change of the catalog, or for more than one transaction can hold.
    package func audit(_ row: AuditRow) async throws(CatalogError) {
        try await write(auditing: row) { _ in }
    }

    /// The same with several: all of them or none.
    package func audit(_ rows: [AuditRow]) async throws(CatalogError) {
        try await write(auditingEach: { _ in rows }) { _ in }
    }

    /// Makes a change and appends its row, as a whole or not at all: none is without the other.
    ///
    /// - Parameters:
    ///   - row: nil where a change is audited by whoever asked for it.
    ///   - isChange: whether the value that `body` gives says that anything was changed.
    func write<Value: Sendable>(
        auditing row: AuditRow?, if isChange: @escaping @Sendable (Value) -> Bool = { _ in true },
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        try await write(auditingEach: { value in row.map { isChange(value) ? [$0] : [] } ?? [] }, body)
    }

    /// The same with as many rows as the change itself turns out to want.
    func write<Value: Sendable>(
        auditingEach rows: @escaping @Sendable (Value) -> [AuditRow],
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        let sha256 = self.sha256
        return try await write { database in
            let value = try body(database)
            for row in rows(value) { try Self.append(row, sha256, to: database) }
            return value
        }
    }

    /// Each row's hash covers the one before it.
    private static func append(
        _ row: AuditRow, _ sha256: @Sendable ([UInt8]) -> [UInt8], to database: GRDB.Database
    ) throws {
        let previous: Data =
            try database.value("SELECT hash FROM audit ORDER BY number DESC LIMIT 1", [])
            ?? Data(repeating: 0, count: 32)
        let hash = sha256(auditText([UInt8](previous), row.at, row.actor, row.action, row.subject))
        try database.run(
            "INSERT INTO audit(at, actor, action, subject, previous_hash, hash) VALUES (?, ?, ?, ?, ?, ?)",
            [row.at.microseconds, row.actor, row.action, row.subject, previous, Data(hash)])
    }

    /// Newest first.
    ///
    /// - Parameter before: only rows with a smaller number.
    package func auditEntries(
        since: Timestamp? = nil, actor: String? = nil, before: Int64? = nil, limit: Int
    ) async throws(CatalogError) -> [AuditEntry] {
        try await read { database in
            try database.rows(
                Self.auditQuery, [since?.microseconds ?? .min, before ?? .max, actor ?? "", limit]
            ).map { row in
                AuditEntry(
                    number: row["number"], at: row.time("at"), actor: row["actor"], action: row["action"],
                    subject: row["subject"], hash: row.byteArray("hash"))
            }
        }
    }

    /// By number, which follows time; so the oldest of that time ends it.
    static let auditQuery = """
        SELECT * FROM audit
        WHERE number >= coalesce((SELECT min(number) FROM audit INDEXED BY audit_by_time WHERE at >= ?1),
                9223372036854775807)
            AND number < ?2 AND (?3 = '' OR actor = ?3)
        ORDER BY number DESC LIMIT ?4
        """

    package func auditHead() async throws(CatalogError) -> AuditHead {
        try await read { database in
            guard let row = try database.row("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1", []) else {
                return AuditHead(row: 0, hash: Hex.encode([UInt8](repeating: 0, count: 32)))
            }
            return AuditHead(row: row["number"], hash: Hex.encode(row.byteArray("hash")))
        }
    }

    private static let checkedAtOnce = 2000

    /// Reads the whole audit again, a part at a time: rows are only ever added, so no view of all of them has to be held.
    package func checkAudit(row wanted: Int64? = nil) async throws(CatalogError) -> AuditCheck {
        var check = AuditCheck()
        while check.firstBroken == nil {
            let before = check
            check = try await checkAudit(from: before, row: wanted)
            if check.rows - before.rows < Self.checkedAtOnce { break }
        }
        return check
    }

    private func checkAudit(from before: AuditCheck, row wanted: Int64?) async throws(CatalogError) -> AuditCheck {
        let sha256 = self.sha256
        return try await read { database in
            var check = before
            let rows = try Row.fetchCursor(
                database, sql: "SELECT * FROM audit WHERE number > ? ORDER BY number LIMIT ?",
                arguments: [before.rows, Self.checkedAtOnce])
            while let row = try rows.next() {
                let hash = sha256(
                    Self.auditText(check.headHash, row.time("at"), row["actor"], row["action"], row["subject"]))
                let number: Int64 = row["number"]
                // Numbers have no gap: a row that was taken away and forgotten by the chain shows too.
                let follows = number == check.rows + 1 && row.byteArray("previous_hash") == check.headHash
                guard follows, row.byteArray("hash") == hash else {
                    check.firstBroken = number
                    return check
                }
                (check.rows, check.headHash) = (number, hash)
                if number == wanted { check.rowHash = hash }
            }
            return check
        }
    }

    /// Fields of length and bytes, so that no two rows have one text.
    private static func auditText(
        _ previous: [UInt8], _ now: Timestamp, _ actor: String, _ action: String, _ subject: String
    ) -> [UInt8] {
        func field(_ bytes: [UInt8]) -> [UInt8] {
            withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { Array($0) } + bytes
        }
        return previous + withUnsafeBytes(of: now.microseconds.bigEndian) { Array($0) }
            + [actor, action, subject].flatMap { field(Array($0.utf8)) }
    }
}
