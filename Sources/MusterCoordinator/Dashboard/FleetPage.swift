import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// The fleet at a glance: alarms first, then counts, stores and every database as a cell.
extension Coordinator {
    private static let alarmsOnTop = 5
    private static let runsOnTop = 3

    func fleetPage(_ call: Call) async throws -> Response {
        let glance = try await glance()
        let running = try await catalog.runs(before: nil, limit: Self.runsOnTop, onlyRunning: true)
        let filter = FleetFilter(call)
        let selection = try await selection(filter, of: glance)
        var page = Page("Fleet", in: .fleet) {
            PageParts.heading("Fleet")
            Self.summary(glance)
            Self.topAlarms(glance)
            Self.stateTiles(glance.counts, filter)
            CoverageParts.section(glance.coverage, now: glance.at)
            for run in running { RunParts.strip(run, now: glance.at) }
            Self.storeStrip(glance.stores)
            FleetMap.drawing(glance.activeNodes, nodesOnAPage: Self.nodesOnAPage)
            FleetCells(selection: selection).section()
        }
        if !running.isEmpty { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: glance.at)
    }

    private static func summary(_ glance: FleetGlance) -> HTML {
        tag("p", .class("lead")) {
            PageText.count(glance.activeNodes.count, "node") + ", "
            PageText.count(glance.counts.total, "database") + ", "
            PageText.count(glance.totals.snapshots, "snapshot") + ", "
            PageText.bytes(glance.totals.storedBytes) + " stored. "
            tag("strong") { PageText.share(glance.counts[.proven], of: glance.counts.total) }
            " of the databases are proven to come back."
        }
    }

    private static func topAlarms(_ glance: FleetGlance) -> HTML {
        let count = glance.alarms.reduce(0) { $0 + max(1, $1.more) }
        guard count > 0 else {
            return tag("p", .class("notice good")) {
                PageParts.badge(.good, "no alarms")
                " Nothing needs a person at the moment."
            }
        }
        return PageParts.section(PageText.count(count, "alarm"), id: "alarms") {
            tag("ul", .class("alarms")) {
                for alarm in glance.alarms.prefix(alarmsOnTop) { AlarmParts.line(alarm, now: glance.at) }
            }
            if glance.alarms.count > alarmsOnTop {
                tag("p") { tag("a", .href(Page.Section.alarms.path)) { "All \(PageText.grouped(count)) alarms" } }
            }
        }
    }

    private static func stateTiles(_ counts: StateCounts, _ filter: FleetFilter) -> HTML {
        PageParts.section("Proven state", id: "states") {
            StackedBar.drawing(counts)
            tag("ul", .class("tiles")) {
                for state in ProvenState.protected.reversed() { stateTile(state, counts, filter) }
            }
        }
    }

    private static func stateTile(_ state: ProvenState, _ counts: StateCounts, _ filter: FleetFilter) -> HTML {
        let isChosen = filter.state == state
        return tag("li") {
            tag(
                "a", .class("tile \(state.rawValue)"), .of(.ariaCurrent, isChosen ? "true" : nil),
                .href(PagePath(query: ["state": isChosen ? nil : state.rawValue], fragment: "databases"))
            ) {
                tag("span", .class("cell \(state.rawValue)"), .hidden) { state.tone.sign }
                tag("span", .class("figure")) { PageText.grouped(counts[state]) }
                tag("span", .class("what")) { state.title }
                tag("span", .class("muted")) {
                    tag("span", .class("share")) { PageText.share(counts[state], of: counts.total) }
                    " · \(state.meaning)"
                }
            }
        }
    }

    private static func storeStrip(_ stores: [Muster_V1_StoreStatus]) -> HTML {
        PageParts.section("Stores", id: "stores") {
            tag("ul", .class("strip")) {
                for store in stores {
                    tag("li") {
                        tag("a", .href(Page.Section.stores.path)) { PageParts.name(store.name) }
                        StoreParts.badge(store)
                        if store.freeBytes > 0 {
                            tag("span", .class("muted")) {
                                PageText.bytes(Int64(clamping: store.freeBytes)) + " free"
                            }
                        }
                        if store.wantedCopies > 0 {
                            tag("span", .class("muted")) {
                                PageText.count(Int(clamping: store.wantedCopies), "copy", "copies") + " to come"
                            }
                        }
                    }
                }
            }
        }
    }
}
