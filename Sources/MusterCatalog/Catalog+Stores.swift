import Foundation
import GRDB
package import MusterModel

/// The stores that the coordinator keeps replicas in.
extension Catalog {
    package enum StoreState: String, Sendable {
        case active
        /// Takes nothing new; what it has is copied elsewhere.
        case draining
        /// Given up: nothing in it counts as a replica any more.
        case lost
    }

    package struct StoreEntry: Hashable, Sendable {
        package let number: Int64
        package let name: String
        package let url: String
        /// The failure domain; "" where the store is one of its own.
        package let site: String
        /// The node whose machine holds it; nil for a store that is on none.
        package let node: NodeID?
        package private(set) var state: StoreState
        /// What the store says of itself; nil until it was opened for the first time.
        package let identity: StoreID?

        package init(
            number: Int64, name: String, url: String, site: String = "", node: NodeID? = nil,
            state: StoreState = .active, identity: StoreID? = nil
        ) {
            (self.number, self.name, self.url) = (number, name, url)
            (self.site, self.node, self.state) = (site, node, state)
            self.identity = identity
        }

        /// The same store in that state.
        package func placed(_ state: StoreState) -> StoreEntry {
            var entry = self
            entry.state = state
            return entry
        }
    }

    /// What a store lacks, as the catalog knows it. Each count ends at `countLimit`: a look at the fleet must not
    /// count millions of rows.
    package struct StoreStanding: Hashable, Sendable {
        package static let countLimit = 100_000

        /// Replicas that an inspection found damaged or missing.
        package let badReplicas: Int
        /// Copies that are wanted here and not there yet.
        package let wantedCopies: Int
        /// Why one of them is not there, where it was tried.
        package let reason: String
        /// Replicas that it holds: of snapshots, and of packs.
        package let snapshots: Int
        package let packs: Int
        /// Nothing of any node is in it, and nothing waits to be deleted there.
        package let isEmpty: Bool
    }

    package func add(
        store name: String, url: String, site: String = "", node: NodeID? = nil, identity: StoreID? = nil,
        at now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> StoreEntry {
        try await write(auditing: row) { database in
            try database.run(
                "INSERT INTO store(name, url, site, node, identity, added_at) VALUES (?, ?, ?, ?, ?, ?)",
                [name, url, site, node?.blob, identity?.blob, now.microseconds])
            return StoreEntry(
                number: database.lastInsertedRowID, name: name, url: url, site: site, node: node, identity: identity)
        }
    }

    package func stores() async throws(CatalogError) -> [StoreEntry] {
        try await read { database in
            try database.rows("SELECT * FROM store ORDER BY number", []).map { row in
                StoreEntry(
                    number: row["number"], name: row["name"], url: row["url"], site: row["site"],
                    node: try row.optionalIdentifier("node"), state: try row.word("state"),
                    identity: try row.optionalIdentifier("identity"))
            }
        }
    }

    /// Keeps for good which store it is.
    ///
    /// - Returns: the name of the store that is known to be this one, where that is another one; nil where it is kept.
    package func keep(_ identity: StoreID, ofStore number: Int64) async throws(CatalogError) -> String? {
        try await write { database in
            let known: String? = try database.value(
                "SELECT name FROM store WHERE identity = ? AND number <> ?", [identity.blob, number])
            if known == nil {
                try database.run(
                    "UPDATE store SET identity = ? WHERE number = ? AND identity IS NULL", [identity.blob, number])
            }
            return known
        }
    }

    /// Whatever is left then: for a rebuild, which finds what there is.
    package func set(_ state: StoreState, ofStore number: Int64) async throws(CatalogError) {
        try await write { try Self.set(state, ofStore: number, in: $0) }
    }

    /// Lets a store drain, takes it back, or gives it up; but another one that is active and on no node must be left.
    ///
    /// - Returns: false where there is none.
    package func change(
        _ state: StoreState, ofStore number: Int64, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool {
        try await write(auditing: row, if: { $0 }) { database in
            let other = try database.row(
                "SELECT 1 FROM store WHERE number <> ? AND state = 'active' AND node IS NULL", [number])
            guard state == .active || other != nil else { return false }
            try Self.set(state, ofStore: number, in: database)
            return true
        }
    }

    private static func set(_ state: StoreState, ofStore number: Int64, in database: GRDB.Database) throws {
        try database.run("UPDATE store SET state = ? WHERE number = ?", [state.rawValue, number])
    }

    package func standing(ofStore number: Int64) async throws(CatalogError) -> StoreStanding {
        try await read { database in
            guard let row = try database.row(Self.standingQuery, [number, StoreStanding.countLimit]) else {
                throw CatalogError.damaged(column: "store")
            }
            return StoreStanding(
                badReplicas: row["bad"], wantedCopies: row["wanted"], reason: row["reason"],
                snapshots: row["snapshots"], packs: row["packs"], isEmpty: row["is_empty"])
        }
    }

    /// Since when the copy is wanted that has been missing for the longest.
    package func oldestWant(inStore number: Int64) async throws(CatalogError) -> Timestamp? {
        try await read { database in
            let since: Int64? = try database.value(Self.oldestWantQuery, [number])
            return since.map(Timestamp.init(microseconds:))
        }
    }

    /// Snapshots that are still to be copied to a store, or again.
    package struct CopyDebt: Hashable, Sendable {
        /// Counted no further than to `StoreStanding.countLimit`.
        package let snapshots: Int
        /// There are more: so many that they are not counted, or others of which the store lacks a pack or the key record,
        /// which may be any number.
        package let hasMore: Bool
    }

    package func copyDebt(inStore number: Int64) async throws(CatalogError) -> CopyDebt {
        try await read { database in
            let row = try database.row(Self.copyDebtQuery, [number, StoreStanding.countLimit])
            let snapshots: Int = row?["snapshots"] ?? 0
            return CopyDebt(
                snapshots: snapshots, hasMore: row?["lacks_parts"] ?? false || snapshots == StoreStanding.countLimit)
        }
    }

    static let copyDebtQuery = """
        SELECT (SELECT count(*) FROM (SELECT 1 FROM replication WHERE store = ?1 AND kind = 'snapshot' LIMIT ?2))
                AS snapshots,
            EXISTS (SELECT 1 FROM replication WHERE store = ?1 AND kind IN ('pack', 'keys')) AS lacks_parts
        """
    static let oldestWantQuery = "SELECT min(wanted_at) FROM replication WHERE store = ?"

    static let standingQuery = """
        SELECT (SELECT count(*) FROM (SELECT 1 FROM pack_replica WHERE store = ?1 AND state <> 'present' LIMIT ?2))
            + (SELECT count(*) FROM (SELECT 1 FROM manifest_replica WHERE store = ?1
                AND (state <> 'present' OR receipt_state <> 'present') LIMIT ?2))
            + (SELECT count(*) FROM (SELECT 1 FROM key_replica WHERE store = ?1 AND state <> 'present' LIMIT ?2)) AS bad,
            (SELECT count(*) FROM (SELECT 1 FROM replication WHERE store = ?1 LIMIT ?2)) AS wanted,
            coalesce((SELECT reason FROM replication WHERE store = ?1 AND reason <> '' LIMIT 1), '') AS reason,
            (SELECT coalesce(sum(snapshots), 0) FROM holding WHERE store = ?1) AS snapshots,
            (SELECT coalesce(sum(packs), 0) FROM holding WHERE store = ?1) AS packs,
            NOT EXISTS (SELECT 1 FROM holding WHERE store = ?1 AND (snapshots > 0 OR packs > 0))
                AND NOT EXISTS (SELECT 1 FROM key_replica WHERE store = ?1)
                AND NOT EXISTS (SELECT 1 FROM discarded_object WHERE store = ?1) AS is_empty
        """
}
