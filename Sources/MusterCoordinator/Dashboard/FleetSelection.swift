import MusterCatalog
import MusterModel

/// What of the fleet the page shows.
struct FleetFilter {
    let state: ProvenState?
    /// A part of a node's or a database's name.
    let words: String
    /// From 1 on.
    let page: Int

    init(_ call: Call) {
        words = (call.query("find") ?? "").cut(100)
        state = call.query("state").flatMap(ProvenState.init(rawValue:)).flatMap { $0 == .removed ? nil : $0 }
        page = max(1, call.query("page").flatMap { Int($0) } ?? 1)
    }

    var isEmpty: Bool { state == nil && words.isEmpty }

    func path(page: Int) -> PagePath {
        PagePath(
            query: ["state": state?.rawValue, "find": words, "page": page > 1 ? String(page) : nil],
            fragment: "databases")
    }
}

/// One page of the nodes that a filter lets through, with their databases.
struct FleetSelection {
    struct NodeCells {
        let node: FleetGlance.NodeCounts
        /// By name, a bounded number.
        let cells: [Catalog.Database]
        /// How many more there are.
        let rest: Int
    }

    let filter: FleetFilter
    let scene: FleetScene
    let page: Int
    let pages: Int
    let nodeCount: Int
    let shown: [NodeCells]
}

extension Coordinator {
    /// So many nodes are drawn with their databases at once.
    static let nodesOnAPage = 100
    /// Databases of one node beyond so many are summed up; its own page has them all.
    private static let cellsOfANode = 60

    func selection(_ filter: FleetFilter, of glance: FleetGlance) async throws -> FleetSelection {
        let nodes = try await nodes(filter, of: glance)
        let pages = max(1, (nodes.count + Self.nodesOnAPage - 1) / Self.nodesOnAPage)
        let page = min(filter.page, pages)
        let shown = nodes.dropFirst((page - 1) * Self.nodesOnAPage).prefix(Self.nodesOnAPage)
        return FleetSelection(
            filter: filter, scene: glance.scene, page: page, pages: pages, nodeCount: nodes.count,
            shown: try await cells(filter, of: Array(shown), in: glance.scene))
    }

    /// Those of which something is shown, with counts of what fits the words.
    private func nodes(_ filter: FleetFilter, of glance: FleetGlance) async throws -> [FleetGlance.NodeCounts] {
        var nodes = glance.activeNodes
        if !filter.words.isEmpty {
            let search = NameSearch(filter.words)
            let groups = try await catalog.survey(
                provenSince: glance.at - ProvenState.proofLifetime, glance.scene.patience, words: filter.words)
            let counts = glance.scene.counts(of: groups)
            nodes = nodes.compactMap { node in
                var part = node
                part.counts = counts[node.node.id] ?? StateCounts()
                return part.counts.total > 0 || search.finds(node.node.name) ? part : nil
            }
        }
        guard let state = filter.state else { return nodes }
        return nodes.filter { $0.counts[state] > 0 }
    }

    private func cells(
        _ filter: FleetFilter, of nodes: [FleetGlance.NodeCounts], in scene: FleetScene
    ) async throws -> [FleetSelection.NodeCells] {
        var found: [NodeID: [Catalog.Database]] = [:]
        for areSilent in [false, true] {
            let asked = nodes.filter { ($0.silentSince != nil) == areSilent }
            var query = Catalog.CellQuery(
                nodes: asked.map(\.node.id), provenSince: scene.now - ProvenState.proofLifetime,
                patience: scene.patience, limit: Self.cellsOfANode)
            (query.words, query.state, query.areSilent) = (filter.words, filter.state, areSilent)
            found.merge(try await catalog.cells(query)) { first, _ in first }
        }
        return nodes.map { node in
            let fitting = (found[node.node.id] ?? []).filter { database in
                filter.state == nil || scene.state(of: database) == filter.state
            }
            let cells = Array(fitting.prefix(Self.cellsOfANode))
            let count = filter.state.map { node.counts[$0] } ?? node.counts.total
            return FleetSelection.NodeCells(node: node, cells: cells, rest: max(0, count - cells.count))
        }
    }
}
