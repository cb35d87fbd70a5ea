import MusterCatalog
import MusterModel

/// A large fleet as a whole: each node one square in the colour of its worst database, each hundred a link to its page.
///
/// It is one path for each state, so that ten thousand nodes are some hundred kilobytes and a handful of elements.
enum FleetMap {
    /// Fewer nodes are all seen by their cells.
    private static let fewest = 200
    private static let columns = 200
    private static let pitch = 8
    private static let side = 7

    static func drawing(_ nodes: [FleetGlance.NodeCounts], nodesOnAPage: Int) -> HTML {
        guard nodes.count > fewest else { return HTML() }
        let rows = (nodes.count + columns - 1) / columns
        let states = nodes.map { $0.counts.worst ?? .never }
        let pages = stride(from: 0, to: nodes.count, by: nodesOnAPage).map { $0..<min($0 + nodesOnAPage, nodes.count) }
        return PageParts.section("All nodes", id: "map") {
            tag("p", .class("muted")) {
                "Each square is a node, by name, in the colour of its worst database. Choose a part to see its nodes."
            }
            tag("div", .class("map")) {
                tag(
                    "svg", .of(.viewBox, "0 0 \(columns * pitch) \(rows * pitch)"), .of(.role, "group"),
                    .of(.ariaLabelledBy, "map-title"), .of(.ariaDescribedBy, "map-text")
                ) {
                    tag("title", .id("map-title")) {
                        "All \(PageText.grouped(nodes.count)) nodes by their worst database"
                    }
                    tag("desc", .id("map-text")) { summary(states) }
                    for state in ProvenState.protected { squares(state, in: states) }
                    for (index, range) in pages.enumerated() { rowLink(index, range, nodes) }
                }
            }
        }
    }

    private static func summary(_ states: [ProvenState]) -> String {
        var counts = StateCounts()
        for state in states { counts[state] += 1 }
        return "By the worst of each node's databases: \(counts.text)."
    }

    /// What is failing or stale is a full square, what is better leaves a part out: also without colours they differ.
    private static func squares(_ wanted: ProvenState, in states: [ProvenState]) -> HTML {
        var path = ""
        for (index, state) in states.enumerated() where state == wanted {
            let place = "M\(index % columns * pitch) \(index / columns * pitch)"
            switch state {
            case .proven: path += place + "m1 1h5v5h-5z"
            case .unproven: path += place + "m1 1h5l-5 5z"
            case .never, .removed: path += place + "m2 2h3v3h-3z"
            case .stale: path += place + "m0 3l3-3l3 3l-3 3z"
            case .failing: path += place + "h7v7h-7z"
            }
        }
        guard !path.isEmpty else { return HTML() }
        return tag("path", .class(wanted.rawValue), .of(.d, path)) {}
    }

    private static func rowLink(_ index: Int, _ range: Range<Int>, _ nodes: [FleetGlance.NodeCounts]) -> HTML {
        var counts = StateCounts()
        for node in nodes[range] { counts.add(node.counts) }
        let (first, last) = (nodes[range.lowerBound].node.name, nodes[range.upperBound - 1].node.name)
        let text = "Nodes \(first) to \(last): \(counts.text)"
        // A page of nodes is a part of one row, or whole rows.
        let (top, bottom) = (range.lowerBound / columns, (range.upperBound - 1) / columns)
        let left = top == bottom ? range.lowerBound % columns : 0
        let width = top == bottom ? range.count : columns
        return tag(
            "a", .href(PagePath(query: ["page": String(index + 1)], fragment: "databases")), .label(text)
        ) {
            tag(
                "rect", .class("hit"), .of(.x, String(left * pitch)), .of(.y, String(top * pitch)),
                .of(.width, String(width * pitch)), .of(.height, String((bottom - top + 1) * pitch))
            ) { tag("title") { text } }
        }
    }
}

/// The shares of the states as one bar.
enum StackedBar {
    private static let width = 1000.0
    private static let least = 8.0
    private static let gap = 2.0

    static func drawing(_ counts: StateCounts) -> HTML {
        guard counts.total > 0 else { return HTML() }
        return tag(
            "svg", .class("shares"), .of(.viewBox, "0 0 1000 12"), .of(.preserveAspectRatio, "none"),
            .of(.role, "img"), .label("Of \(PageText.count(counts.total, "database")): \(counts.text)")
        ) { for part in parts(counts) { part } }
    }

    private static func parts(_ counts: StateCounts) -> [HTML] {
        var x = 0.0
        return widths(counts).map { state, part in
            defer { x += part }
            return tag(
                "rect", .class(state.rawValue), .number(.x, x), .of(.y, "0"),
                .number(.width, x + part < width ? part - gap : part), .of(.height, "12")
            ) { tag("title") { "\(PageText.grouped(counts[state])) \(state.rawValue)" } }
        }
    }

    /// Of each state that is there, the best first; together they are as wide as the bar, and each can be seen, be it
    /// ever so little.
    static func widths(_ counts: StateCounts) -> [(state: ProvenState, width: Double)] {
        let states = ProvenState.protected.reversed().filter { counts[$0] > 0 }
        let room = width - least * Double(states.count)
        return states.map { ($0, least + room * Double(counts[$0]) / Double(counts.total)) }
    }
}
