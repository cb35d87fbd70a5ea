import Foundation
import MusterFormat
import MusterModel
import MusterStore

/// The keys of a lost coordinator, as the stores keep them for whoever has the recovery key.
struct CoordinatorKeys: Sendable {
    let authority: Authority
    let receiptKey: SigningKey
    let recoveryKeys: [RecoveryPublicKey]

    /// The records that each store keeps of them.
    static let kept: [CoordinatorRecord] = [.authorityKey, .receiptKey]

    /// How many receipts decide between several receipt keys.
    private static let samples = 64

    /// One of the records in `kept`, sealed to the recovery keys.
    func sealed(_ record: CoordinatorRecord, epoch: UInt64, random: RandomSource) throws -> [UInt8] {
        // The authority's certificate is public, but a rebuild needs the very same one: nodes pin it.
        let secret = record == .authorityKey ? try authority.sealedBytes : receiptKey.privateBytes
        return try SealedRecord.make(
            secret, name: record.rawValue, coordinatorEpoch: epoch, recipients: recoveryKeys, signer: receiptKey,
            random: random)
    }

    /// Whether such a record is what a rebuild with any of the recovery keys could open and would take.
    func matches(_ record: SealedRecord, as kind: CoordinatorRecord) -> Bool {
        record.name == kind.rawValue && record.signingKey == receiptKey.verifyingKey
            && Set(record.secrets.map(\.recipient.bytes)) == Set(recoveryKeys.map(\.bytes))
    }

    /// Opens the records of all stores and takes those that belong together.
    ///
    /// Anybody can seal to a public key. So the authority must be signed by the receipt key, and of several receipt keys
    /// the one counts that signed the fleet's receipts.
    static func find(
        in stores: [RebuildStore], with key: RecoveryKey, _ findings: inout RebuildFindings
    ) async throws -> CoordinatorKeys {
        var records: [SealedRecord] = []
        var sealed = 0
        for entry in stores {
            for object in try await entry.store.objects(.coordinator, maximumCount: 100_000) {
                guard case .coordinatorRecord = StoredItem(object.name) else { continue }
                guard
                    let bytes = try await entry.store.readForRebuild(
                        object.name, maximumBytes: Format.maximumRecordBytes, &findings)
                else { continue }
                do {
                    let parsed = try SealedRecord.parse(bytes)
                    records.append(try parsed.verified(by: parsed.claimed.signingKey))
                    sealed += 1
                } catch {
                    findings.add(object.name.description, in: entry.name, reasonText(error))
                }
            }
        }
        guard sealed > 0 else { throw RebuildError.noKeys(stores: stores.map(\.url)) }
        return try await keys(of: records, in: stores, with: key)
    }

    private static func keys(
        of records: [SealedRecord], in stores: [RebuildStore], with key: RecoveryKey
    ) async throws -> CoordinatorKeys {
        let own = records.filter { record in record.secrets.contains { $0.recipient == key.publicKey } }
        guard !own.isEmpty else { throw RebuildError.wrongRecoveryKey }
        var candidates: [SigningKey] = []
        for record in own where record.name == CoordinatorRecord.receiptKey.rawValue {
            let secret = try record.openSecret(with: key)
            // Its own signature proves that whoever wrote it has the key.
            guard let found = SigningKey(privateBytes: secret), found.verifyingKey == record.signingKey,
                !candidates.contains(where: { $0.verifyingKey == found.verifyingKey })
            else { continue }
            candidates.append(found)
        }
        let receiptKey = try await choose(candidates, by: stores)
        let authorities = own.filter { record in
            record.name == CoordinatorRecord.authorityKey.rawValue && record.signingKey == receiptKey.verifyingKey
        }
        guard let newest = authorities.max(by: { $0.coordinatorEpoch < $1.coordinatorEpoch }) else {
            throw RebuildError.noKeys(stores: stores.map(\.url))
        }
        return CoordinatorKeys(
            authority: try Authority(secret: try newest.openSecret(with: key)), receiptKey: receiptKey,
            recoveryKeys: newest.secrets.map(\.recipient))
    }

    private static func choose(_ candidates: [SigningKey], by stores: [RebuildStore]) async throws -> SigningKey {
        guard let first = candidates.first else { throw RebuildError.noKeys(stores: stores.map(\.url)) }
        if candidates.count == 1 { return first }
        var signed = [Int](repeating: 0, count: candidates.count)
        for entry in stores {
            var rest = samples
            let cursor = try await entry.store.list(.receipts)
            while rest > 0 {
                let page = try await cursor.nextPage()
                if page.isEmpty { break }
                for object in page.prefix(rest) {
                    var ignored = RebuildFindings()
                    let bytes = try await entry.store.readForRebuild(
                        object.name, maximumBytes: Format.maximumRecordBytes, &ignored)
                    // One that is damaged says nothing about the keys.
                    guard let receipt = bytes.flatMap({ try? Receipt.parse($0) }) else { continue }
                    for (index, key) in candidates.enumerated()
                    where (try? receipt.verified(by: key.verifyingKey)) != nil { signed[index] += 1 }
                }
                rest -= page.count
            }
        }
        let best = signed.max() ?? 0
        let winners = zip(candidates, signed).filter { $0.1 == best }.map(\.0)
        guard let winner = winners.first, winners.count == 1 else { throw RebuildError.severalCoordinators }
        return winner
    }
}

extension Authority {
    /// What is sealed to the recovery keys: the key and the certificate, which nodes pin.
    var sealedBytes: [UInt8] {
        get throws { Array((keyPEM + "\n" + (try certificatePEM)).utf8) }
    }

    /// - Parameter secret: what `sealedBytes` gave.
    init(secret: [UInt8]) throws {
        let text = String(decoding: secret, as: UTF8.self)
        guard let begin = text.range(of: "-----BEGIN CERTIFICATE-----") else { throw RebuildError.authorityUnreadable }
        try self.init(
            certificatePEM: String(text[begin.lowerBound...]), keyPEM: String(text[..<begin.lowerBound]))
    }
}

/// Why a coordinator was not rebuilt.
package enum RebuildError: ActionableError, Equatable {
    case noKeys(stores: [String])
    case wrongRecoveryKey
    case severalCoordinators
    case authorityUnreadable
    case epochTaken
    case restless

    package var summary: String {
        switch self {
        case .noKeys(let stores): "no store holds the coordinator's keys: \(stores.joined(separator: ", "))"
        case .wrongRecoveryKey: "the recovery key opens none of the coordinator's records in these stores"
        case .severalCoordinators: "the stores hold the keys of more than one coordinator"
        case .authorityUnreadable: "the coordinator's authority cannot be read from its sealed record"
        case .epochTaken: "another coordinator takes epoch after epoch in these stores"
        case .restless: "somebody still changes what these stores hold, though another coordinator took over"
        }
    }

    package var hint: String {
        switch self {
        case .noKeys: "Give a store that 'muster coordinator init' or 'muster store add' made, and that is whole."
        case .wrongRecoveryKey: "Give the file that 'muster coordinator init' wrote for this very fleet."
        case .severalCoordinators: "Give the stores of one fleet only."
        case .authorityUnreadable: "Give another store of the fleet."
        case .epochTaken: "Look for a second rebuild that runs at the same time, and stop it."
        case .restless: "Stop the coordinator of before, and check that its clock and ours are right."
        }
    }

    package var isTransient: Bool { self == .epochTaken || self == .restless }
}
