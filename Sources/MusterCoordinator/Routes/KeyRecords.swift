import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// A node's key record that comes back, where every copy of it was lost.
extension Coordinator {
    /// Stores it in every store that is to have one, under a new name each.
    ///
    /// Nothing that is good is replaced: a node that turned bad must not lock anybody out of what it committed before.
    func sendKeys(_ call: Call) async throws -> Response {
        let (id, scope) = try Self.node(call)
        let request: Muster_V1_KeysRequest = try await call.message()
        let bytes = Array(request.keyRecord)
        let record = try await checkedAgain(bytes, of: id, scope)
        return try await keyLanes.pass(id) {
            var answer = Muster_V1_KeysAccepted()
            let known = try await catalog.keyReplicas(of: id)
            guard !known.contains(where: { $0.state == .present }) else { return try call.answer(answer) }
            answer.stores = UInt32(try await keep(bytes, record.keyEpoch, of: id, inPlaceOf: known))
            guard answer.stores > 0 else { throw Refusal.noStore }
            logger.notice("key record is back", metadata: ["node": "\(record.nodeName)", "stores": "\(answer.stores)"])
            await replications.ring(true)
            return try call.answer(answer)
        }
    }

    /// - Returns: how many stores have it now. The others get it from these.
    private func keep(
        _ record: [UInt8], _ epoch: UInt32, of node: NodeID, inPlaceOf known: [Catalog.KeyReplica]
    ) async throws -> Int {
        var kept = 0
        for store in stores.acknowledgers(of: node) where !store.isAway {
            let name = ObjectName.nodeKeys(node, epoch: epoch, Generation(from: random))
            do {
                try await store.store.put(name, record)
            } catch {
                logger.warning(
                    "key record not stored", metadata: ["store": "\(store.name)", "reason": "\(error.summary)"])
                continue
            }
            let isRecorded = try await catalog.recordKeys(
                of: node, in: store.number, object: name.description, byteCount: record.count,
                replacing: known.first { $0.store == store.number }?.object, quarantine: Self.quarantine,
                now: clock.now())
            if isRecorded { kept += 1 }
        }
        return kept
    }

    /// It says of the node what its join said, and somebody with a recovery key can open it.
    private func checkedAgain(_ bytes: [UInt8], of id: NodeID, _ scope: ScopeID) async throws -> KeyRecord {
        guard let node = try await catalog.node(id), let key = VerifyingKey(bytes: node.signingKey) else {
            throw Refusal.unknownCertificate
        }
        let record = try KeyRecord.parse(bytes).verified(by: key)
        guard record.node == id, record.signingKey == key, record.scope == scope, record.nodeName == node.name else {
            throw Refusal.malformed("the key record is another node's")
        }
        guard !Set(record.secrets.map(\.recipient)).isDisjoint(with: recoveryKeys) else {
            throw Refusal.invalid(
                "the key record is sealed to no recovery key of the fleet",
                hint: "See that the agent's directory has the recovery keys that the node joined with.")
        }
        return record
    }
}
