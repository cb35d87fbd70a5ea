import Foundation
import GRDB
package import MusterModel

/// How a snapshot stands in one store: what it has of it in good copies, and what it lacks.
///
/// Where the parent's manifest is in the store, all that the parent needs was there once. What of it was found bad since
/// then is looked up by itself: it is little where all is well, and where it is much all that the snapshot needs is
/// looked at instead. So a receipt never names a store in which an older pack waits for its repair.
extension Catalog {
    /// How a snapshot that is about to be committed, or to be copied, stands in one store.
    package struct Standing: Hashable, Sendable {
        /// The manifest of the parent is there, and with it what the parent needs, but for what is lacking; true where
        /// there is no parent.
        package let hasParent: Bool
        /// The manifest of the base is there, and those that it is based on; true where there is none.
        package let hasBase: Bool
        package let hasKeys: Bool
        /// Packs that are not there in a good copy, by number; at most `limit`. Of a committed snapshot those that are good
        /// in no store do not count: nobody can bring them.
        package let lacking: [Int64]
    }

    /// More of a store's packs that wait for repair are not gone over at a commit.
    static let fewSuspects = 1000

    /// What a committed snapshot lacks in a store.
    ///
    /// Where the parent is whole there, only what began with this snapshot has to be looked at, and what was found bad.
    /// Of a forgotten one, which others are based on, nothing but its manifest is needed.
    package func standing(
        of snapshot: Snapshot, in store: Int64, limit: Int
    ) async throws(CatalogError) -> Standing {
        try await read { try Self.standing(of: snapshot, in: store, limit: limit, $0) }
    }

    static func standing(
        of snapshot: Snapshot, in store: Int64, limit: Int, _ database: GRDB.Database
    ) throws -> Standing {
        let hasParent = try snapshot.parent.map { try hasWhole($0, in: store, database) } ?? false
        var lacking: [Int64] = []
        if !snapshot.isForgotten {
            let arguments: StatementArguments = [snapshot.lineage.blob, Int64(snapshot.sequence), store, limit]
            if try hasParent && hasFewSuspects(in: store, database) {
                lacking = try database.rows(lackingNewQuery, arguments).map { $0["pack"] }
                let suspects: [Int64] = try database.rows(lackingSuspectQuery, arguments).map { $0["pack"] }
                lacking += suspects.filter { !lacking.contains($0) }.prefix(limit - lacking.count)
            } else {
                lacking = try database.rows(lackingQuery, arguments).map { $0["pack"] }
            }
        }
        return Standing(
            hasParent: hasParent,
            hasBase: try snapshot.base.map { try hasChain(of: $0, in: store, database) } ?? true,
            hasKeys: try hasKeys(of: snapshot.node, in: store, database), lacking: lacking)
    }

    /// How a commit stands in a store: whether the store could acknowledge it, and after which copies.
    ///
    /// Where the store has not the parent, all packs that the snapshot needs are looked at: it may have them all the same.
    /// - Parameter incoming: packs that come with the commit.
    package func standing(
        of commit: Commit, incoming: Set<PackID>, in store: Int64
    ) async throws(CatalogError) -> Standing {
        try await read { try Self.standing(of: commit, incoming: incoming, in: store, $0) }
    }

    static func standing(
        of commit: Commit, incoming: Set<PackID>, in store: Int64, _ database: GRDB.Database
    ) throws -> Standing {
        let hasParent = try commit.parent.map { try hasWhole($0, in: store, database) } ?? true
        let added = Set(commit.parent == nil ? commit.packs.added : commit.packsSinceParent.added)
        var lacking = try added.subtracting(incoming).sorted().compactMap { id -> Int64? in
            try database.value(lackingCommittedQuery, [id.blob, commit.scope.blob, store])
        }
        if commit.parent != nil {
            let ended = Set(commit.packsSinceParent.dropped)
            let isSuspected = try hasParent && hasFewSuspects(in: store, database)
            let query = isSuspected ? lackingLiveSuspectQuery : lackingLiveQuery
            for row in try database.rows(query, [commit.lineage.blob, store]) {
                let id: PackID = try row.digest("id")
                if !ended.contains(id), !added.contains(id), !incoming.contains(id) { lacking.append(row["number"]) }
            }
        }
        return Standing(
            hasParent: hasParent,
            hasBase: try commit.base.map { try hasChain(of: $0.snapshot, in: store, database) } ?? true,
            hasKeys: try hasKeys(of: commit.node, in: store, database), lacking: lacking)
    }

    /// The manifest is there, and so all that the snapshot needs, but for suspects. A forgotten one may lack packs.
    static func hasWhole(
        _ snapshot: SnapshotID, in store: Int64, _ database: GRDB.Database
    ) throws -> Bool {
        try database.row(
            """
            SELECT 1 FROM snapshot s JOIN manifest_replica r ON r.snapshot = s.number
            WHERE s.id = ? AND r.store = ? AND r.state = 'present' AND s.forgotten_at IS NULL
            """, [snapshot.blob, store]) != nil
    }

    /// The manifest is there, and so are all that it is based on: a reader needs every one of them.
    private static func hasChain(of snapshot: SnapshotID, in store: Int64, _ database: GRDB.Database) throws -> Bool {
        guard let row = try database.row(chainInStoreQuery, [snapshot.blob, store]) else { return false }
        let (links, held): (Int64, Int64) = (row["links"], row["held"])
        return links > 0 && held == links
    }

    private static func hasKeys(of node: NodeID, in store: Int64, _ database: GRDB.Database) throws -> Bool {
        try database.row(
            "SELECT 1 FROM key_replica WHERE node = ? AND store = ? AND state = 'present'", [node.blob, store]) != nil
    }

    private static func hasFewSuspects(in store: Int64, _ database: GRDB.Database) throws -> Bool {
        try database.value(suspectCountQuery, [store, fewSuspects]) ?? 0 < fewSuspects
    }

    /// Notes that a store lacks what the snapshot needs and no store has a good copy of, so that nobody takes the store for
    /// whole once it has the manifest, and each pack is brought as soon as it is good anywhere.
    ///
    /// - Parameter hasParent: then what the parent lacked is noted already.
    static func wantLost(
        of snapshot: Snapshot, in store: Int64, hasParent: Bool, now: Timestamp, _ database: GRDB.Database
    ) throws {
        guard !snapshot.isForgotten else { return }
        try database.run(
            hasParent ? wantLostNewStatement : wantLostStatement,
            [snapshot.lineage.blob, Int64(snapshot.sequence), store, now.microseconds])
    }

    // MARK: - Statements

    private static let lackingCondition = """
        NOT EXISTS (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?3 AND r.state = 'present')
        """
    /// No store has a good copy.
    private static let lostCondition = """
        EXISTS (SELECT 1 FROM pack p WHERE p.number = f.pack AND p.wanting)
        """
    private static let neededPacks = """
        (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
        UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
        """
    static let lackingNewQuery = """
        SELECT f.pack FROM pack_reference f WHERE f.lineage = ?1 AND f.born = ?2 AND \(lackingCondition)
            AND NOT \(lostCondition) LIMIT ?4
        """
    static let lackingQuery = """
        SELECT f.pack FROM \(neededPacks) WHERE \(lackingCondition) AND NOT \(lostCondition) LIMIT ?4
        """
    private static let wanting = """
        INSERT INTO replication(store, kind, subject, due_at, wanted_at) SELECT ?3, 'pack', f.pack, ?4, ?4
        """
    static let wantLostNewStatement = """
        \(wanting) FROM pack_reference f WHERE f.lineage = ?1 AND f.born = ?2 AND \(lackingCondition)
            AND \(lostCondition) ON CONFLICT DO NOTHING
        """
    static let wantLostStatement = """
        \(wanting) FROM \(neededPacks) WHERE \(lackingCondition) AND \(lostCondition) ON CONFLICT DO NOTHING
        """
    /// Packs of a store that were found bad, and those that it was found never to have had.
    private static func suspects(_ store: String) -> String {
        """
        (SELECT pack FROM pack_replica INDEXED BY pack_replica_bad WHERE store = \(store) AND state <> 'present'
        UNION ALL SELECT subject FROM replication WHERE store = \(store) AND kind = 'pack') b
        """
    }
    static let suspectCountQuery = """
        SELECT (SELECT count(*) FROM (SELECT 1 FROM pack_replica INDEXED BY pack_replica_bad
                WHERE store = ?1 AND state <> 'present' LIMIT ?2))
            + (SELECT count(*) FROM (SELECT 1 FROM replication WHERE store = ?1 AND kind = 'pack' LIMIT ?2))
        """
    static let lackingSuspectQuery = """
        SELECT DISTINCT f.pack FROM \(suspects("?3")) CROSS JOIN pack_reference f ON f.lineage = ?1 AND f.pack = b.pack
            AND f.born <= ?2 AND (f.died IS NULL OR f.died > ?2)
        WHERE \(lackingCondition) AND NOT \(lostCondition) LIMIT ?4
        """
    static let lackingLiveQuery = """
        SELECT p.number, p.id FROM pack_reference f JOIN pack p ON p.number = f.pack
        WHERE f.lineage = ?1 AND f.died IS NULL AND NOT EXISTS
            (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?2 AND r.state = 'present')
        """
    static let lackingLiveSuspectQuery = """
        SELECT DISTINCT p.number, p.id FROM \(suspects("?2"))
        CROSS JOIN pack_reference f ON f.lineage = ?1 AND f.pack = b.pack AND f.died IS NULL
        CROSS JOIN pack p ON p.number = f.pack
        WHERE NOT EXISTS
            (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?2 AND r.state = 'present')
        """
    static let lackingCommittedQuery = """
        SELECT p.number FROM pack p WHERE p.id = ?1 AND p.scope = ?2 AND NOT EXISTS
            (SELECT 1 FROM pack_replica r WHERE r.pack = p.number AND r.store = ?3 AND r.state = 'present')
        """
    static let chainInStoreQuery = """
        WITH RECURSIVE chain(number, base) AS (
            SELECT number, base FROM snapshot WHERE id = ?1
            UNION ALL SELECT s.number, s.base FROM chain c JOIN snapshot s ON s.id = c.base)
        SELECT count(*) AS links, count(r.snapshot) AS held FROM chain c
        LEFT JOIN manifest_replica r ON r.snapshot = c.number AND r.store = ?2 AND r.state = 'present'
        """
}
