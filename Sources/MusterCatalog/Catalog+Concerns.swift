import GRDB
package import MusterModel

/// What may be the matter with databases, looked for in the whole fleet. However much it is, few rows are read whole.
extension Catalog {
    /// A database that something is the matter with, and how many such there are.
    package struct Concern: Hashable, Sendable {
        package let database: Database
        /// When it was last as it should be, or since when it is not; nil where that is not known.
        package let since: Timestamp?
        /// How many of its node, and of the whole fleet.
        package let ofNode: Int
        package let ofFleet: Int
    }

    /// What may be the matter with a database.
    package enum Matter: Hashable, Sendable {
        /// It has snapshots, none of which passed an inspection as deep since then.
        case uninspected(VerificationLevel, since: Timestamp)
        /// No snapshot can be taken of it.
        case failing
        /// Its changes have been without a receipt for too long.
        case stuck(Patience)
    }

    /// Databases with which that is the matter, of each node those with which it was first; a bounded number of each.
    ///
    /// - Parameter limit: of those that are read; the counts are whole.
    package func concerns(_ matter: Matter, limit: Int) async throws(CatalogError) -> [Concern] {
        try await read { database in
            let places = try Row.fetchCursor(
                database.cachedStatement(sql: Self.concernedQuery(matter)), arguments: matter.arguments)
            var shares = NodeShares(atMost: Self.alarmsOfANode)
            while let row = try places.next() {
                shares.add(NodeShares.Place(waitsSince: row[2], number: row[1]), of: row[0])
            }
            let first = shares.first(limit)
            let rows = try database.list(
                Self.numberedQuery, [first.map(\.place.number).description],
                { (number: $0["number"] as Int64, database: try Self.database($0)) })
            let databases = Dictionary(uniqueKeysWithValues: rows.map { ($0.number, $0.database) })
            return first.compactMap { share in
                databases[share.place.number].map { database in
                    Concern(
                        database: database, since: matter.since(of: database), ofNode: share.ofNode,
                        ofFleet: shares.count)
                }
            }
        }
    }

    /// Those of them that webhooks were told of.
    ///
    /// - Parameter kind: that of the alarms.
    package func toldConcerns(_ matter: Matter, as kind: AlarmKind) async throws(CatalogError) -> [DatabaseID] {
        try await read { database in
            let keys = try database.rows("SELECT key FROM standing_alarm WHERE kind = ?", [kind.rawValue])
            return try keys.compactMap { row -> DatabaseID? in
                let key: String = row["key"]
                guard let id = DatabaseID(String(key.dropFirst(kind.rawValue.utf8.count + 1))) else { return nil }
                let arguments = matter.arguments + [id.blob]
                return try database.row(Self.isConcernedQuery(matter), arguments) == nil ? nil : id
            }
        }
    }

    /// Numbers of node and database, and what they are ordered by. Nothing is sorted or counted here: to do that with
    /// window functions takes SQLite three times as long as to find the rows.
    static func concernedQuery(_ matter: Matter) -> String {
        """
        WITH concerned(node, number, waits_since) AS MATERIALIZED (
            SELECT n.number, d.rowid, \(matter.waitsSince)
            FROM database d CROSS JOIN node n ON n.id = d.node WHERE \(matter.condition))
        SELECT node, number, waits_since FROM concerned WHERE \(matter.holds)
        """
    }

    static func isConcernedQuery(_ matter: Matter) -> String {
        """
        SELECT 1 FROM (SELECT \(matter.waitsSince) AS waits_since FROM database d JOIN node n ON n.id = d.node
            WHERE \(matter.condition) AND d.id = ?) WHERE \(matter.holds)
        """
    }

    static let numberedQuery =
        databaseColumns + ", d.rowid AS number " + databaseTables + " WHERE d.rowid IN (SELECT value FROM json_each(?))"
}

extension Catalog.Matter {
    /// What its statements take first.
    fileprivate var arguments: StatementArguments {
        switch self {
        case .uninspected(_, let since): [since.microseconds]
        case .failing: []
        case .stuck(let patience): patience.arguments
        }
    }

    fileprivate var waitsSince: String {
        switch self {
        case .uninspected(let level, _):
            """
            coalesce(d.\(Catalog.column(of: level)),
                (SELECT min(l.started_at) FROM lineage l WHERE l.database = d.id))
            """
        case .failing: "coalesce(d.attempted_at, \(Int64.max))"
        case .stuck: "d.unprotected_since"
        }
    }

    /// What is looked up without what it waits since.
    fileprivate var condition: String {
        switch self {
        case .uninspected(let level, _):
            """
            n.state = 'active' AND d.newest_snapshot IS NOT NULL AND d.state <> '\(Catalog.removedState)'
                AND coalesce(d.\(Catalog.column(of: level)), \(Int64.min)) < ?1
            """
        case .failing: "d.state IN ('failing', 'unsupported')"
        // The first condition is the index's.
        case .stuck: "d.unprotected_since IS NOT NULL AND \(Catalog.stuckCondition)"
        }
    }

    fileprivate var holds: String {
        switch self {
        case .uninspected: "waits_since < ?1"
        case .failing, .stuck: "TRUE"
        }
    }

    fileprivate func since(of database: Catalog.Database) -> Timestamp? {
        switch self {
        case .uninspected(.check, _): database.checkedAt
        case .uninspected(.scrub, _): database.scrubbedAt
        case .uninspected(.verify, _): database.verifiedAt
        case .uninspected(.drill, _): database.drilledAt
        case .failing: database.attemptedAt
        case .stuck: database.unprotectedSince
        }
    }
}

/// Of each node the first few of what is found, and how much it is.
private struct NodeShares {
    /// Those that wait longest come first.
    struct Place: Comparable {
        var waitsSince: Int64
        /// Its row's.
        var number: Int64

        static func < (a: Self, b: Self) -> Bool { (a.waitsSince, a.number) < (b.waitsSince, b.number) }
    }

    private struct Share {
        var first: [Place] = []
        var count = 0

        mutating func add(_ place: Place, atMost most: Int) {
            count += 1
            guard first.count < most || first.last.map({ place < $0 }) == true else { return }
            first.insert(place, at: first.firstIndex { place < $0 } ?? first.endIndex)
            if first.count > most { first.removeLast() }
        }
    }

    /// In all.
    private(set) var count = 0
    /// By the node's number.
    private var shares: [Int64: Share] = [:]
    private let most: Int

    init(atMost most: Int) { self.most = most }

    mutating func add(_ place: Place, of node: Int64) {
        count += 1
        shares[node, default: Share()].add(place, atMost: most)
    }

    /// - Returns: with how many there are of its node.
    func first(_ limit: Int) -> [(place: Place, ofNode: Int)] {
        let all = shares.values.flatMap { share in share.first.map { (place: $0, ofNode: share.count) } }
        return Array(all.sorted { $0.place < $1.place }.prefix(limit))
    }
}
