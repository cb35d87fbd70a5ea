import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The stores: which there are, how they stand, adding one, giving one up.
extension Coordinator {
    /// The walk over all snapshots that brings them to where they belong now; see `PlacementWalk`.
    static let placementWalk = "placement-walk"

    func listStores(_ call: Call) async throws -> Response {
        var answer = Muster_V1_StoreList()
        answer.stores = try await storeStatuses()
        return try call.answer(answer)
    }

    /// Side by side: one that does not answer keeps no other waiting.
    func storeStatuses() async throws -> [Muster_V1_StoreStatus] {
        let stores = stores.all
        return try await withThrowingTaskGroup(of: (index: Int, status: Muster_V1_StoreStatus).self) { group in
            for (index, store) in stores.enumerated() {
                group.addTask { (index, try await status(of: store)) }
            }
            return try await group.reduce(into: Array(repeating: Muster_V1_StoreStatus(), count: stores.count)) {
                $0[$1.index] = $1.status
            }
        }
    }

    private func status(of store: OpenStore) async throws -> Muster_V1_StoreStatus {
        var status = Muster_V1_StoreStatus()
        (status.name, status.url, status.site) = (store.name, store.entry.url, store.entry.site)
        status.placement = store.entry.state.rawValue
        let standing = try await catalog.standing(ofStore: store.number)
        status.wantedCopies = UInt64(standing.wantedCopies)
        status.badReplicas = UInt64(standing.badReplicas)
        status.reason = standing.reason
        (status.heldSnapshots, status.heldPacks) = (UInt64(standing.snapshots), UInt64(standing.packs))
        status.empty = standing.isEmpty
        do {
            status.freeBytes = try await store.store.freeBytes()
            // A folder that was unmounted still has free bytes: the object that makes it a store must be there.
            let isThere = try await store.store.byteCount(of: .format) != nil
            status.state =
                isThere
                ? store.store.writeFailure.map { "a write failed: \($0.summary)" } ?? "ok"
                : "store '\(store.name)' has lost its \(ObjectName.format)"
        } catch {
            status.state = error.summary
        }
        return status
    }

    /// Makes a store, keeps in it what a rebuild needs, and takes it up.
    func addStore(_ call: Call) async throws -> Response {
        let request: Muster_V1_StoreAddRequest = try await call.message()
        let name = try Self.checked(storeName: request.name)
        guard request.site.isEmpty || request.site.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil else {
            throw Refusal.invalid(
                "'\(request.site.prefix(80))' is no site", hint: "Use up to 63 letters, digits, dots and dashes.")
        }
        let (url, node) = try await resolved(storeURL: request.url, for: call.caller)
        let known = try await catalog.stores()
        let kept = try Self.place(url).url
        guard !known.contains(where: { $0.name == name }) else {
            throw Refusal(
                .conflict, "store_exists", "a store named '\(name)' was added before",
                hint: "Choose another name: receipts name their stores, so no name is used twice.")
        }
        for holder in known where holder.url == kept {
            guard await isInItsPlace(holder) else { continue }
            throw Refusal(
                .conflict, "store_exists", "that place is store '\(holder.name)'",
                hint: "Choose an empty place. If its disk is to be replaced, mount the new one there first.")
        }
        do {
            let access = try Self.access(request)
            let admit = { (identity: StoreID) in try await requireUnknown(identity) }
            let made = try await founding.make(at: url, name: name, access, admit: admit) { store in
                try await proving.measureForReplicas(opening.wrap(store), named: name)
            }
            try await founding.keepSecrets(in: made)
            let entry = try await catalog.add(
                store: name, url: made.url, site: request.site, node: node, identity: made.identity,
                at: clock.now(), audit: row(call, "store add", "\(name) \(kept)"))
            try await catalog.record(
                probe: StoreProving.record(of: made.capabilities), ofStore: entry.number, at: clock.now())
            stores.put(try opening.connect(entry))
        } catch let error as CoordinatorSetupError {
            throw Refusal.invalid(error.summary, hint: error.hint)
        } catch let error as StoreError {
            throw Refusal.invalid(error.summary, hint: error.hint)
        } catch let error as StoreCapabilityMissing {
            throw Refusal.invalid(error.summary, hint: error.hint)
        }
        logger.notice("store added", metadata: ["store": "\(name)"])
        await keepChangeSoon()
        try await beginPlacementWalk()
        return try await listStores(call)
    }

    /// Whether a store may be where its address leads: one that was given up is not, nor one in whose place another
    /// store or an empty folder is found, as after a disk was replaced.
    private func isInItsPlace(_ entry: Catalog.StoreEntry) async -> Bool {
        guard let store = stores[entry.number] else { return false }
        if store.store.absence?.meansAnotherPlace == true { return false }
        do {
            return try await store.store.byteCount(of: .format) != nil
        } catch {
            return !error.meansAnotherPlace
        }
    }

    /// A store counts once, however many addresses lead to it.
    private func requireUnknown(_ identity: StoreID) async throws {
        guard let known = try await catalog.stores().first(where: { $0.identity == identity }) else { return }
        guard known.state != .lost else {
            throw Refusal(
                .conflict, "store_exists", "that place is store '\(known.name)', which was given up",
                hint: "Choose an empty place, or empty this one: nothing in it counts any more.")
        }
        throw Refusal(
            .conflict, "store_exists", "that place is store '\(known.name)' under another address",
            hint: "Choose an empty place.")
    }

    private static func place(_ url: String) throws -> StorePlace {
        do {
            return try StorePlace(url)
        } catch {
            throw Refusal.invalid(error.summary, hint: error.hint)
        }
    }

    /// - Returns: nil where the request has none.
    private static func access(_ request: Muster_V1_StoreAddRequest) throws -> S3Access? {
        guard request.hasAccess else { return nil }
        let given = request.access
        guard
            let credentials = S3Credentials(
                accessKeyID: given.accessKeyID, secretAccessKey: given.secretAccessKey,
                sessionToken: given.sessionToken.isEmpty ? nil : given.sessionToken)
        else {
            throw Refusal.invalid(
                "the credentials are empty or hold characters that no header may hold",
                hint: "Give an access key id and a secret access key.")
        }
        return S3Access(credentials: credentials, authority: given.authority.isEmpty ? nil : given.authority)
    }

    /// A store on a node is kept under the node's id, whichever way the node was named.
    private func resolved(storeURL text: String, for caller: Caller) async throws -> (url: String, node: NodeID?) {
        guard text.hasPrefix("node:") else { return (text, nil) }
        guard let address = NodeStoreAddress(text) else {
            throw Refusal.invalid(
                "'\(text.prefix(80))' is no address of a store on a node", hint: "Write node://HOST:PORT/NODE.")
        }
        let node = try await node(address.node, for: caller)
        guard node.state == .active else { throw Refusal.notFound("active node '\(address.node)'") }
        let kept = NodeStoreAddress(host: address.host, port: address.port, node: node.id.description)
        return (kept.description, node.id)
    }

    /// Lets a store drain, takes it back, or gives it up with all that is in it.
    func changeStore(_ call: Call) async throws -> Response {
        let request: Muster_V1_StoreChangeRequest = try await call.message()
        let name = call.parameters[0]
        guard let state = Catalog.StoreState(rawValue: request.placement) else {
            throw Refusal.invalid(
                "'\(request.placement.prefix(40))' is no placement", hint: "Use active, draining or lost.")
        }
        // The catalog decides; of two changes the set of stores must get the later one last.
        try await storeLanes.pass(true) {
            guard let store = stores.store(named: name) else { throw Refusal.notFound("store '\(name)'") }
            let audit = row(call, "store \(state.rawValue)", name)
            guard try await catalog.change(state, ofStore: store.number, audit: audit) else {
                throw Refusal(
                    .conflict, "last_store", "'\(name)' is the last active store that is on no node",
                    hint: "Add another store first, and let it fill.")
            }
            stores.put(OpenStore(entry: store.entry.placed(state), store: store.store))
        }
        logger.notice("store changed", metadata: ["store": "\(name)", "placement": "\(state.rawValue)"])
        await keepChangeSoon()
        try await beginPlacementWalk()
        return try await listStores(call)
    }

    private static func checked(storeName name: String) throws -> String {
        guard name.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil else {
            throw Refusal.invalid(
                "'\(name.prefix(80))' is no store name",
                hint: "Use 1 to 63 letters, digits, dots, dashes and underscores.")
        }
        return name
    }

    private var founding: StoreFounding {
        StoreFounding(
            authority: authority, receiptKey: receiptKey, recoveryKeys: recoveryKeys, epoch: epoch, clock: clock,
            random: random, reach: opening.reach)
    }

    /// The snapshot's message: with the stores where it is still to be copied, and which replicas the placement does
    /// not want. What was in a store that was given up does not count.
    func message(of snapshot: Catalog.Snapshot) -> Muster_V1_Snapshot {
        var message = Muster_V1_Snapshot(snapshot)
        let keepers = stores.keepers(of: snapshot.node)
        message.replicas = snapshot.replicas.filter { stores[$0.store] != nil }.map { held in
            var replica = Muster_V1_Replica(held)
            replica.surplus = !keepers.contains { $0.number == held.store }
            return replica
        }
        for keeper in keepers where !snapshot.replicas.contains(where: { $0.store == keeper.number }) {
            var replica = Muster_V1_Replica()
            (replica.store, replica.state) = (keeper.name, "wanted")
            message.replicas.append(replica)
        }
        message.wantedReplicas = UInt32(max(stores.placement.replicas ?? 0, keepers.count))
        return message
    }
}
