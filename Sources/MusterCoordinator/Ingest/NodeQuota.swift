import HTTPTypes
import MusterCatalog
import MusterModel

/// What a node may keep in the stores (DESIGN.md, section 7).
extension Coordinator {
    /// A pack that a node is about to send.
    struct ComingPack: Sendable {
        let id: PackID
        let byteCount: Int
    }

    /// Refuses packs with which the node would have more than its quota.
    ///
    /// Packs that count already may always come again: that is how what is lost is healed. What comes at the same time is
    /// not seen, so a node may be over by what it may have under way.
    func requireRoom(for packs: [ComingPack], in scope: ScopeID) async throws {
        guard !packs.isEmpty, let held = try await catalog.packWeight(of: scope, asking: packs.map(\.id))
        else { return }
        let new = packs.reduce(Int64(0)) { $0 + (held.known.contains($1.id) ? 0 : Int64($1.byteCount)) }
        let quota = settings.quota.bytes(ofNode: held.name)
        guard new == 0 || held.bytes + new <= quota else {
            throw Refusal.quotaReached(of: held.name, packBytes: held.bytes, quota: quota)
        }
    }
}

extension Refusal {
    fileprivate static func quotaReached(of node: String, packBytes: Int64, quota: Int64) -> Refusal {
        Refusal(
            insufficientStorage, "quota_reached",
            "node '\(node)' has \(packBytes >> 20) of the \(quota >> 20) MiB in the stores that it may have",
            hint: "Let retention and gc give up older snapshots of it, or give it more: 'quota' in coordinator.yaml.")
    }
}
