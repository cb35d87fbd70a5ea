import Foundation
import GRDB
package import MusterModel

/// The audit: rows that are only ever added, each with a hash over itself and the one before.
///
/// Whoever can write the file can also make the whole chain anew, or cut its end off: that shows only to somebody who
/// kept a row's number and hash elsewhere (`muster audit verify --head`), or in an older backup of the catalog.
extension Catalog {
    package struct AuditEntry: Hashable, Sendable {
        package let number: Int64
        package let at: Timestamp
        package let actor: String
        package let action: String
        package let subject: String
        package let hash: [UInt8]
    }

    package struct AuditCheck: Hashable, Sendable {
        package var rows: Int64 = 0
        package var headHash = [UInt8](repeating: 0, count: 32)
        /// The first row that does not follow from the one before.
        package var firstBroken: Int64?
        /// Of the row that was asked for; nil where there is none.
        package var rowHash: [UInt8]?
    }

    /// Adds a row to the audit; each row's hash covers the one before it.
    package func audit(
        actor: String, action: String, subject: String, now: Timestamp
    ) async throws(CatalogError) {
        let sha256 = self.sha256
        try await write { database in
            let previous =
                try Data.fetchOne(database, sql: "SELECT hash FROM audit ORDER BY number DESC LIMIT 1")
                ?? Data(repeating: 0, count: 32)
            let hash = sha256(Self.auditText([UInt8](previous), now, actor, action, subject))
            try database.execute(
                sql: """
                    INSERT INTO audit(at, actor, action, subject, previous_hash, hash) VALUES (?, ?, ?, ?, ?, ?)
                    """, arguments: [now.microseconds, actor, action, subject, previous, Data(hash)])
        }
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

    /// Reads the whole audit again.
    package func checkAudit(row wanted: Int64? = nil) async throws(CatalogError) -> AuditCheck {
        let sha256 = self.sha256
        return try await read { database in
            var check = AuditCheck()
            let rows = try Row.fetchCursor(database, sql: "SELECT * FROM audit ORDER BY number")
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
