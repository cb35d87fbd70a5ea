import Foundation
import GRDB
package import MusterModel

/// Nodes and databases in pages: each begins where the one before ended, however many there are.
extension Catalog {
    /// Nodes by name; of one name the one that has it last.
    ///
    /// - Parameter after: the last one of the page before.
    package func nodes(after: NodeID?, limit: Int) async throws(CatalogError) -> [Node] {
        try await read { database in
            var arguments: StatementArguments = ["", 0]
            if let after {
                guard let last = try database.row("SELECT name, number FROM node WHERE id = ?", [after.blob]) else {
                    return []
                }
                arguments = [last["name"] as String, last["number"] as Int64]
            }
            arguments += [limit]
            return try database.list(Self.nodePage, arguments, Self.node)
        }
    }

    static let nodePage = nodeQuery + " WHERE (n.name, n.number) > (?, ?) ORDER BY n.name, n.number LIMIT ?"

    /// Rows of these nodes, in no order.
    package func nodes(_ ids: Set<NodeID>) async throws(CatalogError) -> [Node] {
        try await read { database in
            try ids.flatMap { try database.list(Self.nodeQuery + " WHERE n.id = ?", [$0.blob], Self.node) }
        }
    }

    /// Databases by node and name, of one node or of all.
    ///
    /// - Parameter after: the last one of the page before.
    package func databases(
        of node: NodeID? = nil, after: DatabaseID?, limit: Int
    ) async throws(CatalogError) -> [Database] {
        try await read { database in
            var last: Row?
            if let after {
                last = try database.row(Self.databasePlace, [after.blob])
                guard last != nil else { return [] }
            }
            let (name, number): (String, Int64) = (last?["name"] ?? "", last?["number"] ?? 0)
            if let node {
                return try database.list(Self.databasePageOfNode, [node.blob, name, number, limit], Self.database)
            }
            let (nodeName, nodeNumber): (String, Int64) = (last?["node_name"] ?? "", last?["node_number"] ?? 0)
            // The rest of that node first: then all that follows begins with another one.
            let rest =
                last == nil
                ? []
                : try database.list(
                    Self.databasePageOfNode, [(last?["node"] as Data?), name, number, limit], Self.database)
            guard rest.count < limit else { return rest }
            return try rest
                + database.list(Self.databasePage, [nodeName, nodeNumber, limit - rest.count], Self.database)
        }
    }

    static let databasePlace = """
        SELECT d.name, d.rowid AS number, d.node, n.name AS node_name, n.number AS node_number
        FROM database d JOIN node n ON n.id = d.node WHERE d.id = ?
        """
    static let databasePageOfNode =
        databaseQuery + " WHERE d.node = ? AND (d.name, d.rowid) > (?, ?) ORDER BY d.name, d.rowid LIMIT ?"
    static let databasePage =
        databaseColumns + """
             FROM node n CROSS JOIN database d ON d.node = n.id
            WHERE (n.name, n.number) > (?, ?) ORDER BY n.name, n.number, d.name, d.rowid LIMIT ?
            """
}
