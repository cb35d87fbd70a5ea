import Foundation
import GRDB
package import MusterModel

/// What a run of gc would give up, before it gives up anything.
extension Catalog {
    package struct CollectionEstimate: Hashable, Sendable {
        /// Marked snapshots that may be forgotten now.
        package var snapshots = 0
        /// Of packs that no snapshot would need after that, and of those that none needs already.
        package var packs = 0
        package var byteCount: Int64 = 0
        package var totalSnapshots = 0
        package var totalBytes: Int64 = 0
        /// Of packs that snapshots need now, and none would after that: without what was sent and never committed.
        package var freedBytes: Int64 = 0
        /// Of all packs that snapshots need now.
        package var neededBytes: Int64 = 0

        package init() {}
    }

    /// Reads only. Where a mark cannot be acted on, for a pin, its packs are counted all the same: the estimate is
    /// never too small. Those of a mark in grace are not: this run would not free them.
    package func collectionEstimate(now: Timestamp) async throws(CatalogError) -> CollectionEstimate {
        try await read { database in
            var estimate = CollectionEstimate()
            var packs: Set<Int64> = []
            try Self.forEachDueGap(at: now, in: database) { gap in
                let forgettable = try gap.due.count { number in
                    try database.row(Self.forgettableQuery, [number, now.microseconds]) != nil
                }
                guard forgettable > 0 else { return }
                estimate.snapshots += forgettable
                for pack in try Self.packsKeptOnly(by: gap, at: now, in: database)
                where packs.insert(pack.number).inserted {
                    estimate.freedBytes += pack.size
                }
            }
            estimate.byteCount = estimate.freedBytes
            let unneeded = try database.row(Self.unneededSumQuery, [now.microseconds])
            estimate.packs = packs.count + (unneeded?["packs"] ?? 0)
            estimate.byteCount += unneeded?["bytes"] ?? 0
            let totals = try database.row(Self.storedSumQuery, [])
            // A database counts those that are not marked.
            estimate.totalSnapshots = estimate.snapshots + (totals?["snapshots"] ?? 0)
            estimate.neededBytes = totals?["bytes"] ?? 0
            estimate.totalBytes = estimate.neededBytes + (unneeded?["bytes"] ?? 0)
            return estimate
        }
    }

    /// Marked snapshots of one lineage whose grace is over, and that none lies between that is kept.
    private struct DueGap {
        let lineage: Data
        /// The nearest sequences that are kept.
        let before: Int64
        var after: Int64
        var due: [Int64] = []
    }

    /// Calls `body` with each gap. A mark in grace is kept: gc gives up nothing of it, and it may be taken off.
    private static func forEachDueGap(
        at now: Timestamp, in database: GRDB.Database, _ body: (DueGap) throws -> Void
    ) throws {
        var open: DueGap?
        var lastInGrace: MarkedPlace?
        let rows = try Row.fetchCursor(database, sql: markedQuery, arguments: [Data(), -1, -1])
        while let row = try rows.next() {
            let place = MarkedPlace(lineage: row["lineage"], sequence: row["sequence"])
            if let gap = open, gap.lineage != place.lineage || place.sequence > gap.after {
                try body(gap)
                open = nil
            }
            if row.time("grace_until") > now {
                if var gap = open {
                    gap.after = place.sequence
                    try body(gap)
                    open = nil
                }
                lastInGrace = place
                continue
            }
            var gap = try open ?? dueGap(around: place, after: lastInGrace, in: database)
            let number: Int64 = row["number"]
            gap.due.append(number)
            open = gap
        }
        if let open { try body(open) }
    }

    private static func dueGap(
        around place: MarkedPlace, after lastInGrace: MarkedPlace?, in database: GRDB.Database
    ) throws -> DueGap {
        let before: Int64? = try database.value(keptBeforeQuery, [place.lineage, place.sequence])
        let after: Int64? = try database.value(keptAfterQuery, [place.lineage, place.sequence])
        let inGrace = lastInGrace.flatMap { $0.lineage == place.lineage ? $0.sequence : nil }
        return DueGap(lineage: place.lineage, before: max(before ?? -1, inGrace ?? -1), after: after ?? Int64.max)
    }

    private static func packsKeptOnly(
        by gap: DueGap, at now: Timestamp, in database: GRDB.Database
    ) throws -> [(number: Int64, size: Int64)] {
        let rows = try database.rows(
            gapQuery, [gap.lineage, gap.before, Int64.min, Int64.min, gap.after, -1])
        return try rows.compactMap { row in
            let (pack, born): (Int64, Int64) = (row["pack"], row["born"])
            guard born > gap.before,
                try database.row(keptPackQuery, [pack, gap.lineage, born, now.microseconds]) == nil
            else { return nil }
            let size: Int64? = try database.value("SELECT size_bytes FROM pack WHERE number = ? AND committed", [pack])
            return size.map { (pack, $0) }
        }
    }

    // MARK: - Statements

    static let keptBeforeQuery = """
        SELECT max(sequence) FROM snapshot INDEXED BY snapshot_kept
        WHERE lineage = ? AND sequence < ? AND expired_at IS NULL AND forgotten_at IS NULL
        """
    static let keptAfterQuery = """
        SELECT min(sequence) FROM snapshot INDEXED BY snapshot_kept
        WHERE lineage = ? AND sequence > ? AND expired_at IS NULL AND forgotten_at IS NULL
        """
    /// Whether a snapshot needs the pack that is not marked, or in grace. The reference of a gap has none: it is left
    /// out, as what is in grace is found by going over all the marks that a reference spans.
    static let keptPackQuery = """
        SELECT 1 FROM pack_reference f WHERE f.pack = ?1 AND NOT (f.lineage = ?2 AND f.born = ?3)
            AND (f.died IS NULL OR EXISTS
                (SELECT 1 FROM snapshot s INDEXED BY snapshot_kept WHERE s.lineage = f.lineage
                    AND s.sequence >= f.born AND s.sequence < f.died
                    AND s.expired_at IS NULL AND s.forgotten_at IS NULL)
            OR EXISTS
                (SELECT 1 FROM snapshot s INDEXED BY snapshot_marked WHERE s.lineage = f.lineage
                    AND s.sequence >= f.born AND s.sequence < f.died
                    AND s.expired_at IS NOT NULL AND s.forgotten_at IS NULL AND s.grace_until > ?4))
        LIMIT 1
        """
    static let unneededSumQuery = """
        SELECT count(*) AS packs, coalesce(sum(size_bytes), 0) AS bytes FROM pack INDEXED BY pack_unneeded
        WHERE NOT committed AND condemned_at IS NULL AND leased_until <= ?
        """
    static let storedSumQuery = """
        SELECT coalesce(sum(snapshot_count), 0) AS snapshots, coalesce(sum(stored_bytes), 0) AS bytes FROM database
        """
}
