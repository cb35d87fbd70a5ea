import GRDB
package import MusterModel

/// What stores proved when they were probed.
extension Catalog {
    package struct ProbeFinding: Hashable, Sendable {
        package let capability: String
        /// nil where the store does not offer it.
        package let isHeld: Bool?
        package let detail: String

        package init(capability: String, isHeld: Bool?, detail: String) {
            (self.capability, self.isHeld, self.detail) = (capability, isHeld, detail)
        }
    }

    package struct ProbeRecord: Hashable, Sendable {
        package let at: Timestamp
        /// By capability.
        package let findings: [ProbeFinding]
    }

    /// Older probes of a store are forgotten.
    private static let keptProbes = 10

    package func record(
        probe findings: [ProbeFinding], ofStore number: Int64, at now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) {
        try await write(auditing: row) { database in
            // A second probe within a microsecond, or by a clock that was set back to it, takes the first one's place.
            try database.run("DELETE FROM store_probe WHERE store = ? AND at = ?", [number, now.microseconds])
            for finding in findings {
                try database.run(
                    "INSERT INTO store_probe(store, at, capability, ok, detail) VALUES (?, ?, ?, ?, ?)",
                    [number, now.microseconds, finding.capability, finding.isHeld, finding.detail])
            }
            try database.run(
                """
                DELETE FROM store_probe WHERE store = ?1 AND at NOT IN
                    (SELECT DISTINCT at FROM store_probe WHERE store = ?1 ORDER BY at DESC LIMIT ?2)
                """, [number, Self.keptProbes])
        }
    }

    /// - Returns: nil for a store that was never probed.
    package func lastProbe(ofStore number: Int64) async throws(CatalogError) -> ProbeRecord? {
        try await read { database in
            let rows = try database.rows(
                """
                SELECT * FROM store_probe WHERE store = ?1 AND at = (SELECT max(at) FROM store_probe WHERE store = ?1)
                ORDER BY capability
                """, [number])
            guard let first = rows.first else { return nil }
            return ProbeRecord(
                at: first.time("at"),
                findings: rows.map { row in
                    ProbeFinding(capability: row["capability"], isHeld: row["ok"], detail: row["detail"])
                })
        }
    }
}
