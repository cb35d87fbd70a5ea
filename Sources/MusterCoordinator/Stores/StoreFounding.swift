import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Makes a new store and keeps in it what rebuilds the coordinator: its keys, sealed to the recovery keys, and its epoch.
struct StoreFounding: Sendable {
    let authority: Authority
    let receiptKey: SigningKey
    let recoveryKeys: [RecoveryPublicKey]
    let epoch: UInt64
    let clock: any WallClock
    let random: RandomSource
    let reach: StoreReach

    /// - Parameter access: for a store at an S3 server.
    /// - Parameter prove: looks at the new store before anything is kept in it, and throws where it will not do.
    /// - Returns: the store, and how it is to be written.
    func make(
        at text: String, name: String, _ access: S3Access? = nil,
        prove: (any Store) async throws -> Void = { _ in }
    ) async throws -> (store: any Store, url: String) {
        let place = try StorePlace(text)
        let store = try await reach.make(place, name: name, access, now: clock.now())
        try await prove(store)
        try await keepSecrets(in: store)
        return (store, place.url)
    }

    private func keepSecrets(in store: any Store) async throws {
        // The authority's certificate is public, but a rebuild needs the very same one: nodes pin it.
        let records: [(CoordinatorRecord, [UInt8])] = [
            (.authorityKey, try authority.sealedBytes), (.receiptKey, receiptKey.privateBytes),
        ]
        for (record, secret) in records {
            let sealed = try SealedRecord.make(
                secret, name: record.rawValue, coordinatorEpoch: epoch, recipients: recoveryKeys,
                signer: receiptKey, random: random)
            try await store.put(.coordinatorRecord(record, Generation(from: random)), sealed)
        }
        let record = EpochRecord(receiptKey: receiptKey, recoveryKeys: recoveryKeys, random: random)
        try await record.keep(epoch, in: store, at: clock.now())
    }
}

/// A clock that stands, for what asks one only once.
struct Moment: WallClock {
    let at: Timestamp

    func now() -> Timestamp { at }
}
