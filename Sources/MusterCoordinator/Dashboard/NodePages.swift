import Hummingbird
import MusterCatalog
import MusterModel

/// The list of nodes, and the page of one.
extension Coordinator {
    private static let nodesInAList = 200
    private static let databasesInAList = 200
    private static let historyDays = 30
    private static let mostReceipts = 20_000

    func nodesPage(_ call: Call) async throws -> Response {
        let glance = try await glance()
        let words = (call.query("find") ?? "").cut(100)
        let search = NameSearch(words)
        let found = words.isEmpty ? glance.nodes : glance.nodes.filter { search.finds($0.node.name) }
        let pages = max(1, (found.count + Self.nodesInAList - 1) / Self.nodesInAList)
        let number = min(max(1, call.query("page").flatMap { Int($0) } ?? 1), pages)
        let shown = found.dropFirst((number - 1) * Self.nodesInAList).prefix(Self.nodesInAList)
        let rows = try await catalog.nodes(Set(shown.map(\.node.id))).map { ($0.id, $0) }
        let nodes = Dictionary(rows, uniquingKeysWith: { first, _ in first })
        func path(_ page: Int) -> PagePath {
            PagePath("nodes", query: ["find": words, "page": page > 1 ? String(page) : nil])
        }
        let page = Page("Nodes", in: .nodes) {
            PageParts.heading("Nodes")
            tag("form", .class("filter"), .of(.method, "get"), .action(PagePath("nodes")), .of(.role, "search")) {
                tag("label", .of(.for, "find")) { "Name" }
                emptyTag("input", .id("find"), .of(.name, "find"), .of(.type, "search"), .of(.value, words))
                tag("button", .of(.type, "submit")) { "Show" }
            }
            if shown.isEmpty {
                PageParts.empty(words.isEmpty ? "No node has joined yet." : "No node has such a name.")
            } else {
                PageParts.table(
                    "Nodes by name", NodeParts.columns,
                    rows: shown.compactMap { counted in
                        nodes[counted.node.id].map { NodeParts.row($0, counted, now: glance.at) }
                    })
            }
            PageParts.pager(
                "Pages of nodes", previous: number > 1 ? path(number - 1) : nil,
                next: number < pages ? path(number + 1) : nil, place: "Page \(number) of \(pages)")
        }
        return page.response(for: call.session, now: glance.at)
    }

    func nodePage(_ call: Call) async throws -> Response {
        let node = try await node(call.parameters[0], for: call.caller)
        let now = clock.now()
        async let receipts = catalog.receipts(
            of: node.id, since: now - .seconds(Self.historyDays * 86_400), limit: Self.mostReceipts)
        let after = call.query("after").flatMap { DatabaseID($0) }
        let found = try await catalog.databases(of: node.id, after: after, limit: Self.databasesInAList + 1)
        let databases = found.prefix(Self.databasesInAList)
        let next = found.count > databases.count ? databases.last : nil
        let path = PagePath("nodes", node.id.description, fragment: "databases")
        let scene = scene(of: [.init(of: node)], now: now)
        let days = DayCounts(try await receipts, before: now, count: Self.historyDays)
        let silence = scene.silences[node.id]
        let page = Page(node.name, in: .nodes) {
            PageParts.heading(
                node.name, under: [(Page.Section.nodes.path, "Nodes")], badge: NodeParts.badge(node, silence?.since))
            PageParts.facts(NodeParts.facts(of: node, silence, now: now))
            PageParts.section("Databases", id: "databases") {
                if databases.isEmpty { PageParts.empty("The node has not named any database yet.") }
                if let silence, !databases.isEmpty {
                    PageParts.table(
                        "Databases of \(node.name)", DatabaseParts.columns,
                        rows: databases.map { DatabaseParts.row($0, silence, now: now) })
                }
                PageParts.pager(
                    "Pages of databases", previous: after == nil ? nil : path,
                    next: next.map { last in
                        PagePath(
                            "nodes", node.id.description, query: ["after": last.id.description], fragment: "databases")
                    }, place: "\(PageText.count(node.databaseCount, "database")) by name")
            }
            PageParts.section("History of 30 days", id: "history") {
                tag("div", .class("charts")) {
                    Chart(
                        id: "received", title: "Snapshots received, by day", quantity: .count,
                        series: [Chart.Series(name: "Snapshots", kind: .bars, points: days.counts)]
                    ).drawing()
                    Chart(
                        id: "stored", title: "Bytes added to the stores, by day", quantity: .bytes,
                        series: [Chart.Series(name: "Bytes", kind: .bars, points: days.bytes)]
                    ).drawing()
                }
            }
        }
        return page.response(for: call.session, now: now)
    }
}

/// Receipts summed up by day; days without any count as nothing.
struct DayCounts {
    let counts: [Chart.Point]
    let bytes: [Chart.Point]

    private static let day: Int64 = 86_400_000_000

    /// - Parameter count: so many days, with that of `end` as the last.
    init(_ receipts: [(receivedAt: Timestamp, storedBytes: Int64)], before end: Timestamp, count: Int) {
        var sums: [Int64: (count: Int, bytes: Int64)] = [:]
        for receipt in receipts {
            let day = receipt.receivedAt.microseconds / Self.day
            sums[day, default: (0, 0)].count += 1
            sums[day, default: (0, 0)].bytes += receipt.storedBytes
        }
        let last = end.microseconds / Self.day
        let days = (last - Int64(max(1, count)) + 1)...last
        counts = days.map { day in
            Chart.Point(at: Timestamp(microseconds: day * Self.day), value: Double(sums[day]?.count ?? 0))
        }
        bytes = days.map { day in
            Chart.Point(at: Timestamp(microseconds: day * Self.day), value: Double(sums[day]?.bytes ?? 0))
        }
    }
}

/// What is told of a node.
enum NodeParts {
    static let columns: [PageParts.Column] = [
        .text("Node"), .text("State"), .text("Databases"), .text("Last contact"), .text("Agent"),
        .text("Clock"), .text("Certificate"),
    ]

    static func row(_ node: Catalog.Node, _ counted: FleetGlance.NodeCounts, now: Timestamp) -> [HTML] {
        [
            PageParts.link(PagePath("nodes", node.id.description), node.name),
            badge(node, counted.silentSince),
            .text(counted.counts.text),
            PageParts.ago(node.lastContactAt, now: now),
            .text(node.agentVersion),
            clock(node),
            certificate(node, now: now),
        ]
    }

    static func badge(_ node: Catalog.Node, _ silentSince: Timestamp?) -> HTML {
        guard node.state == .active else { return PageParts.badge(.idle, node.state.rawValue) }
        return silentSince == nil ? PageParts.badge(.good, "in touch") : PageParts.badge(.warning, "silent")
    }

    static func facts(of node: Catalog.Node, _ silence: NodeSilence?, now: Timestamp) -> [(String, HTML)] {
        [
            ("Last contact", PageParts.ago(node.lastContactAt, now: now)),
            ("Last report", PageParts.ago(silence?.lastReport, now: now)),
            ("Joined", PageParts.ago(node.joinedAt, now: now)),
            ("Agent", .text(node.agentVersion)),
            ("Clock", clock(node)),
            ("Certificate", certificate(node, now: now)),
            ("Snapshots", .text(PageText.grouped(node.snapshotCount))),
            ("Id", tag("code") { node.id.description }),
        ]
    }

    private static func clock(_ node: Catalog.Node) -> HTML {
        guard let offset = node.clockOffset else { return tag("span", .class("muted")) { "unknown" } }
        guard offset.microseconds.magnitude >= 1_000_000 else { return .text("right") }
        let span = PageText.span(.microseconds(Int64(clamping: offset.microseconds.magnitude)))
        return .text(span + (offset > .zero ? " ahead" : " behind"))
    }

    private static func certificate(_ node: Catalog.Node, now: Timestamp) -> HTML {
        guard let end = node.certificateExpiresAt else { return tag("span", .class("muted")) { "none" } }
        guard end > now else { return PageParts.badge(.bad, "expired \(PageText.ago(end, now: now))") }
        return .text("\(PageText.span(end - now)) left")
    }
}
