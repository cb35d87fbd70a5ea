import Foundation
import GRDB
package import MusterModel

/// Nodes, and the tokens that let them in.
extension Catalog {
    package struct Node: Hashable, Sendable {
        package enum State: String, Sendable {
            case active
            /// It left the fleet: its history stays, and its name is free.
            case retired
            /// Its keys are not trusted any more.
            case revoked
        }

        package var id: NodeID
        /// Its row's; 0 for one that is not in the catalog yet. Those that joined later have greater ones.
        package var number: Int64 = 0
        package var name: String
        package var scope: ScopeID
        /// Ed25519, 32 bytes.
        package var signingKey: [UInt8]
        /// Full store name of the node's key record.
        package var keyObject: String
        package var state: State
        /// When it was retired or revoked.
        package var endedAt: Timestamp?
        package var joinedAt: Timestamp
        package var lastContactAt: Timestamp?
        package var reportedAt: Timestamp?
        package var agentVersion: String
        /// The node's clock minus ours.
        package var clockOffset: Duration?
        /// Where the agent keeps its state; nil where it did not say.
        package var freeBytes: UInt64?
        package var certificateExpiresAt: Timestamp?
        package var databaseCount: Int
        package var snapshotCount: Int
        /// Of its packs, each once, in however many stores it is.
        package var packBytes: Int64 = 0

        package init(
            id: NodeID, name: String, scope: ScopeID, signingKey: [UInt8], keyObject: String, joinedAt: Timestamp,
            agentVersion: String
        ) {
            (self.id, self.name, self.scope) = (id, name, scope)
            (self.signingKey, self.keyObject) = (signingKey, keyObject)
            (self.joinedAt, self.agentVersion) = (joinedAt, agentVersion)
            (state, databaseCount, snapshotCount) = (.active, 0, 0)
        }
    }

    /// What a join brings; see `redeem`.
    package struct Registration: Sendable {
        package var secretHash: [UInt8]
        /// Hash over the whole request: the same request again is the same join.
        package var requestHash: [UInt8]
        package var node: Node
        package var certificate: Certificate
        package var certificatePEM: String

        package init(
            secretHash: [UInt8], requestHash: [UInt8], node: Node, certificate: Certificate, certificatePEM: String
        ) {
            (self.secretHash, self.requestHash, self.node) = (secretHash, requestHash, node)
            (self.certificate, self.certificatePEM) = (certificate, certificatePEM)
        }
    }

    package enum TokenState: Hashable, Sendable {
        case good
        /// Never made, out of time, for another node name, or used by another request.
        case refused
        /// This very request was served before: here is its certificate.
        case redeemed(certificatePEM: String)
        case nameTaken
    }

    /// - Returns: false where a node that is not retired has that name.
    package func invite(
        secretHash: [UInt8], nodeName: String, now: Timestamp, expiresAt: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool {
        try await write(auditing: row, if: { $0 }) { database in
            // Spent and expired tokens are of no use after a day.
            try database.execute(
                sql: "DELETE FROM token WHERE expires_at < ?",
                arguments: [(now - .seconds(24 * 3600)).microseconds])
            guard try !Self.isTaken(nodeName, in: database) else { return false }
            try database.execute(
                sql: "INSERT INTO token(secret_hash, node_name, created_at, expires_at) VALUES (?, ?, ?, ?)",
                arguments: [Data(secretHash), nodeName, now.microseconds, expiresAt.microseconds])
            return true
        }
    }

    /// Whether a join with this token would do, without using it up.
    package func token(
        secretHash: [UInt8], requestHash: [UInt8], nodeName: String, now: Timestamp
    ) async throws(CatalogError) -> TokenState {
        try await read { database in
            try Self.tokenState(secretHash, requestHash, nodeName, now, in: database)
        }
    }

    /// Uses the token up and registers the node, in one transaction: of parallel joins exactly one wins.
    package func redeem(
        _ registration: Registration, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> TokenState {
        try await write(auditing: row, if: { $0 == .good }) { database in
            let node = registration.node
            let state = try Self.tokenState(
                registration.secretHash, registration.requestHash, node.name, now, in: database)
            guard state == .good else { return state }
            let known = try Row.fetchOne(
                database, sql: "SELECT 1 FROM node WHERE id = ? OR scope = ?",
                arguments: [node.id.blob, node.scope.blob])
            guard known == nil else { return .refused }
            try database.execute(
                sql: """
                    UPDATE token SET used_at = ?, request_hash = ?, certificate = ? WHERE secret_hash = ?
                    """,
                arguments: [
                    now.microseconds, Data(registration.requestHash), registration.certificatePEM,
                    Data(registration.secretHash),
                ])
            try database.execute(
                sql: """
                    INSERT INTO node(id, name, scope, signing_key, key_object, state, joined_at, agent_version)
                    VALUES (?, ?, ?, ?, ?, 'active', ?, ?)
                    """,
                arguments: [
                    node.id.blob, node.name, node.scope.blob, Data(node.signingKey), node.keyObject,
                    node.joinedAt.microseconds, node.agentVersion,
                ])
            try Self.insert(registration.certificate, into: database)
            return .good
        }
    }

    package func node(_ id: NodeID) async throws(CatalogError) -> Node? {
        try await read { database in
            try database.list(Self.nodeQuery + " WHERE n.id = ?", [id.blob], Self.node).first
        }
    }

    /// Ed25519, 32 bytes; nil where there is no such node.
    package func signingKey(of node: NodeID) async throws(CatalogError) -> [UInt8]? {
        try await read { database in
            let key: Data? = try database.value("SELECT signing_key FROM node WHERE id = ?", [node.blob])
            return key.map([UInt8].init)
        }
    }

    /// The node that has the name now, else the one that was the last to have it.
    package func node(named name: String) async throws(CatalogError) -> Node? {
        try await read { database in
            try database.list(
                Self.nodeQuery + " WHERE n.name = ? ORDER BY n.state = 'retired', n.joined_at DESC LIMIT 1", [name],
                Self.node
            ).first
        }
    }

    /// All nodes by name; of one name the one that has it last.
    package func nodes() async throws(CatalogError) -> [Node] {
        try await read { database in
            try database.list(Self.nodeQuery + " ORDER BY n.name, n.state <> 'retired', n.joined_at", [], Self.node)
        }
    }

    /// Names that were invited and have not joined yet, with the time their token runs out.
    package func invitations(now: Timestamp) async throws(CatalogError) -> [(name: String, expiresAt: Timestamp)] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT node_name, max(expires_at) AS expires_at FROM token
                    WHERE used_at IS NULL AND expires_at > ? GROUP BY node_name ORDER BY node_name
                    """,
                arguments: [now.microseconds]
            ).map { ($0["node_name"], $0.time("expires_at")) }
        }
    }

    package func touch(_ node: NodeID, at now: Timestamp) async throws(CatalogError) {
        try await write { database in
            try database.execute(
                sql: "UPDATE node SET last_contact_at = ? WHERE id = ?", arguments: [now.microseconds, node.blob])
        }
    }

    private static func isTaken(_ name: String, in database: GRDB.Database) throws -> Bool {
        try Row.fetchOne(database, sql: "SELECT 1 FROM node WHERE name = ? AND state <> 'retired'", arguments: [name])
            != nil
    }

    private static func tokenState(
        _ secretHash: [UInt8], _ requestHash: [UInt8], _ nodeName: String, _ now: Timestamp, in database: GRDB.Database
    ) throws -> TokenState {
        let row = try Row.fetchOne(
            database, sql: "SELECT * FROM token WHERE secret_hash = ?", arguments: [Data(secretHash)])
        guard let row, row["node_name"] == nodeName, row.time("expires_at") > now else { return .refused }
        guard let certificate: String = row["certificate"] else {
            return try isTaken(nodeName, in: database) ? .nameTaken : .good
        }
        return row["request_hash"] == Data(requestHash) ? .redeemed(certificatePEM: certificate) : .refused
    }

    static let nodeQuery = """
        SELECT n.*,
            \(certificateEnd) AS not_after,
            (SELECT count(*) FROM database d WHERE d.node = n.id) AS database_count,
            (SELECT total(snapshot_count) FROM database d WHERE d.node = n.id) AS snapshot_count
        FROM node n
        """

    static func node(_ row: ListedRow) throws -> Node {
        var node = Node(
            id: try row.identifier("id"), name: row["name"], scope: try row.identifier("scope"),
            signingKey: row.byteArray("signing_key"), keyObject: row["key_object"], joinedAt: row.time("joined_at"),
            agentVersion: row["agent_version"])
        (node.number, node.state) = (row["number"], try row.word("state"))
        node.endedAt = row.optionalTime("ended_at")
        node.lastContactAt = row.optionalTime("last_contact_at")
        node.reportedAt = row.optionalTime("reported_at")
        node.clockOffset = row.span("clock_offset")
        node.freeBytes = row.byteCount("free_bytes")
        node.certificateExpiresAt = row.optionalTime("not_after")
        node.databaseCount = row["database_count"]
        let snapshots: Double = row["snapshot_count"]
        node.snapshotCount = Int(snapshots)
        node.packBytes = row["pack_bytes"]
        return node
    }
}
