import GRDB
package import MusterModel

/// The nodes of the whole fleet at once, without what is asked of one of them.
extension Catalog {
    /// A node as far as states and alarms go by it: each look at the fleet reads all of them.
    package struct NodeOutline: Hashable, Sendable {
        package var id: NodeID
        /// Its row's.
        package var number: Int64
        package var name: String
        package var state: Node.State
        package var joinedAt: Timestamp
        package var reportedAt: Timestamp?
        /// The node's clock minus ours.
        package var clockOffset: Duration?
        /// Where the agent keeps its state; nil where it did not say.
        package var freeBytes: UInt64?
        package var certificateExpiresAt: Timestamp?
        /// See `Node.packBytes`.
        package var packBytes: Int64

        package init(of node: Node) {
            (id, number, name, state) = (node.id, node.number, node.name, node.state)
            (joinedAt, reportedAt, clockOffset) = (node.joinedAt, node.reportedAt, node.clockOffset)
            (freeBytes, certificateExpiresAt) = (node.freeBytes, node.certificateExpiresAt)
            packBytes = node.packBytes
        }

        init(_ row: ListedRow) throws {
            (id, number, name) = (try row.identifier("id"), row["number"], row["name"])
            (state, joinedAt) = (try row.word("state"), row.time("joined_at"))
            (reportedAt, clockOffset) = (row.optionalTime("reported_at"), row.span("clock_offset"))
            (freeBytes, certificateExpiresAt) = (row.byteCount("free_bytes"), row.optionalTime("not_after"))
            packBytes = row["pack_bytes"]
        }
    }

    /// All nodes by name.
    package func nodeOutlines() async throws(CatalogError) -> [NodeOutline] {
        try await read { try $0.list(Self.outlineQuery, [], NodeOutline.init) }
    }

    static let outlineQuery = """
        SELECT n.id, n.number, n.name, n.state, n.joined_at, n.reported_at, n.clock_offset, n.free_bytes,
            n.pack_bytes, \(certificateEnd) AS not_after
        FROM node n ORDER BY n.name, n.number
        """

    static let certificateEnd =
        "(SELECT max(c.not_after) FROM certificate c WHERE c.node = n.id AND c.revoked_at IS NULL)"
}
