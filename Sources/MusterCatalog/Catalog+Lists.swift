import GRDB
import MusterModel

/// How a list of snapshots is asked for.
extension Catalog {
    private static let order = " ORDER BY s.received_at DESC, s.number DESC"
    /// So many labelled snapshots are sorted; where there are more, a page of them is found soon by going back in time.
    static let mostSorted = 20_000

    /// The statement of a list: every filter is a search of an index, and the order is the index's.
    ///
    /// Where no index has the order, of several databases, of few labelled snapshots or of those that need a pack, only
    /// numbers and times are sorted, which one index holds, and then the rows of the page are fetched.
    ///
    /// - Parameter mostSorted: as that of the catalog; another one in tests.
    static func listStatement(
        _ query: SnapshotQuery, mostSorted: Int = Catalog.mostSorted, in database: GRDB.Database
    ) throws -> (sql: String, arguments: StatementArguments) {
        var filter = ListFilter()
        filter.add(query.isExpired ? "s.expired_at IS NOT NULL" : "s.expired_at IS NULL", [])
        // What is forgotten is marked too, so that only the list of marked ones has to look.
        if query.isExpired { filter.add("s.forgotten_at IS NULL", []) }
        try filter.add(query, in: database)
        if let name = query.fleetSnapshot {
            filter.add(
                """
                EXISTS (SELECT 1 FROM fleet_snapshot_item i JOIN fleet_snapshot f ON f.number = i.fleet_snapshot
                    WHERE i.snapshot = s.id AND f.name = ?)
                """, [name])
        }
        var source = "snapshot s"
        if query.databases?.count ?? 0 > 1 {
            // Else the index that has the order looks better, and the whole fleet is gone over.
            source += " INDEXED BY \(query.isExpired ? "snapshot_expired_by_database" : "snapshot_by_database_receipt")"
        }
        if query.pack != nil { source = "(\(packQuery)) n CROSS JOIN snapshot s ON s.number = n.number" }
        if let label = query.label {
            let arguments: StatementArguments = [label.key, label.value]
            let count = try Int.fetchOne(
                database,
                sql: "SELECT count(*) FROM (SELECT 1 FROM label WHERE key = ? AND value = ? LIMIT \(mostSorted + 1))",
                arguments: arguments)
            if count ?? 0 <= mostSorted, query.pack == nil {
                source = "label l CROSS JOIN snapshot s ON s.number = l.snapshot"
                filter.add("l.key = ? AND l.value = ?", arguments)
            } else {
                filter.add(
                    "EXISTS (SELECT 1 FROM label l WHERE l.key = ? AND l.value = ? AND l.snapshot = s.number)",
                    arguments)
            }
        }
        filter.arguments = StatementArguments(query.pack.map { [$0.blob] } ?? []) + filter.arguments + [query.limit]
        guard query.label != nil || query.pack != nil || query.databases?.count ?? 0 > 1 else {
            return (snapshotQuery + filter.text + order + " LIMIT ?", filter.arguments)
        }
        let page = "SELECT s.number FROM \(source)\(filter.text)\(order) LIMIT ?"
        return (
            "\(snapshotColumns) FROM (\(page)) p CROSS JOIN snapshot s ON s.number = p.number \(snapshotJoins)\(order)",
            filter.arguments
        )
    }

    private struct ListFilter {
        private var conditions: [String] = []
        var arguments = StatementArguments()

        var text: String { conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ") }

        mutating func add(_ condition: String, _ values: StatementArguments) {
            conditions.append(condition)
            arguments += values
        }

        /// All but the label.
        mutating func add(_ query: SnapshotQuery, in database: GRDB.Database) throws {
            if let databases = query.databases {
                let marks = databases.map { _ in "?" }.joined(separator: ", ")
                add("s.database IN (\(marks))", StatementArguments(databases.map(\.blob)))
                if let node = query.node { add("+s.node = ?", [node.blob]) }
            } else if let node = query.node {
                add("s.node = ?", [node.blob])
            }
            if let since = query.since { add("s.received_at >= ?", [since.microseconds]) }
            if let until = query.until { add("s.received_at <= ?", [until.microseconds]) }
            if let after = query.after {
                let last = try Row.fetchOne(
                    database, sql: "SELECT received_at, number FROM snapshot WHERE id = ?", arguments: [after.blob])
                let (time, number): (Int64, Int64) = last.map { ($0[0], $0[1]) } ?? (Int64.min, 0)
                add("(s.received_at, s.number) < (?, ?)", [time, number])
            }
        }
    }
}
