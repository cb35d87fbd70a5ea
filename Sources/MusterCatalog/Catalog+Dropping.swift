import Foundation
import GRDB
package import MusterModel

/// The end of a forgotten snapshot: its manifest, its receipt and its rows go when no other snapshot is based on it.
extension Catalog {
    /// Fewer than in other steps of gc: with a reference goes a pack, and all that is known of it.
    package static let droppingStep = 250

    /// Drops forgotten snapshots on which none is based, the newest first: a base is older than what is based on it.
    ///
    /// - Parameter number: where an earlier step stopped.
    package func dropForgotten(
        below number: Int64?, limit: Int = droppingStep, now: Timestamp
    ) async throws(CatalogError) -> CollectionStep<Int64> {
        let names = names
        return try await write { database in
            let rows = try database.rows(Self.forgottenQuery, [number ?? Int64.max, limit])
            var step = CollectionStep<Int64>(next: rows.count == limit ? rows.last?["number"] : nil)
            var rowsLeft = limit
            for row in rows {
                let number: Int64 = row["number"]
                guard row["is_freed"], try database.row(Self.childQuery, [row["id"] as Data]) == nil else { continue }
                rowsLeft -= try Self.dropReferences(of: row, limit: rowsLeft, in: database) + 1
                guard rowsLeft >= 0 else {
                    // Gone on with from this one.
                    step.next = number + 1
                    break
                }
                step.byteCount += try Self.drop(row, names, now: now, in: database)
                step.count += 1
                if rowsLeft == 0 {
                    step.next = number
                    break
                }
            }
            return step
        }
    }

    /// Removes references that no other row of the lineage lies in.
    ///
    /// - Returns: how many; `limit` where there may be more.
    private static func dropReferences(of row: Row, limit: Int, in database: GRDB.Database) throws -> Int {
        let (lineage, sequence): (Data, Int64) = (row["lineage"], row["sequence"])
        let before: Int64? = try database.value(rowBeforeQuery, [lineage, sequence])
        let after: Int64? = try database.value(rowAfterQuery, [lineage, sequence])
        let references = try database.rows(
            lonelyQuery, [lineage, sequence, after ?? Int64.max, before ?? -1, limit])
        for reference in references {
            let pack: Int64 = reference["pack"]
            try database.run(
                "DELETE FROM pack_reference WHERE lineage = ? AND pack = ? AND born = ?",
                [lineage, pack, reference["born"] as Int64])
            try removeIfUnreferenced(pack, in: database)
        }
        return references.count
    }

    /// - Returns: how many bytes its objects have.
    private static func drop(
        _ row: Row, _ names: ObjectNames, now: Timestamp, in database: GRDB.Database
    ) throws -> Int64 {
        let (number, manifestBytes): (Int64, Int64) = (row["number"], row["manifest_bytes"])
        let byteCount = try discardObjects(of: row, names, now: now, in: database)
        for statement in leavings { try database.run(statement, [number]) }
        try database.run("DELETE FROM snapshot WHERE number = ?", [number])
        try database.run(
            "UPDATE database SET stored_bytes = stored_bytes - ? WHERE id = ?",
            [manifestBytes, row["database"] as Data])
        return byteCount
    }

    private static func discardObjects(
        of row: Row, _ names: ObjectNames, now: Timestamp, in database: GRDB.Database
    ) throws -> Int64 {
        let (number, manifestBytes): (Int64, Int64) = (row["number"], row["manifest_bytes"])
        let place = try place(of: row)
        let receiptBytes: Int64 =
            try database.value("SELECT length(bytes) FROM receipt WHERE snapshot = ?", [number]) ?? 0
        var byteCount: Int64 = 0
        for copy in try database.rows("SELECT * FROM manifest_replica WHERE snapshot = ?", [number]) {
            guard let manifest = names.manifest(place, copy["generation"]),
                let receipt = names.receipt(place, copy["receipt_generation"])
            else { throw CatalogError.damaged(column: "generation") }
            for (name, size) in [(receipt, receiptBytes), (manifest, manifestBytes)] {
                try discard(
                    name, in: copy["store"], byteCount: size, notBefore: now, reason: "forgotten", database)
                byteCount += size
            }
        }
        return byteCount
    }

    static func place(of row: Row) throws -> ObjectNames.Place {
        let sequence: Int64 = row["sequence"]
        return ObjectNames.Place(
            database: try row.identifier("database"), lineage: try row.identifier("lineage"),
            sequence: UInt64(sequence), snapshot: try row.identifier("id"))
    }

    // MARK: - Statements

    /// What hangs on a snapshot's row; each is found by an index.
    static let leavings = [
        "DELETE FROM manifest_replica WHERE snapshot = ?", "DELETE FROM receipt WHERE snapshot = ?",
        "DELETE FROM label WHERE snapshot = ?", "DELETE FROM verdict WHERE snapshot = ?",
        "DELETE FROM finding WHERE snapshot = ?", "DELETE FROM refused_replica WHERE snapshot = ?",
        "DELETE FROM verification_item WHERE snapshot = ?",
        "DELETE FROM hold WHERE snapshot = ?", "DELETE FROM pin WHERE snapshot = ?",
    ]
    static let forgottenQuery = """
        SELECT * FROM snapshot INDEXED BY snapshot_forgotten
        WHERE forgotten_at IS NOT NULL AND number < ? ORDER BY number DESC LIMIT ?
        """
    static let childQuery = "SELECT 1 FROM snapshot WHERE base = ? LIMIT 1"
    static let rowBeforeQuery = "SELECT max(sequence) FROM snapshot WHERE lineage = ? AND sequence < ?"
    static let rowAfterQuery = "SELECT min(sequence) FROM snapshot WHERE lineage = ? AND sequence > ?"
    static let lonelyQuery = """
        SELECT pack, born FROM pack_reference INDEXED BY pack_reference_dead
        WHERE lineage = ?1 AND died > ?2 AND died <= ?3 AND died IS NOT NULL AND born > ?4 LIMIT ?5
        """
}
