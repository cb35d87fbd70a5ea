import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Snapshots and the objects they need. A node sees its own, and what an open restore grants it; a person everything.
extension Coordinator {
    private static let usualCount = 1000
    /// The longest restore that gc waits for.
    private static let pinDuration = Duration.seconds(24 * 3600)

    func listSnapshots(_ call: Call) async throws -> Response {
        let limit = try Self.rowLimit(call) ?? Self.usualCount
        // One more than shown tells whether there is a next page.
        var query = Catalog.SnapshotQuery(limit: limit + 1)
        query.node = try await listedNode(call)
        if let name = call.query("database") {
            let databases = try await databases(named: name, of: query.node)
            guard !databases.isEmpty else {
                // A name may be anybody's; an id is one node's.
                let id = DatabaseID(name)
                let isAnothers = if query.node != nil, let id { try await catalog.database(id) != nil } else { false }
                throw Refusal.notFound("database '\(name)'", isAnothers: isAnothers)
            }
            query.databases = databases.map(\.id)
        }
        if let label = call.query("label") {
            let parts = label.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Refusal.invalid("label '\(label)' is not KEY=VALUE", hint: "Write it as in env=prod.")
            }
            query.label = (parts[0], parts[1])
        }
        if let name = call.query("fleet_snapshot") {
            guard try await catalog.fleetSnapshot(name) != nil else {
                throw Refusal.notFound("fleet snapshot '\(name.prefix(80))'")
            }
            // Members carry it as a label too, which has an index; another label is looked at besides.
            query.fleetSnapshot = name
            query.label = query.label ?? (Catalog.fleetLabel, name)
        }
        if let moment = try Self.time(call, "at") { return try await showNewest(call, query, at: moment) }
        query.isExpired = call.query("expired") == "true"
        query.since = try Self.time(call, "since")
        query.until = try Self.time(call, "until")
        if let pack = call.query("pack") {
            guard let id = PackID(pack) else { throw Refusal.notFound("pack '\(pack.prefix(80))'") }
            query.pack = id
        }
        if let after = call.query("after") {
            guard let id = SnapshotID(after) else {
                throw Refusal.invalid("'after' is no snapshot id", hint: "Pass 'next' of the page before.")
            }
            query.after = id
        }
        let found = try await catalog.snapshots(query)
        var answer = Muster_V1_SnapshotList()
        answer.snapshots = found.prefix(limit).map { message(of: $0) }
        if found.count > limit { answer.next = found[limit - 1].id.description }
        return try call.answer(answer)
    }

    private func showNewest(
        _ call: Call, _ query: Catalog.SnapshotQuery, at moment: Timestamp
    ) async throws -> Response {
        guard let databases = query.databases else {
            throw Refusal.invalid("'at' needs a database", hint: "Name it with 'database', and its node with 'node'.")
        }
        var answer = Muster_V1_SnapshotList()
        answer.snapshots = try await catalog.newest(of: databases, at: moment).map { [message(of: $0)] } ?? []
        return try call.answer(answer)
    }

    func showSnapshot(_ call: Call) async throws -> Response {
        try call.answer(message(of: try await snapshot(call.parameters[0], for: call.caller)))
    }

    /// Whoever reads a manifest is about to read packs, so the snapshot is pinned. One that is forgotten is still read,
    /// by those who restore what is based on it.
    func readManifest(_ call: Call) async throws -> Response {
        let snapshot = try await snapshotToRead(call)
        // An order pins its snapshot itself, and for as long as it stands.
        let isOrdered = call.caller.role == .node && call.query("grant") != nil
        if !snapshot.isForgotten, !isOrdered {
            _ = try await catalog.pin(snapshot.id, .restore, for: Self.pinDuration, now: clock.now())
        }
        let replicas = try await asked(stores.readable(snapshot.replicas), call) { replica in
            guard let generation = Generation(replica.generation) else {
                throw CatalogError.damaged(column: "generation")
            }
            let known = replica.manifestState == .present
            return (.manifest(SnapshotPlace(snapshot), generation), known, .snapshot(snapshot.id, replica.store))
        }
        return try await stream(replicas, call) { _ in true }
    }

    /// The bytes as they are stored: the client checks them against the id it asked for, and asks again where they are
    /// not those.
    func readPack(_ call: Call) async throws -> Response {
        let text = call.parameters[0]
        guard let id = PackID(text) else { throw Refusal.notFound("pack '\(text)'") }
        let scope = try await scopeToRead(id, call)
        let found = stores.readable(try await catalog.replicas(of: id, in: scope))
        guard !found.isEmpty else {
            throw Refusal.notFound("pack \(id)", isAnothers: try await isAnothers(id, than: scope))
        }
        let replicas = try await asked(found, call) { replica in
            (.pack(id, try Self.generation(replica)), replica.state == .present, .pack(replica.pack, replica.store))
        }
        return try await stream(replicas, call) { wanted in
            // A copy that is gone or short counts as good no longer.
            let known = found.first { .pack($0.replica.pack, $0.replica.store) == wanted.suspicion }
            guard let known else { return false }
            return try await isThere(known.replica, in: known.store)
        }
    }

    /// Whether a pack is there, and not in this scope.
    func isAnothers(_ id: PackID, than scope: ScopeID?) async throws -> Bool {
        guard let scope, try await catalog.replicas(of: id, in: scope).isEmpty else { return false }
        return try await !catalog.replicas(of: id, in: nil).isEmpty
    }

    private static func generation(_ replica: Catalog.PackReplica) throws -> Generation {
        guard let generation = Generation(replica.generation) else { throw CatalogError.damaged(column: "generation") }
        return generation
    }

    /// The coordinator can tell a good record by itself, and gives no other.
    func readKeys(_ call: Call) async throws -> Response {
        let node = try await node(call.parameters[0], for: call.caller)
        guard let key = VerifyingKey(bytes: node.signingKey) else { throw CatalogError.damaged(column: "signing_key") }
        var failure: (any Error)?
        for replica in try await catalog.keyReplicas(of: node.id).sorted(by: {
            $0.state == .present && $1.state != .present
        }) {
            guard let store = stores[replica.store], !store.isAway else { continue }
            do {
                if let bytes = try await goodKeys(replica, of: node.id, key, in: store) {
                    return Self.answer(bytes, of: store)
                }
                failure = failure ?? Refusal.objectMissing(replica.object, store: store.name)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? Refusal.notFound("key record of node '\(node.name)' in any store that answers")
    }

    /// A snapshot by id or by an unambiguous prefix of at least 6 digits.
    func snapshot(
        _ text: String, for caller: Caller, evenIfForgotten: Bool = false
    ) async throws -> Catalog.Snapshot {
        guard (6...32).contains(text.utf8.count), text.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
            throw Refusal.invalid(
                "'\(text.prefix(80))' is no snapshot id", hint: "Give the id, or its first 6 digits or more.")
        }
        var owner: NodeID?
        if case .node(let own, _, _) = caller { owner = own }
        let found = try await catalog.snapshots(
            withPrefix: text, of: owner, limit: 2, evenIfForgotten: evenIfForgotten)
        guard found.count < 2 else {
            throw Refusal.invalid("more than one snapshot begins with '\(text)'", hint: "Give more digits of the id.")
        }
        guard let snapshot = found.first else {
            let others =
                owner == nil
                ? []
                : try await catalog.snapshots(
                    withPrefix: text, of: nil, limit: 1, evenIfForgotten: evenIfForgotten)
            throw Refusal.notFound("snapshot '\(text)'", isAnothers: !others.isEmpty)
        }
        return snapshot
    }

    /// A node by name or id; a node knows itself only.
    func node(_ text: String, for caller: Caller) async throws -> Catalog.Node {
        let byID: Catalog.Node? =
            if let id = NodeID(text) { try await catalog.node(id) } else { try await catalog.node(named: text) }
        guard let node = byID else { throw Refusal.notFound("node '\(text)'") }
        if case .node(let own, _, _) = caller, own != node.id {
            throw Refusal.notFound("node '\(text)'", isAnothers: true)
        }
        return node
    }

    /// Databases by id or name.
    func databases(named text: String, of node: NodeID?) async throws -> [Catalog.Database] {
        if let id = DatabaseID(text), let database = try await catalog.database(id) {
            return node == nil || node == database.node ? [database] : []
        }
        return try await catalog.databases(named: text, of: node)
    }

    /// Whose snapshots a list shows: a node's own, whatever it asks for.
    func listedNode(_ call: Call) async throws -> NodeID? {
        if case .node(let own, _, _) = call.caller { return own }
        guard let text = call.query("node") else { return nil }
        return try await node(text, for: call.caller).id
    }

    private static func time(_ call: Call, _ name: String) throws -> Timestamp? {
        guard let text = call.query(name) else { return nil }
        guard let time = Timestamp(text) else {
            throw Refusal.invalid("'\(text)' is no time", hint: "Write it as in 2026-11-23T12:00:00Z.")
        }
        return time
    }
}
