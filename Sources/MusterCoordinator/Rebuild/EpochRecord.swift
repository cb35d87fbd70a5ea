import MusterFormat
import MusterModel
import MusterStore

/// `coordinator/epoch/<n>`: who writes into a store for this fleet from now on. Of several coordinators with the same
/// keys the one with the highest epoch goes on, and the others only read.
///
/// As an object is written once, only one of them can take an epoch in a store. The record is signed with the receipt
/// key, so that nobody else can put a coordinator off.
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
        var found: [UInt64] = []
        for object in try await store.objects(.epochs, maximumCount: 100_000) {
            if case .coordinatorEpoch(let epoch) = StoredItem(object.name), epoch > lowest { found.append(epoch) }
        }
        for epoch in found.sorted(by: >).prefix(Self.mostRead) {
            let bytes = try await store.read(.coordinatorEpoch(epoch), maximumBytes: Format.maximumRecordBytes)
            if isOurs(bytes, epoch) { return epoch }
        }
        return lowest
    }

    private func isOurs(_ bytes: [UInt8], _ epoch: UInt64) -> Bool {
        // What is not signed with the fleet's key is nobody's word.
        guard let record = try? SealedRecord.parse(bytes).verified(by: receiptKey.verifyingKey) else { return false }
        return record.name == Self.name && record.coordinatorEpoch == epoch
    }

    /// Takes the next epoch in all these stores.
    func claim(in stores: [any Store], at now: Timestamp) async throws -> UInt64 {
        var highest: UInt64 = 0
        for store in stores { highest = max(highest, try await self.highest(in: store, above: highest)) }
        for epoch in (highest + 1)...(highest + Self.mostTries) {
            do {
                for store in stores { try await keep(epoch, in: store, at: now) }
                return epoch
            } catch StoreError.alreadyExists {
                // Another one was faster in one of them: the next epoch is above it in all.
                continue
            }
        }
        throw RebuildError.epochTaken
    }
}
