import Foundation
import GRDB
package import MusterModel

/// Inspections that agents do: who is given one, and when a node is waited for no longer.
extension Catalog {
    /// A node that was not heard of for longer has no part in what the fleet does at once.
    private static let longestPoll = Duration.seconds(180)
    private static let givenUpAtOnce = 500

    /// The one inspection that the node is to do now, or nothing while it does one.
    ///
    /// What an earlier life of its agent was given, or what it has lost, comes first, and has its place in the fleet already.
    static func nextInspection(
        of node: NodeID, _ asking: Asking, atOnce: Int, now: Timestamp, in database: GRDB.Database
    ) throws -> [Job] {
        let running = try Row.fetchAll(database, sql: runningInspections, arguments: [node.blob]).map { row in
            (try job(row), row["boot"] as String)
        }
        guard !running.contains(where: { asking.has($0.0.id, ofLife: $0.1) }) else { return [] }
        if let again = running.first { return [again.0] }
        guard let row = try Row.fetchOne(database, sql: queuedInspections + " LIMIT 1", arguments: [node.blob]) else {
            return []
        }
        if atOnce < .max {
            let busy = try Int.fetchOne(
                database, sql: busyNodes, arguments: [(now - longestPoll).microseconds])
            guard busy ?? 0 < atOnce else { return [] }
        }
        return [try job(row)]
    }

    static let runningInspections =
        jobQuery + " WHERE j.node = ? AND j.kind = 'verify' AND j.state = 'running' ORDER BY j.number"
    static let queuedInspections =
        jobQuery + " WHERE j.node = ? AND j.kind = 'verify' AND j.state = 'queued' ORDER BY j.number"
    static let busyNodes = """
        SELECT count(*) FROM job j CROSS JOIN node n ON n.id = j.node
        WHERE j.kind = 'verify' AND j.state = 'running' AND coalesce(n.last_contact_at, n.joined_at) >= ?
        """

    /// Nodes that have an inspection to do and do none, in the order of their ids from `after` on, and round.
    package func nodesToInspect(after: NodeID, limit: Int) async throws(CatalogError) -> [NodeID] {
        try await read { database in
            var (nodes, last, hasTurned) = ([NodeID](), after, false)
            // Each step is one search of an index; half of them may find nodes that are busy.
            for _ in 0..<(limit * 2) where nodes.count < limit {
                let row = try Row.fetchOne(database, sql: Self.nodeToInspect, arguments: [last.blob])
                if let row {
                    last = try row.identifier("node")
                    if hasTurned, !last.blob.lexicographicallyPrecedes(after.blob) { break }
                    if !(row["is_busy"] as Bool) { nodes.append(last) }
                } else {
                    if hasTurned { break }
                    (last, hasTurned) = (NodeID.least, true)
                }
            }
            return nodes
        }
    }

    static let nodeToInspect = """
        SELECT j.node, EXISTS (SELECT 1 FROM job r WHERE r.node = j.node AND r.kind = 'verify' AND r.state = 'running')
            AS is_busy
        FROM job j WHERE j.kind = 'verify' AND j.state = 'queued' AND j.node > ? ORDER BY j.node LIMIT 1
        """

    /// Ends as unfinished what runs wait for from nodes that were silent for longer than the run's patience, and from
    /// nodes that do not belong to the fleet any more.
    ///
    /// - Parameter listeningSince: before that nobody could be heard.
    /// - Returns: how many; there may be more if it is not 0.
    package func giveUp(listeningSince: Timestamp, now: Timestamp) async throws(CatalogError) -> Int {
        let arguments: StatementArguments = [
            listeningSince.microseconds, now.microseconds, listeningSince.microseconds, now.microseconds,
            Self.givenUpAtOnce,
        ]
        let isDue = try await read { database in
            try Row.fetchOne(database, sql: Self.abandonedJobs, arguments: arguments) != nil
        }
        guard isDue else { return 0 }
        return try await write { database in
            let rows = try Row.fetchAll(database, sql: Self.abandonedJobs, arguments: arguments)
            for row in rows {
                let job = try Self.job(row)
                try Self.fail(
                    job, try Self.reason(row, job.nodeName), hint: Self.checkTheAgent, now: now, in: database)
            }
            return rows.count
        }
    }

    /// Nodes of which something would be given up now, by what the catalog knows.
    package func silentInspectors(
        listeningSince: Timestamp, now: Timestamp
    ) async throws(CatalogError) -> [NodeID] {
        try await read { database in
            let sql = "SELECT DISTINCT n.id " + Self.abandoned + " AND n.state = 'active'"
            let rows = try Row.fetchAll(
                database, sql: sql,
                arguments: [
                    listeningSince.microseconds, now.microseconds, listeningSince.microseconds, now.microseconds,
                ])
            return try rows.map { try $0.identifier("id") }
        }
    }

    private static func reason(_ row: Row, _ name: String) throws -> String {
        let state: String = row["node_state"]
        guard state == "active" else { return "node '\(name)' is \(state)" }
        return "node '\(name)' has been away since \(row.time("heard_at"))"
    }

    static let abandonedJobs = """
        SELECT j.*, n.name AS node_name, d.name AS database_name, n.state AS node_state,
            coalesce(n.last_contact_at, n.joined_at) AS heard_at
        """ + abandoned + " ORDER BY j.number LIMIT ?"
    private static let abandoned = """
         FROM node n CROSS JOIN job j ON j.node = n.id AND j.kind = 'verify' AND j.state IN ('queued', 'running')
        JOIN database d ON d.id = j.database JOIN verification v ON v.run = j.run AND v.state = 'running'
        WHERE (n.state <> 'active' OR max(coalesce(n.last_contact_at, n.joined_at), ?)
                + (SELECT coalesce(min(patience), 0) FROM verification WHERE state = 'running') < ?)
            AND (n.state <> 'active' OR max(coalesce(n.last_contact_at, n.joined_at), ?) + v.patience < ?)
        """
}

extension NodeID {
    fileprivate static var least: NodeID {
        guard let least = NodeID(bytes: [UInt8](repeating: 0, count: NodeID.byteCount)) else {
            preconditionFailure("an id has so many bytes")
        }
        return least
    }
}
