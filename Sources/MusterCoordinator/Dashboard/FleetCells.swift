import MusterCatalog
import MusterModel

/// Every database as a cell, by node, in pages of nodes.
struct FleetCells {
    let selection: FleetSelection

    private var filter: FleetFilter { selection.filter }

    func section() -> HTML {
        let (page, pages) = (selection.page, selection.pages)
        return PageParts.section("Databases by node", id: "databases") {
            form
            if selection.shown.isEmpty {
                PageParts.empty(filter.isEmpty ? "No node has joined yet." : "Nothing fits these filters.")
            } else {
                tag("p", .class("muted")) { Self.place(selection.shown.count, of: selection.nodeCount, page, pages) }
                tag("p") { tag("a", .class("skip"), .href(.here("after-cells"))) { "Skip the databases" } }
                tag("ul", .class("nodes")) { for node in selection.shown { card(node) } }
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
                for state in ProvenState.protected {
                    tag("option", .of(.value, state.rawValue), .flag(.selected, if: filter.state == state)) {
                        state.rawValue
                    }
                }
            }
            tag("button", .of(.type, "submit")) { "Show" }
            if !filter.isEmpty { tag("a", .href(PagePath(fragment: "databases"))) { "Show all" } }
        }
    }

    private func card(_ shown: FleetSelection.NodeCells) -> HTML {
        let node = shown.node.node
        let path = PagePath("nodes", node.id.description)
        return tag("li", .class("card")) {
            tag("h3") {
                PageParts.link(path, node.name)
                if shown.node.silentSince != nil { PageParts.badge(.warning, "silent") }
            }
            if shown.cells.isEmpty {
                tag("p", .class("muted")) { "No databases" }
            } else {
                tag("ul", .class("cells"), .label("Databases of \(node.name)")) {
                    for database in shown.cells { tag("li") { square(database) } }
                    if shown.rest > 0 {
                        tag("li") {
                            tag("a", .class("more"), .href(path)) { "and \(PageText.grouped(shown.rest)) more" }
                        }
                    }
                }
            }
        }
    }

    @HTMLBuilder
    private func square(_ database: Catalog.Database) -> HTML {
        let now = selection.scene.now
        if let state = selection.scene.state(of: database) {
            let proof = database.verifiedAt.map { "rebuilt \(PageText.ago($0, now: now))" } ?? "never rebuilt"
            let receipt =
                database.newestReceivedAt.map { "received \(PageText.ago($0, now: now))" } ?? "no snapshot"
            let text = "\(database.name): \(state.rawValue), \(receipt), \(proof)"
            tag(
                "a", .class("cell \(state.rawValue)"), .href(PagePath("databases", database.id.description)),
                .of(.title, text), .label(text)
            ) { state.tone.sign }
        }
    }
}
