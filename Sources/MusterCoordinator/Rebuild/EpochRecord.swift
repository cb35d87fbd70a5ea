import MusterFormat
import MusterModel
import MusterStore

/// `coordinator/epoch/<n>`: who writes into a store for this fleet from now on. Of several coordinators with the same
/// keys the one with the highest epoch goes on, and the others only read.
///
/// As an object is written once, only one of them can take an epoch in a store. The record is signed with the receipt
/// key, so that nobody else can put a coordinator off. In each store the epochs follow each other without a gap: whoever
/// takes one takes those before it that are free, so that a look at the next name tells whether there is any.
struct EpochRecord: Sendable {
    static let name = "epoch"
    private static let mostTries: UInt64 = 1000
    /// Names above the own epoch that are looked into; there is one, if any.
    private static let mostRead = 1000

    let receiptKey: SigningKey
    let recoveryKeys: [RecoveryPublicKey]
    let random: RandomSource

    func bytes(_ epoch: UInt64, at now: Timestamp) throws -> [UInt8] {
        try SealedRecord.make(
            Array("\(now)".utf8), name: Self.name, coordinatorEpoch: epoch, recipients: recoveryKeys,
            signer: receiptKey, random: random)
    }

    func keep(_ epoch: UInt64, in store: any Store, at now: Timestamp) async throws {
        try await store.put(.coordinatorEpoch(epoch), try bytes(epoch, at: now))
    }

    /// The highest epoch in a store that one of the fleet's coordinators took; 0 where there is none.
    ///
    /// - Parameter lowest: epochs up to here are not looked at.
    func highest(in store: any Store, above lowest: UInt64) async throws(StoreError) -> UInt64 {
        try await highest(of: try await listed(in: store), in: store, above: lowest)
    }

    /// The same without a listing, for epochs that follow `lowest` without a gap.
    func successor(in store: any Store, of lowest: UInt64) async throws(StoreError) -> UInt64 {
        var highest = lowest
        for epoch in (lowest + 1)...(lowest + UInt64(Self.mostRead)) {
            guard try await store.byteCount(of: .coordinatorEpoch(epoch)) != nil else { break }
            if try await isTaken(epoch, in: store) { highest = epoch }
        }
        return highest
    }

    /// Takes the next epoch in all these stores.
    func claim(in stores: [any Store], at now: Timestamp) async throws -> UInt64 {
        var highest: UInt64 = 0
        var taken: [Set<UInt64>] = []
        for store in stores {
            let names = try await listed(in: store)
            highest = try await self.highest(of: names, in: store, above: highest)
            taken.append(names)
        }
        for epoch in (highest + 1)...(highest + Self.mostTries) {
            do {
                for (store, names) in zip(stores, taken) { try await take(epoch, in: store, beside: names, at: now) }
                return epoch
            } catch StoreError.alreadyExists {
                // Another one was faster in one of them: the next epoch is above it in all.
                continue
            }
        }
        throw RebuildError.epochTaken
    }

    private func take(_ epoch: UInt64, in store: any Store, beside taken: Set<UInt64>, at now: Timestamp) async throws {
        for free in min(taken.min() ?? epoch, epoch)..<epoch where !taken.contains(free) {
            do {
                try await keep(free, in: store, at: now)
            } catch StoreError.alreadyExists {
                // Taken meanwhile, or at the last try: there is no gap.
                continue
            }
        }
        try await keep(epoch, in: store, at: now)
    }

    /// All names, whoever wrote what is under them.
    private func listed(in store: any Store) async throws(StoreError) -> Set<UInt64> {
        var found: Set<UInt64> = []
        for object in try await store.objects(.epochs, maximumCount: 100_000) {
            if case .coordinatorEpoch(let epoch) = StoredItem(object.name) { found.insert(epoch) }
        }
        return found
    }

    private func highest(
        of names: Set<UInt64>, in store: any Store, above lowest: UInt64
    ) async throws(StoreError) -> UInt64 {
        for epoch in names.filter({ $0 > lowest }).sorted(by: >).prefix(Self.mostRead) {
            if try await isTaken(epoch, in: store) { return epoch }
        }
        return lowest
    }

    private func isTaken(_ epoch: UInt64, in store: any Store) async throws(StoreError) -> Bool {
        let bytes: [UInt8]
        do {
            bytes = try await store.read(.coordinatorEpoch(epoch), maximumBytes: Format.maximumRecordBytes)
        } catch .tooLarge {
            return false
        }
        // What is not signed with the fleet's key is nobody's word.
        guard let record = try? SealedRecord.parse(bytes).verified(by: receiptKey.verifyingKey) else { return false }
        return record.name == Self.name && record.coordinatorEpoch == epoch
    }
}
