import Foundation
import GRDB
package import MusterModel

/// Policies and holds as one text, so that they outlive the catalog.
///
/// A rebuild that finds none of them would give up nothing it should keep, as without policies everything is kept; but
/// once policies are set again, what was held would not be. So whoever writes the coordinator's records to the stores
/// puts `retentionRecord()` into one, under a number that grows, whenever `retentionRevision()` has grown, and before
/// the change that made it grow is acknowledged where that is a hold; and a rebuild calls `restoreRetention(from:)`
/// with the newest, after it has put the snapshots into the catalog. Marks are not in it: after a rebuild nothing is marked
/// but what was forgotten, and the next run marks anew, with the whole grace.
extension Catalog {
    private struct Record: Codable {
        struct Policy: Codable {
            let scope: String
            let terms: RetentionTerms
            let actor: String
            let at: Int64
        }

        struct Held: Codable {
            let snapshot: String
            let name: String
            let reason: String
            let actor: String
            let at: Int64
        }

        let version: Int
        let revision: Int64
        let policies: [Policy]
        let holds: [Held]
    }

    package struct RestoredRetention: Hashable, Sendable {
        package var policies = 0
        package var holds = 0
        /// Held, and not in the catalog.
        package var unknownSnapshots: [SnapshotID] = []

        package init() {}
    }

    /// Grows with every change of a policy or a hold.
    package func retentionRevision() async throws(CatalogError) -> Int64 {
        try await read { try Self.revision(in: $0) }
    }

    /// All policies and holds as canonical JSON: the same ones are the same bytes.
    package func retentionRecord() async throws(CatalogError) -> [UInt8] {
        try await read { database in
            let policies = try Self.policies(in: database).map { entry in
                Record.Policy(
                    scope: entry.scope.description, terms: entry.terms, actor: entry.actor, at: entry.at.microseconds)
            }
            // Members of fleet snapshots are found by their labels: there may be one for each database.
            let holds = try database.rows(
                """
                SELECT s.id, h.* FROM hold h CROSS JOIN snapshot s ON s.number = h.snapshot
                WHERE h.name NOT LIKE ? ORDER BY s.id, h.name
                """, [Self.fleetHoldPrefix + "%"]
            ).map { row in
                let id: SnapshotID = try row.identifier("id")
                return Record.Held(
                    snapshot: id.description, name: row["name"], reason: row["reason"], actor: row["actor"],
                    at: row["at"])
            }
            let record = Record(
                version: 1, revision: try Self.revision(in: database), policies: policies, holds: holds)
            return Array(try CanonicalJSON.text(record).utf8)
        }
    }

    /// Puts the policies and holds of a record into this catalog; those of the same name are replaced.
    ///
    /// - Throws: `CatalogError.damaged` for bytes that are no record of this version, before anything is changed.
    package func restoreRetention(from bytes: [UInt8]) async throws(CatalogError) -> RestoredRetention {
        // What is wrong with the bytes says no more than that they are wrong.
        guard let record = try? JSONDecoder().decode(Record.self, from: Data(bytes)), record.version == 1 else {
            throw .damaged(column: "retention record")
        }
        return try await write { database in
            var restored = RestoredRetention()
            for policy in record.policies {
                guard let scope = RetentionScope(policy.scope) else { throw CatalogError.damaged(column: "scope") }
                let entry = PolicyEntry(
                    scope: scope, terms: policy.terms, actor: policy.actor,
                    at: Timestamp(microseconds: policy.at))
                // Only what holds today's checks may be stored.
                _ = try ScopedPolicy(entry)
                try Self.insert(entry, into: database)
                restored.policies += 1
            }
            for held in record.holds {
                guard let id = SnapshotID(held.snapshot) else { throw CatalogError.damaged(column: "snapshot") }
                let hold = Hold(
                    name: held.name, reason: held.reason, actor: held.actor, at: Timestamp(microseconds: held.at))
                let number: Int64? = try database.value("SELECT number FROM snapshot WHERE id = ?", [id.blob])
                guard let number, try Self.insert(hold, of: number, into: database) else {
                    restored.unknownSnapshots.append(id)
                    continue
                }
                restored.holds += 1
            }
            try Self.setRevision(record.revision, in: database)
            return restored
        }
    }
}
