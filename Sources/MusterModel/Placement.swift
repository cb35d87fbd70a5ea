/// How many replicas there are, over how many sites, and how many stores must have a snapshot before its receipt.
///
/// A node's snapshots all go to the same stores, so that each of these can restore any of them by itself. Which stores
/// these are is drawn by rendezvous hashing: a store that comes or goes moves only the nodes that it wins or had.
package struct Placement: Hashable, Sendable {
    /// A store that takes new snapshots.
    package struct Candidate: Hashable, Sendable {
        package let number: Int64
        package let name: String
        /// The failure domain; "" where the store is one of its own.
        package let site: String
        /// The node whose machine holds the store; nil for a store that is on none.
        package let node: NodeID?

        package init(number: Int64, name: String, site: String = "", node: NodeID? = nil) {
            (self.number, self.name, self.site, self.node) = (number, name, site, node)
        }

        fileprivate var domain: String { site.isEmpty ? "store \(name)" : "site \(site)" }
    }

    package static let mostReplicas = 16

    /// nil: two, or one where there is one store only.
    package var replicas: Int?
    /// How many sites at least, as far as there are so many; nil: as many as there are replicas.
    package var sites: Int?
    package var beforeReceipt = 1

    package init() {}

    /// How many replicas a node's snapshots should have, of so many stores that may take them.
    package func wanted(of candidateCount: Int) -> Int { replicas ?? min(2, max(1, candidateCount)) }

    /// The stores that keep a node's snapshots, the first choice first.
    ///
    /// A store on the node itself is none of them: it is lost with the node. The first is on no node at all, if there
    /// is such a store: those on nodes never suffice for a receipt.
    package func stores(for node: NodeID, among candidates: [Candidate]) -> [Candidate] {
        let eligible = candidates.filter { $0.node != node }
        var waiting = eligible.map { (candidate: $0, weight: Self.weight(of: $0.name, for: node)) }
            .sorted { ($0.weight, $0.candidate.number) > ($1.weight, $1.candidate.number) }
            .map(\.candidate)
        var chosen: [Candidate] = []
        var domains: Set<String> = []
        let count = min(wanted(of: eligible.count), eligible.count)
        let domainCount = min(sites ?? count, count)
        while chosen.count < count {
            let next =
                if chosen.isEmpty {
                    waiting.firstIndex { $0.node == nil } ?? waiting.startIndex
                } else if domains.count < domainCount {
                    waiting.firstIndex { !domains.contains($0.domain) } ?? waiting.startIndex
                } else {
                    waiting.startIndex
                }
            let candidate = waiting.remove(at: next)
            domains.insert(candidate.domain)
            chosen.append(candidate)
        }
        return chosen
    }

    /// Why these stores, active or draining, cannot give a receipt, or not to every node: nil where they can.
    ///
    /// A store on a node never counts for that node, and those on nodes never suffice.
    package func receiptShortfall(of stores: [Candidate]) -> String? {
        guard stores.contains(where: { $0.node == nil }) else {
            return "a receipt needs a store that is on no node, and there is none"
        }
        let asked = "a receipt waits for \(beforeReceipt) store\(beforeReceipt == 1 ? "" : "s")"
        guard stores.count >= beforeReceipt else { return "\(asked), and the fleet has \(stores.count)" }
        let ownCounts = Dictionary(grouping: stores.compactMap(\.node), by: { $0 }).mapValues(\.count)
        let others = stores.count - (ownCounts.values.max() ?? 0)
        return others < beforeReceipt ? "\(asked), and a node that keeps a store has \(others) beside its own" : nil
    }

    /// What of the replicas and sites that were asked for by number cannot be given to any node, whichever of these
    /// active stores are chosen.
    package func shortfall(among candidates: [Candidate]) -> String? {
        if let replicas, candidates.count < replicas { return shortfall(of: candidates) }
        let domains = Set(candidates.map(\.domain)).count
        guard let sites, domains < min(sites, wanted(of: candidates.count)) else { return nil }
        return "\(sites) sites are wanted, and the active stores are in \(domains)"
    }

    /// What of the replicas and sites that were asked for by number these stores cannot give: nil where they give it all.
    ///
    /// Such a placement holds for the moment only, so nothing is given up for it.
    package func shortfall(of chosen: [Candidate]) -> String? {
        if let replicas, chosen.count < replicas {
            return "\(replicas) replicas are wanted, and \(chosen.count) active stores can have one"
        }
        let domains = Set(chosen.map(\.domain)).count
        if let sites, domains < min(sites, chosen.count) {
            return "\(sites) sites are wanted, and the active stores are in \(domains)"
        }
        return nil
    }

    /// FNV-1a over the node and the store, mixed as splitmix64 does. It says where replicas are: it never changes.
    private static func weight(of store: String, for node: NodeID) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in Array(node.bytes) + Array(store.utf8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
        return hash ^ (hash >> 31)
    }
}
