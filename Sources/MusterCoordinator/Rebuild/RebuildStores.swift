import Foundation
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The stores of the coordinator that is made anew: those that were given, and those that the fleet's state names.
struct RebuildStores {
    /// A store as the new catalog will have it; `store` is nil where it does not answer.
    struct Planned {
        var name: String
        var url: String
        var site = ""
        var node: NodeID?
        var state = Catalog.StoreState.active
        /// What it was before any rebuild that did not read it.
        var placementBefore = Catalog.StoreState.active
        var identity: StoreID?
        /// The fleet's state has it.
        var isNamed = false
        var store: (any Store)?
    }

    private static let mostRounds = 8

    let random: RandomSource
    private(set) var planned: [Planned] = []
    private(set) var state: FleetState?

    init(random: RandomSource) { self.random = random }

    /// Those that can be read, by the numbers that the catalog gives them.
    var open: [RebuildStore] {
        planned.enumerated().compactMap { index, plan in
            plan.store.map {
                RebuildStore(
                    name: plan.name, url: plan.url, store: $0, identity: plan.identity, number: Int64(index + 1))
            }
        }
    }

    /// - Parameter texts: as they are given: a folder, a URL, or `NAME=` before it.
    /// - Parameter s3: for those at S3 servers, which are only read until `openNamed`.
    mutating func openGiven(_ texts: [String], _ s3: (S3Address) throws -> S3Store.Setup) async throws {
        var known: Set<StoreID> = []
        for (index, text) in texts.enumerated() {
            let parts = text.wholeMatch(of: #/(?:(?<name>[A-Za-z0-9][A-Za-z0-9._-]{0,62})=)?(?<place>.+)/#)
            let place = try StorePlace(parts.map { String($0.output.place) } ?? text)
            let name = parts?.output.name.map(String.init) ?? ""
            let found = try await openFirst(place, name: name.isEmpty ? Initialisation.storeName(index) : name, s3)
            // Given twice, by whatever paths, it is one store.
            guard known.insert(found.id).inserted else { continue }
            planned.append(Planned(name: name, url: place.url, identity: found.id, store: found.store))
        }
        guard !planned.isEmpty else { throw CoordinatorSetupError.noStore }
    }

    private func openFirst(
        _ place: StorePlace, name: String, _ s3: (S3Address) throws -> S3Store.Setup
    ) async throws -> (store: any Store, id: StoreID) {
        switch place {
        case .folder(let path):
            let store = try await FolderStore.open(at: path, name: name, random: random)
            return (store, store.id)
        case .s3(let address):
            let store = try await S3Store.open(at: address, name: name, try s3(address))
            return (store, store.id)
        // What it is reached with is in a store that must be read first.
        case .node: throw CoordinatorSetupError.badStore(url: place.url)
        }
    }

    /// Reads the newest state of the fleet, and opens the other stores that it names; one of them may hold a newer one.
    ///
    /// - Parameter access: for the given stores at S3 servers.
    mutating func openNamed(
        _ keys: CoordinatorKeys, _ recoveryKey: RecoveryKey, _ reach: StoreReach, _ access: S3Access?,
        _ findings: inout RebuildFindings
    ) async throws {
        for index in planned.indices {
            guard let address = S3Address(planned[index].url), let access else { continue }
            // From here on there is a folder for what is written.
            try reach.s3.keep(access, for: address)
            planned[index].store = try await reach.s3.open(address, name: planned[index].name)
        }
        var met = RebuildFindings()
        for _ in 0..<Self.mostRounds {
            // The last round sees all stores, by their names.
            met = RebuildFindings()
            let newest = try await newestState(keys, recoveryKey, &met)
            if let newest, newest == state { break }
            state = newest
            guard let newest else { break }
            for entry in newest.stores where entry.state != Catalog.StoreState.lost.rawValue {
                await merge(entry, keys, reach, &findings)
            }
        }
        findings.add(met)
        nameTheRest()
    }

    private mutating func merge(
        _ entry: FleetState.Store, _ keys: CoordinatorKeys, _ reach: StoreReach,
        _ findings: inout RebuildFindings
    ) async {
        let identity = entry.identity.flatMap { StoreID($0) }
        if let index = index(of: entry, identity) { return name(index, as: entry) }
        var plan = Planned(name: entry.name, url: entry.url, identity: identity, isNamed: true)
        do {
            let found = try await open(entry, identity, keys, reach)
            // A state that names no identities: one store must not be entered twice all the same.
            if let index = planned.firstIndex(where: { $0.identity == found.identity }) {
                guard planned[index].isNamed else { return name(index, as: entry) }
                findings.add(
                    "store '\(entry.name)' at \(entry.url)", in: entry.name,
                    "it is store '\(planned[index].name)' under another address")
                return
            }
            (plan.store, plan.identity) = (found.store, found.identity)
        } catch {
            findings.add("store '\(entry.name)' at \(entry.url)", in: entry.name, reasonText(error))
        }
        // What was given under that name is another store, and gets a name of its own.
        for index in planned.indices where planned[index].name == entry.name { planned[index].name = "" }
        planned.append(plan)
        name(planned.count - 1, as: entry)
    }

    /// The planned store that the entry is of: the same one by what it says of itself, else one at the same address or
    /// of the same name that may be it.
    private func index(of entry: FleetState.Store, _ identity: StoreID?) -> Int? {
        if let identity, let index = planned.firstIndex(where: { $0.identity == identity }) { return index }
        return planned.firstIndex { plan in
            (plan.url == entry.url || plan.name == entry.name)
                && (identity == nil || plan.identity == nil || plan.identity == identity)
        }
    }

    private mutating func name(_ index: Int, as entry: FleetState.Store) {
        let state = Catalog.StoreState(rawValue: entry.placementBefore ?? entry.state) ?? .draining
        planned[index].placementBefore = state
        planned[index].name = entry.name
        (planned[index].site, planned[index].node) = (entry.site, entry.node.flatMap { NodeID($0) })
        // What was not read must not be filled as if it were empty.
        planned[index].state = planned[index].store == nil ? .draining : state
        planned[index].isNamed = true
    }

    private func open(
        _ entry: FleetState.Store, _ identity: StoreID?, _ keys: CoordinatorKeys, _ reach: StoreReach
    ) async throws -> (store: any Store, identity: StoreID) {
        if let address = S3Address(entry.url), let access = entry.access { try reach.s3.keep(access, for: address) }
        let (store, found) = try await reach.open(try StorePlace(entry.url), name: entry.name)
        if let identity, identity != found {
            throw StoreError.displaced(store: entry.name, found: found, expected: identity)
        }
        let record = EpochRecord(receiptKey: keys.receiptKey, recoveryKeys: keys.recoveryKeys, random: random)
        guard try await record.highest(in: store, above: 0) > 0 else {
            throw StoreError.notAStore(path: entry.url, reason: "no coordinator of this fleet wrote into it")
        }
        return (store, found)
    }

    /// Stores that no state names are called as `init` would.
    private mutating func nameTheRest() {
        for index in planned.indices where planned[index].name.isEmpty {
            let taken = Set(planned.map(\.name))
            let names = (0...planned.count).map(Initialisation.storeName)
            let free = [Initialisation.storeName(index)] + names
            planned[index].name = free.first { !taken.contains($0) } ?? "store-\(index + 1)"
        }
    }

    // MARK: - The state

    func newestState(
        _ keys: CoordinatorKeys, _ recoveryKey: RecoveryKey, _ findings: inout RebuildFindings
    ) async throws -> FleetState? {
        var records: [(name: ObjectName, store: RebuildStore)] = []
        for entry in open {
            for object in try await entry.store.objects(.states, maximumCount: 100_000)
            where StoredItem(object.name) != nil { records.append((object.name, entry)) }
        }
        // The names sort as epoch and number do.
        for record in records.sorted(by: { $0.name > $1.name }) {
            guard let item = StoredItem(record.name),
                let bytes = try await record.store.store.readForRebuild(
                    record.name, maximumBytes: Format.maximumSealedRecordBytes, &findings)
            else { continue }
            do {
                return try FleetState.open(
                    bytes, as: item, with: recoveryKey, signedBy: keys.receiptKey.verifyingKey)
            } catch {
                findings.add(record.name.description, in: record.store.name, reasonText(error))
            }
        }
        return nil
    }
}
