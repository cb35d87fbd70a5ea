import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// The stores: whether they answer, what they lack, and how they grow.
extension Coordinator {
    func storesPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let stores = try await storeStatuses()
        var growths: [String: StoreGrowth] = [:]
        for store in self.stores.all {
            growths[store.name] = StoreGrowth(try await catalog.growth(ofStore: store.number))
        }
        let page = Page("Stores", in: .stores) {
            PageParts.heading("Stores")
            PageParts.table(
                "Stores and what they lack", StoreParts.columns,
                rows: stores.map { StoreParts.row($0, growths[$0.name]) })
            for store in stores where !store.reason.isEmpty || store.state != "ok" {
                tag("div", .class("notice warning"), .of(.role, "note")) {
                    tag("p") {
                        PageParts.name(store.name)
                        ": " + (store.state != "ok" ? store.state : "a copy is not there yet: \(store.reason)")
                    }
                }
            }
            PageParts.section("Growth", id: "growth") {
                tag("div", .class("charts")) {
                    for (index, store) in stores.enumerated() { growths[store.name]?.chart(store.name, index) }
                }
            }
        }
        return page.response(for: call.session, now: now)
    }
}

/// How one store filled, and how it goes on if it goes on so.
struct StoreGrowth {
    /// The pace is that of so long.
    private static let window = Duration.seconds(7 * 86_400)
    /// And of no less: from a few hours nothing follows.
    private static let least = Duration.seconds(86_400)

    let points: [Catalog.GrowthPoint]

    init(_ points: [Catalog.GrowthPoint]) { self.points = points }

    /// Bytes a day; nil where there is too little to say.
    var pace: Double? {
        guard let last = points.last, let first = points.first(where: { last.at - $0.at <= Self.window }),
            last.at - first.at >= Self.least
        else { return nil }
        return Double(last.bytes - first.bytes) / ((last.at - first.at).inSeconds / 86_400)
    }

    /// When nothing is left, at this pace; nil where it does not grow.
    func timeLeft(freeBytes: UInt64) -> Duration? {
        guard let pace, pace >= 1, freeBytes > 0, freeBytes < UInt64(Int64.max) else { return nil }
        return .seconds(Int64(min(Double(freeBytes) / pace * 86_400, 1e11)))
    }

    func chart(_ name: String, _ index: Int) -> HTML {
        Chart(
            id: "growth-\(index)", title: "Bytes in \(name)", quantity: .bytes,
            series: [
                Chart.Series(
                    name: "Bytes", kind: .line, points: points.map { Chart.Point(at: $0.at, value: Double($0.bytes)) })
            ]
        ).drawing()
    }
}

/// What is told of a store.
enum StoreParts {
    static let columns: [PageParts.Column] = [
        .text("Store"), .text("Health"), .text("Placement"), .text("Site"), .number("Used"), .number("Grows"),
        .number("Free"), .number("Copies to come"), .number("Bad replicas"), .text("Place"),
    ]

    static func row(_ store: Muster_V1_StoreStatus, _ growth: StoreGrowth?) -> [HTML] {
        [
            PageParts.name(store.name),
            badge(store),
            .text(store.placement),
            PageParts.name(store.site.isEmpty ? "its own" : store.site),
            .text(growth?.points.last.map { PageText.bytes($0.bytes) } ?? "–"),
            .text(growth?.pace.map(pace) ?? "–"),
            free(store, growth),
            .text(PageText.grouped(Int(clamping: store.wantedCopies))),
            .text(PageText.grouped(Int(clamping: store.badReplicas))),
            tag("code") { store.url },
        ]
    }

    private static func pace(_ pace: Double) -> String {
        let bytes = PageText.bytes(Int64(pace.magnitude))
        return pace <= -1 ? "–\(bytes) a day" : "\(bytes) a day"
    }

    private static func free(_ store: Muster_V1_StoreStatus, _ growth: StoreGrowth?) -> HTML {
        guard store.freeBytes > 0 else { return .text("–") }
        guard store.freeBytes != .max else { return .text("any") }
        let bytes = PageText.bytes(Int64(clamping: store.freeBytes))
        guard let left = growth?.timeLeft(freeBytes: store.freeBytes), left < .seconds(3650 * 86_400) else {
            return .text(bytes)
        }
        return .text("\(bytes), for \(PageText.span(left))")
    }

    static func badge(_ store: Muster_V1_StoreStatus) -> HTML {
        if store.state != "ok" { return PageParts.badge(.bad, "away") }
        if store.badReplicas > 0 {
            return PageParts.badge(.bad, PageText.count(Int(clamping: store.badReplicas), "bad replica"))
        }
        if store.wantedCopies > 0 { return PageParts.badge(.warning, "behind") }
        return PageParts.badge(.good, store.placement == "active" ? "good" : store.placement)
    }
}
