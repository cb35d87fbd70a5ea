import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import NIOCore

/// Snapshots and the objects they need. A node sees its own, and what an open restore grants it; a person everything.
extension Coordinator {
    private static let defaultLimit = 1000
    private static let largestLimit = 10_000
    private static let pieceBytes: UInt64 = 256 << 10
    /// The longest restore that gc waits for.
    private static let pinDuration = Duration.seconds(24 * 3600)

    func listSnapshots(_ call: Call) async throws -> Response {
        let limit = try Self.limit(call)
        // One more than shown tells whether there is a next page.
        var query = Catalog.SnapshotQuery(limit: limit + 1)
        query.node = try await listedNode(call)
        if let name = call.query("database") {
            let databases = try await databases(named: name, of: query.node)
            guard !databases.isEmpty else { throw Refusal.notFound("database '\(name)'") }
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
        if !snapshot.isForgotten {
            _ = try await catalog.pin(snapshot.id, .restore, for: Self.pinDuration, now: clock.now())
        }
        var failure: (any Error)?
        for (replica, store) in stores.readable(snapshot.replicas) {
            guard let generation = Generation(replica.generation) else {
                throw CatalogError.damaged(column: "generation")
            }
            do {
                return try await stream(.manifest(SnapshotPlace(snapshot), generation), in: store, call)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? Refusal.notFound("manifest of snapshot \(snapshot.id) in any store")
    }

    /// The bytes as they are stored: the client checks them against the id it asked for.
    func readPack(_ call: Call) async throws -> Response {
        let text = call.parameters[0]
        guard let id = PackID(text) else { throw Refusal.notFound("pack '\(text)'") }
        let scope = try await scopeToRead(id, call)
        let readable = stores.readable(try await catalog.replicas(of: id, in: scope))
        var failure: (any Error)?
        for (replica, store) in readable where replica.state == .present {
            do {
                // A copy that is gone or short counts as good no longer.
                guard try await isThere(replica, in: store) else { continue }
                return try await stream(.pack(id, Self.generation(replica)), in: store, call)
            } catch {
                failure = failure ?? error
            }
        }
        // One that is wanting is given only where there is no other, and as it is.
        for (replica, store) in readable where !store.isAway {
            do {
                return try await stream(.pack(id, Self.generation(replica)), in: store, call)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? Refusal.notFound("pack \(id)")
    }

    private static func generation(_ replica: Catalog.PackReplica) throws -> Generation {
        guard let generation = Generation(replica.generation) else { throw CatalogError.damaged(column: "generation") }
        return generation
    }

    func readKeys(_ call: Call) async throws -> Response {
        let node = try await node(call.parameters[0], for: call.caller)
        var failure: (any Error)?
        for replica in try await catalog.keyReplicas(of: node.id).sorted(by: {
            $0.state == .present && $1.state != .present
        }) {
            guard let store = stores[replica.store], let name = ObjectName(replica.object), !store.isAway else {
                continue
            }
            do { return try await stream(name, in: store, call) } catch { failure = failure ?? error }
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
        guard let snapshot = found.first else { throw Refusal.notFound("snapshot '\(text)'") }
        return snapshot
    }

    /// A node by name or id; a node knows itself only.
    func node(_ text: String, for caller: Caller) async throws -> Catalog.Node {
        let byID: Catalog.Node? =
            if let id = NodeID(text) { try await catalog.node(id) } else { try await catalog.node(named: text) }
        guard let node = byID else { throw Refusal.notFound("node '\(text)'") }
        if case .node(let own, _, _) = caller, own != node.id { throw Refusal.notFound("node '\(text)'") }
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

    private static func limit(_ call: Call) throws -> Int {
        guard let text = call.query("limit") else { return defaultLimit }
        guard let limit = Int(text), limit > 0 else {
            throw Refusal.invalid("limit '\(text)' is no number above 0", hint: "Give a number such as 100.")
        }
        return min(limit, largestLimit)
    }

    private static func time(_ call: Call, _ name: String) throws -> Timestamp? {
        guard let text = call.query(name) else { return nil }
        guard let time = Timestamp(text) else {
            throw Refusal.invalid("'\(text)' is no time", hint: "Write it as in 2026-11-23T12:00:00Z.")
        }
        return time
    }

    /// Streams an object, or the one range that the request asks for, in pieces.
    private func stream(_ name: ObjectName, in store: OpenStore, _ call: Call) async throws -> Response {
        guard let size = try await store.store.byteCount(of: name) else {
            throw Refusal.objectMissing(name.description, store: store.name)
        }
        var headers = HTTPFields()
        headers[.contentType] = "application/octet-stream"
        headers[.acceptRanges] = "bytes"
        var range: Range<UInt64> = 0..<size
        var status = HTTPResponse.Status.ok
        if let wanted = call.request.headers[.range] {
            guard let part = ByteRange.parse(wanted, size: size) else {
                throw Refusal(
                    .rangeNotSatisfiable, "range", "object \(name) has no bytes '\(wanted)'",
                    hint: "The object has \(size) bytes; it may be damaged: verify the snapshot.")
            }
            range = part
            status = .partialContent
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"
        }
        return Response(status: status, headers: headers, body: Self.body(of: name, in: store, range))
    }

    private static func body(of name: ObjectName, in store: OpenStore, _ range: Range<UInt64>) -> ResponseBody {
        ResponseBody(contentLength: Int(range.count)) { writer in
            var position = range.lowerBound
            while position < range.upperBound {
                let end = min(range.upperBound, position + Self.pieceBytes)
                let bytes = try await store.store.read(name, range: position..<end)
                try await writer.write(ByteBuffer(bytes: bytes))
                position = end
            }
            try await writer.finish(nil)
        }
    }
}

enum ByteRange {
    /// One range of RFC 9110 section 14.1.2, cut to the object's size; nil where nothing of it is there.
    static func parse(_ text: String, size: UInt64) -> Range<UInt64>? {
        guard let match = text.wholeMatch(of: #/bytes=(\d*)-(\d*)/#)?.output else { return nil }
        switch (UInt64(match.1), UInt64(match.2)) {
        case (let first?, let last?) where first <= last && first < size && last < UInt64.max:
            return first..<min(size, last + 1)
        case (let first?, nil) where match.2.isEmpty && first < size: return first..<size
        case (nil, let count?) where match.1.isEmpty && count > 0 && size > 0: return size - min(size, count)..<size
        default: return nil
        }
    }
}
