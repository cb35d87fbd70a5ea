import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Puts into a new catalog who is in the fleet: what its state says, and what the key records say besides.
struct FleetRestoring {
    let catalog: Catalog
    let stores: RebuildStores
    let records: RebuiltNodes
    let now: Timestamp

    /// - Returns: the key that each node signs with.
    func run(_ findings: inout RebuildFindings) async throws -> [NodeID: VerifyingKey] {
        var keys: [NodeID: VerifyingKey] = [:]
        var names: Set<String> = []
        for node in nodes(&findings) {
            var node = node
            // A name that two nodes had one after the other belongs to neither of them more than to the other.
            if node.state != .retired, !names.insert(node.name).inserted {
                let name = "\(node.name.prefix(40))-\(node.id.description.prefix(8))"
                findings.add("node \(node.id)", in: "", "the name '\(node.name)' is taken: it is called '\(name)'")
                node.name = name
                names.insert(name)
            }
            try await catalog.restore(node)
            keys[node.id] = VerifyingKey(bytes: node.signingKey)
        }
        for plan in stores.planned {
            let node = plan.node.flatMap { keys[$0] == nil ? nil : $0 }
            let entry = try await catalog.add(
                store: plan.name, url: plan.url, site: plan.site, node: node, identity: plan.identity, at: now)
            if plan.state != .active { try await catalog.set(plan.state, ofStore: entry.number) }
        }
        for (id, node) in records.nodes where keys[id] != nil {
            for (store, object) in node.objects {
                try await catalog.recordKeys(
                    of: id, in: store, object: object.name, byteCount: object.byteCount,
                    quarantine: Coordinator.quarantine, now: now)
            }
        }
        for certificate in stores.state?.certificates ?? [] {
            // One of a node that is nowhere any more speaks for nobody.
            guard let entry = certificate.entry, entry.node.map({ keys[$0] != nil }) ?? true else { continue }
            try await catalog.restore(
                entry, revokedAt: certificate.revokedAt.map(Timestamp.init(microseconds:)))
        }
        return keys
    }

    /// The state is the coordinator's own word; a node that joined after it was written has a key record.
    private func nodes(_ findings: inout RebuildFindings) -> [Catalog.Node] {
        var nodes: [NodeID: Catalog.Node] = [:]
        for entry in stores.state?.nodes ?? [] {
            guard let node = entry.entry else {
                findings.add("node \(entry.id)", in: "", "the fleet's state has no usable entry of it")
                continue
            }
            nodes[node.id] = node
        }
        for (id, known) in records.nodes where nodes[id] == nil {
            let scopes = Set(nodes.values.map(\.scope))
            guard let object = known.objects.min(by: { $0.key < $1.key }), !scopes.contains(known.record.scope) else {
                findings.add("node \(id)", in: "", "its key record names the scope of another node")
                continue
            }
            nodes[id] = Catalog.Node(
                id: id, name: known.record.nodeName, scope: known.record.scope,
                signingKey: known.record.signingKey.bytes, keyObject: object.value.name, joinedAt: now,
                agentVersion: "")
        }
        return nodes.values.sorted { $0.id < $1.id }
    }
}
