import GRDB
package import MusterModel

/// How the stores grow.
extension Catalog {
    /// Samples are so far apart at least.
    package static let growthInterval = Duration.seconds(3600)
    private static let (hourlyFor, dailyFor) = (Duration.seconds(7 * 86_400), Duration.seconds(800 * 86_400))
    private static let day: Int64 = 86_400_000_000

    package struct GrowthPoint: Hashable, Sendable {
        package let at: Timestamp
        /// Of packs and manifests that the store has and that are good.
        package let bytes: Int64
        package let objects: Int64
    }

    /// Notes how full the stores are, where the last note is old enough, and thins out what is long ago.
    ///
    /// - Returns: whether it did.
    @discardableResult
    package func noteGrowth(now: Timestamp) async throws(CatalogError) -> Bool {
        let isDue = try await read { database in
            let newest: Int64? = try database.value("SELECT max(at) FROM store_growth", [])
            // A clock that was set back must not end the notes.
            return newest.map { $0 <= (now - Self.growthInterval).microseconds || $0 > now.microseconds } ?? true
        }
        guard isDue else { return false }
        // Every replica is counted, which takes a while: not while others wait to write.
        let sums = try await read { database in
            try database.list(Self.fillQuery, []) { row in
                (store: row["store"] as Int64, bytes: row["bytes"] as Int64, objects: row["objects"] as Int64)
            }
        }
        try await write { database in
            try database.run("DELETE FROM store_growth WHERE at > ?", [now.microseconds])
            for sum in sums {
                try database.run(
                    "INSERT OR REPLACE INTO store_growth(store, at, bytes, objects) VALUES (?, ?, ?, ?)",
                    [sum.store, now.microseconds, sum.bytes, sum.objects])
            }
            try database.run(
                """
                DELETE FROM store_growth AS g WHERE at < ?1 AND EXISTS (SELECT 1 FROM store_growth e
                    WHERE e.store = g.store AND e.at >= g.at - g.at % ?2 AND e.at < g.at)
                """, [(now - Self.hourlyFor).microseconds, Self.day])
            try database.run("DELETE FROM store_growth WHERE at < ?", [(now - Self.dailyFor).microseconds])
        }
        return true
    }

    /// Oldest first.
    package func growth(ofStore store: Int64) async throws(CatalogError) -> [GrowthPoint] {
        try await read { database in
            try database.list(
                "SELECT at, bytes, objects FROM store_growth WHERE store = ? ORDER BY at", [store]
            ) { GrowthPoint(at: $0.time("at"), bytes: $0["bytes"], objects: $0["objects"]) }
        }
    }

    static let fillQuery = """
        SELECT t.number AS store, coalesce(p.bytes, 0) + coalesce(m.bytes, 0) AS bytes,
            coalesce(p.objects, 0) + coalesce(m.objects, 0) AS objects
        FROM store t
        LEFT JOIN (SELECT r.store, sum(p.size_bytes) AS bytes, count(*) AS objects FROM pack_replica r
            JOIN pack p ON p.number = r.pack WHERE r.state = 'present' GROUP BY r.store) p ON p.store = t.number
        LEFT JOIN (SELECT r.store, sum(s.manifest_bytes) AS bytes, count(*) AS objects FROM manifest_replica r
            JOIN snapshot s ON s.number = r.snapshot WHERE r.state = 'present' GROUP BY r.store) m ON m.store = t.number
        WHERE t.state <> 'lost'
        """
}
