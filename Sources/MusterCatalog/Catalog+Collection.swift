import Foundation
import GRDB
package import MusterModel

/// gc, step by step: forget what is marked, find the packs that nothing needs any more, condemn them, sweep them.
///
/// - Each method is one bounded transaction that leaves the catalog right. What is left to do is read from the catalog
///   alone, so gc may be stopped, killed or run twice at any point; a place to go on from only saves time.
/// - No step trusts an earlier one: what is condemned or swept is asked again, in the transaction that does it, whether
///   a snapshot needs it or a lease protects it. So grace may be 0 (proto/decisions/0010-garbage-collection.md).
/// - A pack is needed while a snapshot that is not forgotten lies in [born, died) of one of its references. The head
///   is never forgotten, so what has not died is always needed.
extension Catalog {
    /// How many rows a step of gc looks at, so that writers wait for it for milliseconds.
    package static let collectionStep = 500

    /// How far a step came; `next` is nil where all was looked at.
    package struct CollectionStep<Place: Sendable>: Sendable {
        package var count = 0
        package var byteCount: Int64 = 0
        package var next: Place?
    }

    /// A place among the marked snapshots.
    package struct MarkedPlace: Sendable {
        let lineage: Data
        let sequence: Int64
    }

    /// Forgotten snapshots of one lineage between two that are not, and how far their references were looked at.
    package struct Gap: Sendable {
        let lineage: Data
        /// The nearest sequences that are not forgotten.
        let before: Int64
        let after: Int64
        fileprivate(set) var died: Int64
        fileprivate(set) var pack: Int64 = Int64.min
        fileprivate(set) var born: Int64 = Int64.min
    }

    // MARK: - Forget

    /// Forgets marked snapshots whose grace is over and which nobody holds, pins or works on. While an alarm freezes
    /// a database nothing of it is forgotten.
    ///
    /// Never a lineage's head, nor its newest sound verified snapshot. For a forgotten one there is no way back.
    package func forgetMarked(
        after place: MarkedPlace?, limit: Int = collectionStep, now: Timestamp
    ) async throws(CatalogError) -> CollectionStep<MarkedPlace> {
        try await write { database in
            try Self.removeStalePins(now: now, in: database)
            let rows = try database.rows(Self.markedQuery, [place?.lineage ?? Data(), place?.sequence ?? -1, limit])
            var step = CollectionStep<MarkedPlace>()
            var frozen: [DatabaseID: Bool] = [:]
            for row in rows {
                let (number, id): (Int64, DatabaseID) = (row["number"], try row.identifier("database"))
                let isFrozen = try frozen[id] ?? Self.isFrozen(id, in: database)
                frozen[id] = isFrozen
                guard !isFrozen, try database.row(Self.forgettableQuery, [number, now.microseconds]) != nil else {
                    continue
                }
                try database.run("UPDATE snapshot SET forgotten_at = ? WHERE number = ?", [now.microseconds, number])
                try database.run("UPDATE database SET expired_count = expired_count - 1 WHERE id = ?", [id.blob])
                step.count += 1
            }
            if rows.count == limit, let last = rows.last {
                step.next = MarkedPlace(lineage: last["lineage"], sequence: last["sequence"])
            }
            return step
        }
    }

    // MARK: - Free

    /// Finds packs that forgotten snapshots needed and no other one does.
    ///
    /// Only references that began and ended between the two nearest unforgotten neighbours can have become unneeded;
    /// each pack of them is asked for by itself. A gap that is gone over stays as it is or becomes wider.
    package func freeUnneeded(
        _ gap: Gap?, limit: Int = collectionStep
    ) async throws(CatalogError) -> CollectionStep<Gap> {
        try await write { database in
            var step = CollectionStep<Gap>()
            guard var gap = try gap ?? Self.nextGap(in: database) else { return step }
            let rows = try database.rows(
                Self.gapQuery, [gap.lineage, gap.died, gap.pack, gap.born, gap.after, limit])
            for row in rows {
                (gap.died, gap.pack, gap.born) = (row["died"], row["pack"], row["born"])
                guard gap.born > gap.before, try !Self.isNeeded(gap.pack, in: database) else { continue }
                guard let size = try Self.free(gap.pack, in: database) else { continue }
                step.count += 1
                step.byteCount += size
            }
            step.next = gap
            if rows.count < limit {
                // All of the gap was forgotten before its first reference was looked at.
                try database.run(Self.freedStatement, [gap.lineage, gap.before, gap.after, limit])
                if database.changesCount < limit { step.next = try Self.nextGap(in: database) }
            }
            return step
        }
    }

    private static func nextGap(in database: GRDB.Database) throws -> Gap? {
        guard let row = try database.row(unfreedQuery, []) else { return nil }
        let (lineage, sequence): (Data, Int64) = (row["lineage"], row["sequence"])
        let before: Int64? = try database.value(neighbourBeforeQuery, [lineage, sequence])
        let after: Int64? = try database.value(neighbourAfterQuery, [lineage, sequence])
        return Gap(lineage: lineage, before: before ?? -1, after: after ?? Int64.max, died: before ?? -1)
    }

    /// - Returns: how many bytes it has, where it was not free before.
    private static func free(_ pack: Int64, in database: GRDB.Database) throws -> Int64? {
        guard
            let row = try database.row(
                "SELECT size_bytes, counted_in FROM pack WHERE number = ? AND committed", [pack])
        else { return nil }
        let size: Int64 = row["size_bytes"]
        try database.run(
            "UPDATE database SET stored_bytes = stored_bytes - ? WHERE id = ?", [size, row["counted_in"] as Data?])
        try database.run("UPDATE pack SET committed = 0, counted_in = NULL WHERE number = ?", [pack])
        return size
    }

    /// Whether a snapshot that is not forgotten needs the pack.
    static func isNeeded(_ pack: Int64, in database: GRDB.Database) throws -> Bool {
        try database.row(neededPackQuery, [pack]) != nil
    }

    // MARK: - Condemn

    /// Phase 1: packs that no snapshot needs and no lease protects count as present no longer.
    package func condemnUnneeded(
        limit: Int = collectionStep, now: Timestamp
    ) async throws(CatalogError) -> CollectionStep<Bool> {
        try await write { database in
            let rows = try database.rows(Self.unneededQuery, [now.microseconds, limit])
            var step = CollectionStep<Bool>(next: rows.count == limit ? true : nil)
            for row in rows {
                let pack: Int64 = row["number"]
                if try Self.isNeeded(pack, in: database) {
                    try database.run("UPDATE pack SET committed = 1 WHERE number = ?", [pack])
                    continue
                }
                try database.run("UPDATE pack SET condemned_at = ? WHERE number = ?", [now.microseconds, pack])
                step.count += 1
                step.byteCount += row["size_bytes"] as Int64
            }
            return step
        }
    }

    // MARK: - Sweep

    /// Phase 2: gives up the copies of packs that were condemned before `limitTime`, and are unneeded still.
    package func sweepCondemned(
        before limitTime: Timestamp, limit: Int = collectionStep, now: Timestamp
    ) async throws(CatalogError) -> CollectionStep<Bool> {
        let names = names
        return try await write { database in
            let rows = try database.rows(Self.condemnedQuery, [limitTime.microseconds, limit])
            var step = CollectionStep<Bool>(next: rows.count == limit ? true : nil)
            var rowsLeft = limit
            for row in rows {
                guard rowsLeft > 0 else {
                    step.next = true
                    break
                }
                guard try Self.mayBeSwept(row, now: now, in: database) else { continue }
                rowsLeft -= try Self.dropChunks(of: row["number"], limit: rowsLeft, in: database) + 1
                guard rowsLeft >= 0 else {
                    step.next = true
                    break
                }
                step.byteCount += try Self.sweep(row, names, now: now, in: database)
                step.count += 1
            }
            return step
        }
    }

    /// Takes the sentence back where it is not right any more.
    private static func mayBeSwept(_ row: Row, now: Timestamp, in database: GRDB.Database) throws -> Bool {
        let pack: Int64 = row["number"]
        let isNeeded = try isNeeded(pack, in: database)
        if isNeeded || row["committed"] || row.time("leased_until") > now {
            try database.run(
                "UPDATE pack SET condemned_at = NULL, committed = ? WHERE number = ?",
                [isNeeded || row["committed"], pack])
            return false
        }
        return true
    }

    /// - Returns: how many; `limit` where there may be more.
    private static func dropChunks(of pack: Int64, limit: Int, in database: GRDB.Database) throws -> Int {
        try database.run(
            "DELETE FROM chunk WHERE pack = ?1 AND id IN (SELECT id FROM chunk WHERE pack = ?1 LIMIT ?2)",
            [pack, limit])
        return database.changesCount
    }

    private static func sweep(
        _ row: Row, _ names: ObjectNames, now: Timestamp, in database: GRDB.Database
    ) throws -> Int64 {
        let (pack, size): (Int64, Int64) = (row["number"], row["size_bytes"])
        let id: PackID = try row.digest("id")
        var byteCount: Int64 = 0
        for copy in try database.rows("SELECT store, generation FROM pack_replica WHERE pack = ?", [pack]) {
            try discard(
                try names.name(ofPack: id, copy["generation"]), in: copy["store"], byteCount: size, notBefore: now,
                reason: "unneeded", database)
            byteCount += size
        }
        try database.run("DELETE FROM pack_replica WHERE pack = ?", [pack])
        // A base that is forgotten may have a reference still: commits are compared with what it needed.
        try database.run("UPDATE pack SET is_swept = 1, wanting = 0 WHERE number = ?", [pack])
        try removeIfUnreferenced(pack, in: database)
        return byteCount
    }

    static func removeIfUnreferenced(_ pack: Int64, in database: GRDB.Database) throws {
        try database.run(
            """
            DELETE FROM pack WHERE number = ?1 AND is_swept
                AND NOT EXISTS (SELECT 1 FROM pack_reference WHERE pack = ?1)
            """, [pack])
    }

    // MARK: - Statements

    static let markedQuery = """
        SELECT number, database, lineage, sequence, grace_until FROM snapshot INDEXED BY snapshot_marked
        WHERE expired_at IS NOT NULL AND forgotten_at IS NULL AND (lineage, sequence) > (?, ?)
        ORDER BY lineage, sequence LIMIT ?
        """
    /// Whether the snapshot of that number may be forgotten now.
    static let forgettableQuery = """
        SELECT 1 FROM snapshot s WHERE s.number = ?1
            AND s.expired_at IS NOT NULL AND s.grace_until <= ?2 AND s.forgotten_at IS NULL
            AND s.sequence < (SELECT l.head_sequence FROM lineage l WHERE l.id = s.lineage)
            AND s.sequence <> coalesce((SELECT v.sequence FROM snapshot v INDEXED BY snapshot_proven
                WHERE v.lineage = s.lineage AND v.verified_at IS NOT NULL AND v.forgotten_at IS NULL
                    AND v.verdict NOT LIKE 'failed%' ORDER BY v.sequence DESC LIMIT 1), -1)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.snapshot = s.number)
            AND NOT EXISTS (SELECT 1 FROM pin p WHERE p.snapshot = s.number AND p.until > ?2)
            AND NOT EXISTS (SELECT 1 FROM job j WHERE j.snapshot = s.id AND j.state IN ('queued', 'running'))
            AND NOT EXISTS
                (SELECT 1 FROM verification_item i WHERE i.snapshot = s.number AND i.state = 'waiting')
            AND NOT EXISTS (SELECT 1 FROM receipt r WHERE r.snapshot = s.number AND NOT r.stored)
        """
    static let unfreedQuery = """
        SELECT lineage, sequence FROM snapshot INDEXED BY snapshot_unfreed
        WHERE forgotten_at IS NOT NULL AND NOT is_freed ORDER BY lineage, sequence LIMIT 1
        """
    static let neighbourBeforeQuery = """
        SELECT max(sequence) FROM snapshot INDEXED BY snapshot_unforgotten
        WHERE lineage = ? AND sequence < ? AND forgotten_at IS NULL
        """
    static let neighbourAfterQuery = """
        SELECT min(sequence) FROM snapshot INDEXED BY snapshot_unforgotten
        WHERE lineage = ? AND sequence > ? AND forgotten_at IS NULL
        """
    static let gapQuery = """
        SELECT died, pack, born FROM pack_reference INDEXED BY pack_reference_dead
        WHERE lineage = ? AND died IS NOT NULL AND (died, pack, born) > (?, ?, ?) AND died <= ?
        ORDER BY died, pack, born LIMIT ?
        """
    static let freedStatement = """
        UPDATE snapshot SET is_freed = 1 WHERE number IN
            (SELECT number FROM snapshot INDEXED BY snapshot_unfreed
            WHERE forgotten_at IS NOT NULL AND NOT is_freed AND lineage = ? AND sequence > ? AND sequence < ? LIMIT ?)
        """
    static let neededPackQuery = """
        SELECT 1 FROM pack_reference f WHERE f.pack = ? AND (f.died IS NULL OR EXISTS
            (SELECT 1 FROM snapshot s INDEXED BY snapshot_unforgotten WHERE s.lineage = f.lineage
                AND s.sequence >= f.born AND s.sequence < f.died AND s.forgotten_at IS NULL))
        LIMIT 1
        """
    static let unneededQuery = """
        SELECT number, size_bytes FROM pack INDEXED BY pack_unneeded
        WHERE NOT committed AND condemned_at IS NULL AND leased_until <= ? ORDER BY leased_until LIMIT ?
        """
    static let condemnedQuery = """
        SELECT * FROM pack INDEXED BY pack_condemned
        WHERE condemned_at IS NOT NULL AND NOT is_swept AND condemned_at <= ? ORDER BY condemned_at LIMIT ?
        """
}
