import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Makes a new store and keeps in it what rebuilds the coordinator: its keys, sealed to the recovery keys, and its epoch.
///
/// A place where that was begun before and did not come to its end, as it was refused or cut off, is taken up: it holds
/// nothing but our own records.
struct StoreFounding: Sendable {
    struct Founded: Sendable {
        let store: any Store
        let identity: StoreID
        /// How it is to be written.
        let url: String
        let capabilities: StoreCapabilities
        fileprivate let leftovers: Leftovers
    }

    /// What an earlier attempt left in the store.
    fileprivate struct Leftovers {
        var records: Set<CoordinatorRecord> = []
        var hasEpoch = false
    }

    let authority: Authority
    let receiptKey: SigningKey
    let recoveryKeys: [RecoveryPublicKey]
    let epoch: UInt64
    let clock: any WallClock
    let random: RandomSource
    let reach: StoreReach

    /// Makes the store and looks at it; nothing of ours is in it before `keepSecrets`.
    ///
    /// - Parameter access: for a store at an S3 server.
    /// - Parameter admit: told which store it is before anything is done with it, and throws where it is known.
    /// - Parameter prove: measures what the store promises before anything is kept in it, and throws where that will not do.
    func make(
        at text: String, name: String, _ access: S3Access? = nil,
        admit: (StoreID) async throws -> Void = { _ in }, prove: (any Store) async throws -> StoreCapabilities
    ) async throws -> Founded {
        let place = try StorePlace(text)
        let (store, identity, isNew) = try await reach.make(place, name: name, access, now: clock.now())
        try await admit(identity)
        let leftovers = isNew ? Leftovers() : try await leftovers(in: store, at: place.url)
        let capabilities = try await prove(store)
        return Founded(
            store: store, identity: identity, url: place.url, capabilities: capabilities, leftovers: leftovers)
    }

    /// What makes it a store of this coordinator. Until then another one may take it up.
    func keepSecrets(in founded: Founded) async throws {
        let (store, leftovers) = (founded.store, founded.leftovers)
        let keys = CoordinatorKeys(authority: authority, receiptKey: receiptKey, recoveryKeys: recoveryKeys)
        for record in CoordinatorKeys.kept where !leftovers.records.contains(record) {
            let sealed = try keys.sealed(record, epoch: epoch, random: random)
            try await store.put(.coordinatorRecord(record, Generation(from: random)), sealed)
        }
        guard !leftovers.hasEpoch else { return }
        let record = EpochRecord(receiptKey: receiptKey, recoveryKeys: recoveryKeys, random: random)
        try await record.keep(epoch, in: store, at: clock.now())
    }

    /// - Throws: where anything else is in the store.
    private func leftovers(in store: any Store, at place: String) async throws -> Leftovers {
        var found = Leftovers()
        let cursor = try await store.list(.all)
        while true {
            let page = try await cursor.nextPage()
            if page.isEmpty { return found }
            for object in page {
                switch StoredItem(object.name) {
                case .format, .probe: continue
                case .coordinatorRecord(let record, _):
                    guard try await isOurs(object.name, record.rawValue, in: store) else { break }
                    found.records.insert(record)
                    continue
                // One of a coordinator that came later would not have left it to us.
                case .coordinatorEpoch(epoch):
                    guard try await isOurs(object.name, EpochRecord.name, in: store) else { break }
                    found.hasEpoch = true
                    continue
                default: break
                }
                throw StoreError.folderNotEmpty(path: place)
            }
        }
    }

    private func isOurs(_ name: ObjectName, _ record: String, in store: any Store) async throws -> Bool {
        let bytes = try await store.read(name, maximumBytes: Format.maximumRecordBytes)
        // What cannot be read, or is signed with another key, is not ours.
        guard let found = try? SealedRecord.parse(bytes).verified(by: receiptKey.verifyingKey) else { return false }
        return found.name == record && found.coordinatorEpoch == epoch
    }
}

/// A clock that stands, for what asks one only once.
struct Moment: WallClock {
    let at: Timestamp

    func now() -> Timestamp { at }
}
