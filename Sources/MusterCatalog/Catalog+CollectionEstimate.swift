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
    /// never too small.
    package func collectionEstimate(now: Timestamp) async throws(CatalogError) -> CollectionEstimate {
        try await read { database in
            var estimate = CollectionEstimate()
            var packs: Set<Int64> = []
            try Self.forEachMarkedGap(in: database) { lineage, sequences in
                let forgettable = try sequences.filter { number in
                    try database.row(Self.forgettableQuery, [number.number, now.microseconds]) != nil
                }
                estimate.snapshots += forgettable.count
                guard !forgettable.isEmpty, let first = sequences.first, let last = sequences.last else { return }
                for pack in try Self.packsKeptOnlyBy(lineage, from: first.sequence, to: last.sequence, in: database)
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

    private typealias MarkedSnapshot = (number: Int64, sequence: Int64)

    /// Calls `body` with each run of marked snapshots that no unmarked one lies between.
    private static func forEachMarkedGap(
        in database: GRDB.Database, _ body: (Data, [MarkedSnapshot]) throws -> Void
    ) throws {
        var (lineage, sequences): (Data, [MarkedSnapshot]) = (Data(), [])
        let rows = try Row.fetchCursor(database, sql: markedQuery, arguments: [Data(), -1, -1])
        while let row = try rows.next() {
            let (next, sequence): (Data, Int64) = (row["lineage"], row["sequence"])
            if let last = sequences.last {
                let kept: Int64? = try database.value(keptAfterQuery, [lineage, last.sequence])
                if next != lineage || sequence > kept ?? Int64.max {
                    try body(lineage, sequences)
                    sequences = []
                }
            }
            lineage = next
            sequences.append((row["number"], sequence))
        }
        if !sequences.isEmpty { try body(lineage, sequences) }
    }

    private static func packsKeptOnlyBy(
        _ lineage: Data, from first: Int64, to last: Int64, in database: GRDB.Database
    ) throws -> [(number: Int64, size: Int64)] {
        let before: Int64? = try database.value(keptBeforeQuery, [lineage, first])
        let after: Int64? = try database.value(keptAfterQuery, [lineage, last])
        let rows = try database.rows(
            gapQuery, [lineage, before ?? -1, Int64.min, Int64.min, after ?? Int64.max, -1])
        return try rows.compactMap { row in
            let (pack, born): (Int64, Int64) = (row["pack"], row["born"])
            guard born > before ?? -1, try database.row(keptPackQuery, [pack]) == nil else { return nil }
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
    static let keptPackQuery = """
        SELECT 1 FROM pack_reference f WHERE f.pack = ? AND (f.died IS NULL OR EXISTS
            (SELECT 1 FROM snapshot s INDEXED BY snapshot_kept WHERE s.lineage = f.lineage
                AND s.sequence >= f.born AND s.sequence < f.died AND s.expired_at IS NULL AND s.forgotten_at IS NULL))
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
