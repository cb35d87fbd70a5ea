import Foundation
import GRDB
package import MusterModel

/// How a node leaves the fleet: by its own way, retired, or because its keys are not trusted any more, revoked.
///
/// Both end its certificates for good and close its jobs; its snapshots stay listed and restorable. A revoked node can
/// be retired later, which frees its name; there is no way back.
extension Catalog {
    package enum EndOutcome: Sendable {
        /// - Parameters:
        ///   - lostStores: numbers of stores on the node that were given up.
        ///   - restores: that it was ordered to do, and that ended with it.
        case ended(closedJobs: Int, lostStores: [Int64], restores: [Restore])
        /// It keeps stores that were not given up, with these names.
        case keepsStores([String])
        case notActive
    }

    /// The node leaves: its name is free for another one.
    ///
    /// - Returns: nil where there is no such node.
    @discardableResult
    package func retire(
        _ node: NodeID, at now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> EndOutcome? {
        try await write(auditingEach: Self.rows(row)) { database -> EndOutcome? in
            guard let state = try Self.state(of: node, in: database) else { return nil }
            guard state != .retired else { return .notActive }
            let stores = try Self.stores(on: node, in: database)
            guard stores.isEmpty else { return .keepsStores(stores.map(\.name)) }
            let (closedJobs, restores) = try Self.end(node, as: .retired, at: now, in: database)
            return .ended(closedJobs: closedJobs, lostStores: [], restores: restores)
        }
    }

    /// Every certificate of the node stops counting, it can renew no more, and what it stored for others is given up.
    ///
    /// - Returns: nil where there is no such node.
    @discardableResult
    package func revoke(
        _ node: NodeID, at now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> EndOutcome? {
        try await write(auditingEach: Self.rows(row)) { database -> EndOutcome? in
            guard let state = try Self.state(of: node, in: database) else { return nil }
            guard state == .active else { return .notActive }
            let stores = try Self.stores(on: node, in: database).map(\.number)
            for store in stores {
                try database.run("UPDATE store SET state = 'lost' WHERE number = ?", [store])
            }
            let (closedJobs, restores) = try Self.end(node, as: .revoked, at: now, in: database)
            return .ended(closedJobs: closedJobs, lostStores: stores, restores: restores)
        }
    }

    /// The row of the end, and one for each restore that ended with the node.
    private static func rows(_ row: AuditRow?) -> @Sendable (EndOutcome?) -> [AuditRow] {
        { outcome in
            guard let row, case .ended(_, _, let restores)? = outcome else { return [] }
            return [row] + restores.map { endRow(of: $0, actor: row.actor, at: row.at) }
        }
    }

    package func isActive(_ node: NodeID) async throws(CatalogError) -> Bool {
        try await read { try Self.isActive(node, in: $0) }
    }

    static func isActive(_ node: NodeID, in database: GRDB.Database) throws -> Bool {
        try state(of: node, in: database) == .active
    }

    private static func state(of node: NodeID, in database: GRDB.Database) throws -> Node.State? {
        let word: String? = try database.value("SELECT state FROM node WHERE id = ?", [node.blob])
        return try word.map { word in
            guard let state = Node.State(rawValue: word) else { throw CatalogError.damaged(column: "node.state") }
            return state
        }
    }

    /// Those that count.
    private static func stores(
        on node: NodeID, in database: GRDB.Database
    ) throws -> [(number: Int64, name: String)] {
        try database.rows(
            "SELECT number, name FROM store WHERE node = ? AND state <> 'lost' ORDER BY number", [node.blob]
        ).map { ($0["number"], $0["name"]) }
    }

    /// - Returns: how many jobs were closed, and which restores onto it.
    private static func end(
        _ node: NodeID, as state: Node.State, at now: Timestamp, in database: GRDB.Database
    ) throws -> (closedJobs: Int, restores: [Restore]) {
        try database.run(
            "UPDATE node SET state = ?, ended_at = coalesce(ended_at, ?) WHERE id = ?",
            [state.rawValue, now.microseconds, node.blob])
        try database.run(
            "UPDATE certificate SET revoked_at = ? WHERE node = ? AND revoked_at IS NULL",
            [now.microseconds, node.blob])
        // Nobody protects them any more: no freshness is expected of them.
        try database.run("UPDATE database SET state = ? WHERE node = ?", [removedState, node.blob])
        let restores = try endRestores(onto: node, "the node was \(state.rawValue)", now: now, in: database)
        let jobs = try database.rows(
            jobQuery + " WHERE j.node = ? AND j.state IN ('queued', 'running')", [node.blob]
        ).map(job)
        for var job in jobs {
            (job.state, job.errorSummary) = (.failed, "node '\(job.nodeName)' was \(state.rawValue)")
            job.errorHint = "Nothing more comes from this node; its snapshots stay, and open with the recovery key."
            try database.run(
                "UPDATE job SET state = 'failed', finished_at = ?, error_summary = ?, error_hint = ? WHERE id = ?",
                [now.microseconds, job.errorSummary, job.errorHint, job.id.blob])
            try conclude(job, [], now: now, in: database)
        }
        return (jobs.count, restores)
    }
}
