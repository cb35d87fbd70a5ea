import MusterCatalog
import MusterModel

/// Every database as a cell, by node, in pages of nodes.
struct FleetCells {
    /// Cells of one node beyond so many are summed up; its own page has them all.
    private static let mostOfANode = 60

    let glance: FleetGlance
    let filter: FleetFilter

    func section() -> HTML {
        let nodes = glance.activeNodes.compactMap(filter.part)
        let pages = max(1, (nodes.count + Coordinator.nodesOnAPage - 1) / Coordinator.nodesOnAPage)
        let page = min(filter.page, pages)
        let shown = nodes.dropFirst((page - 1) * Coordinator.nodesOnAPage).prefix(Coordinator.nodesOnAPage)
        return PageParts.section("Databases by node", id: "databases") {
            form
            if shown.isEmpty {
                PageParts.empty(filter.isEmpty ? "No node has joined yet." : "Nothing fits these filters.")
            } else {
                tag("p", .class("muted")) { Self.place(shown.count, of: nodes.count, page, pages) }
                tag("p") { tag("a", .class("skip"), .href(.here("after-cells"))) { "Skip the databases" } }
                tag("ul", .class("nodes")) { for node in shown { card(node) } }
            }
            tag("div", .id("after-cells"), .of(.tabindex, "-1")) {
                PageParts.pager(
                    "Pages of nodes", previous: page > 1 ? filter.path(page: page - 1) : nil,
                    next: page < pages ? filter.path(page: page + 1) : nil, place: "Page \(page) of \(pages)")
            }
        }
    }

    private static func place(_ shown: Int, of count: Int, _ page: Int, _ pages: Int) -> String {
        let first = (page - 1) * Coordinator.nodesOnAPage + 1
        return pages == 1
            ? PageText.count(count, "node")
            : "Nodes \(PageText.grouped(first)) to \(PageText.grouped(first + shown - 1)) of \(PageText.grouped(count))"
    }

    private var form: HTML {
        tag("form", .class("filter"), .of(.method, "get"), .action(PagePath()), .of(.role, "search")) {
            tag("label", .of(.for, "find")) { "Name" }
            emptyTag(
                "input", .id("find"), .of(.name, "find"), .of(.type, "search"), .of(.value, filter.words),
                .of(.autocomplete, "off"))
            tag("label", .of(.for, "state")) { "State" }
            tag("select", .id("state"), .of(.name, "state")) {
                tag("option", .of(.value, ""), .flag(.selected, if: filter.state == nil)) { "any" }
                for state in CellState.allCases {
                    tag("option", .of(.value, state.word), .flag(.selected, if: filter.state == state)) { state.word }
                }
            }
            tag("button", .of(.type, "submit")) { "Show" }
            if !filter.isEmpty { tag("a", .href(PagePath(fragment: "databases"))) { "Show all" } }
        }
    }

    private func card(_ node: FleetGlance.NodeCells) -> HTML {
        let rest = node.cells.count - Self.mostOfANode
        let path = PagePath("nodes", node.node.id.description)
        return tag("li", .class("card")) {
            tag("h3") {
                PageParts.link(path, node.node.name)
                if node.silentSince != nil { PageParts.badge(.warning, "silent") }
            }
            if node.cells.isEmpty {
                tag("p", .class("muted")) { "No databases" }
            } else {
                tag("ul", .class("cells"), .label("Databases of \(node.node.name)")) {
                    for cell in node.cells.prefix(Self.mostOfANode) { tag("li") { square(cell) } }
                    if rest > 0 {
                        tag("li") { tag("a", .class("more"), .href(path)) { "and \(PageText.grouped(rest)) more" } }
                    }
                }
            }
        }
    }

    private func square(_ cell: FleetGlance.Cell) -> HTML {
        let proof =
            cell.verifiedAt.map { "rebuilt \(PageText.ago($0, now: glance.at))" } ?? "never rebuilt"
        let receipt = cell.receivedAt.map { "received \(PageText.ago($0, now: glance.at))" } ?? "no snapshot"
        let text = "\(cell.name): \(cell.state.word), \(receipt), \(proof)"
        return tag(
            "a", .class("cell \(cell.state.word)"), .href(PagePath("databases", cell.id.description)),
            .of(.title, text), .label(text)
        ) { cell.state.tone.sign }
    }
}
