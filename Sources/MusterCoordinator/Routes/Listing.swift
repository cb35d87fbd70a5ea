import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Nodes and databases in pages.
///
/// What one answer holds is bounded by rows and by bytes, and `listings` lets few be made at once: whoever asks for the
/// whole fleet gets it, page by page.
extension Coordinator {
    private static let usualRows = 1000
    private static let mostRows = 10_000
    /// Clients take 8 MiB.
    private static let mostBytes = 4 << 20
    /// What a database's message has besides its texts, at most.
    private static let bytesOfARow = 1024

    func listNodes(_ call: Call) async throws -> Response {
        let limit = try Self.rowLimit(call) ?? Self.usualRows
        let after = try Self.after(call, NodeID.init)
        let found = try await catalog.nodes(after: after, limit: limit + 1)
        var answer = Muster_V1_NodeList()
        if found.count > limit {
            answer.nodes = found.prefix(limit).map(Muster_V1_Node.init)
            answer.next = found[limit - 1].id.description
        } else {
            answer.nodes = try await withInvited(found)
        }
        return try call.answer(answer)
    }

    func showNode(_ call: Call) async throws -> Response {
        let node = try await node(call.parameters[0], for: call.caller)
        var answer = Muster_V1_Node(node)
        answer.grantKey = .init(try await catalog.grantKey(of: node.id) ?? [])
        answer.stores = stores.all.filter { $0.entry.node == node.id }.map(\.name)
        let page = try await databasePage(of: node.id, after: nil, limit: Self.usualRows)
        answer.databases = messages(of: page.databases, in: scene(of: [.init(of: node)], now: clock.now()))
        answer.nextDatabase = page.next
        return try call.answer(answer)
    }

    func listDatabases(_ call: Call) async throws -> Response {
        let limit = try Self.rowLimit(call) ?? Self.usualRows
        let after = try Self.after(call, DatabaseID.init)
        let node = try await listedNode(call)
        let page = try await databasePage(of: node, after: after, limit: limit)
        var answer = Muster_V1_DatabaseList()
        answer.databases = try await messages(of: page.databases)
        answer.next = page.next
        return try call.answer(answer)
    }

    /// - Returns: what one answer holds, and what to pass for the next page.
    private func databasePage(
        of node: NodeID?, after: DatabaseID?, limit: Int
    ) async throws -> (databases: [Catalog.Database], next: String) {
        let found = try await catalog.databases(of: node, after: after, limit: limit + 1)
        var (bytes, count) = (0, 0)
        for database in found.prefix(limit) {
            bytes += Self.bytesOfARow + database.path.utf8.count + database.name.utf8.count
            bytes += database.errorSummary.utf8.count + database.errorHint.utf8.count
            guard count == 0 || bytes <= Self.mostBytes else { break }
            count += 1
        }
        let shown = Array(found.prefix(count))
        return (shown, found.count > count ? shown.last?.id.description ?? "" : "")
    }

    /// The first databases and nodes, as `status` shows them.
    func firstOfFleet(
        _ call: Call, in scene: FleetScene
    ) async throws -> (databases: [Muster_V1_Database], nodes: [Muster_V1_Node]) {
        let limit = try Self.rowLimit(call) ?? Self.usualRows
        let page = try await databasePage(of: nil, after: nil, limit: limit)
        let nodes = try await catalog.nodes(after: nil, limit: min(limit, Self.usualRows))
        return (messages(of: page.databases, in: scene), try await withInvited(nodes))
    }

    /// Databases with how fresh their snapshots are.
    private func messages(of databases: [Catalog.Database]) async throws -> [Muster_V1_Database] {
        let nodes = try await catalog.nodes(Set(databases.map(\.node)))
        return messages(of: databases, in: scene(of: nodes.map(Catalog.NodeOutline.init), now: clock.now()))
    }

    private func messages(of databases: [Catalog.Database], in scene: FleetScene) -> [Muster_V1_Database] {
        databases.compactMap { database in
            guard let node = scene.silences[database.node] else { return nil }
            return Muster_V1_Database(
                database, Freshness(database, of: node, now: scene.now), silentSince: node.since)
        }
    }

    /// With those that were invited and have not joined.
    private func withInvited(_ joined: [Catalog.Node]) async throws -> [Muster_V1_Node] {
        var nodes = joined.map(Muster_V1_Node.init)
        for invitation in try await catalog.invitations(now: clock.now()) {
            var node = Muster_V1_Node()
            (node.name, node.state) = (invitation.name, "invited")
            nodes.append(node)
        }
        return nodes.sorted { $0.name < $1.name }
    }

    private static func after<ID>(_ call: Call, _ make: (String) -> ID?) throws -> ID? {
        guard let text = call.query("after") else { return nil }
        guard let id = make(text) else {
            throw Refusal.invalid("'after' is no id", hint: "Pass 'next' of the page before.")
        }
        return id
    }

    static func rowLimit(_ call: Call) throws -> Int? {
        guard let text = call.query("limit") else { return nil }
        guard let limit = Int(text), limit > 0 else {
            throw Refusal.invalid("limit '\(text.cut(40))' is no number above 0", hint: "Give a number such as 100.")
        }
        return min(limit, mostRows)
    }
}
