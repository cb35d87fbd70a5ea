import Foundation
import GRDB
package import MusterModel

/// A store that was given up: nothing in it counts as a replica any more, so that what is nowhere else is asked for again.
extension Catalog {
    /// What a step forgot of a lost store.
    package struct LostStep: Sendable {
        package var count = 0
        /// Snapshots that no store has any more.
        package var lost: [SnapshotID] = []
    }

    /// Forgets up to `limit` replicas of a lost store. Its objects are nobody's business: it is not there.
    ///
    /// - Returns: a count of 0 where nothing is left of it.
    package func forgetReplicas(
        ofLostStore store: Int64, limit: Int = collectionStep
    ) async throws(CatalogError) -> LostStep {
        try await write { database in
            var step = LostStep()
            let isLost = try database.row("SELECT 1 FROM store WHERE number = ? AND state = 'lost'", [store]) != nil
            guard isLost else { return step }
            for row in try database.rows(Self.anyPacksQuery, [store, limit]) {
                let pack: Int64 = row["pack"]
                try database.run("DELETE FROM pack_replica WHERE pack = ? AND store = ?", [pack, store])
                try Self.count(wanting: pack, in: database)
                step.count += 1
            }
            // What their packs need comes first: what is lost is named with all of it.
            guard step.count == 0 else { return step }
            for row in try database.rows(Self.anyManifestsQuery, [store, limit]) {
                let number: Int64 = row["snapshot"]
                try database.run("DELETE FROM manifest_replica WHERE snapshot = ? AND store = ?", [number, store])
                step.count += 1
                if let row = try database.row(Self.nowhereQuery, [number]) {
                    step.lost.append(try row.identifier("id"))
                }
            }
            for statement in Self.lostStatements where step.count < limit {
                try database.run(statement, [store, limit])
                step.count += database.changesCount
            }
            return step
        }
    }

    static let anyPacksQuery = "SELECT pack FROM pack_replica INDEXED BY pack_replica_by_age WHERE store = ? LIMIT ?"
    static let anyManifestsQuery = """
        SELECT snapshot FROM manifest_replica INDEXED BY manifest_replica_by_age WHERE store = ? LIMIT ?
        """
    /// Of a snapshot that somebody may want to restore.
    static let nowhereQuery = """
        SELECT s.id FROM snapshot s WHERE s.number = ?1 AND s.forgotten_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM manifest_replica r WHERE r.snapshot = ?1)
        """
    static let lostStatements = [
        """
        DELETE FROM key_replica WHERE store = ?1 AND node IN
            (SELECT node FROM key_replica INDEXED BY key_replica_by_age WHERE store = ?1 LIMIT ?2)
        """,
        """
        DELETE FROM replication WHERE number IN (SELECT number FROM replication WHERE store = ?1 LIMIT ?2)
        """,
        """
        DELETE FROM discarded_object WHERE number IN (SELECT number FROM discarded_object WHERE store = ?1 LIMIT ?2)
        """,
    ]
}
