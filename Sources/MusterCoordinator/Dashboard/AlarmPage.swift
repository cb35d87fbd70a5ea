import Hummingbird
import MusterModel

/// The alarms that stand, each with what to do.
extension Coordinator {
    private static let alarmsShown = 1000

    func alarmsPage(_ call: Call) async throws -> Response {
        let glance = try await glance()
        let page = Page("Alarms", in: .alarms) {
            PageParts.heading("Alarms")
            if glance.alarms.isEmpty {
                PageParts.empty("No alarm stands.")
            } else {
                tag("ul", .class("alarms")) {
                    for alarm in glance.alarms.prefix(Self.alarmsShown) { AlarmParts.line(alarm, now: glance.at) }
                }
                if glance.alarms.count > Self.alarmsShown {
                    tag("p", .class("muted")) {
                        "And \(PageText.grouped(glance.alarms.count - Self.alarmsShown)) more: see 'muster status'."
                    }
                }
            }
        }
        return page.response(for: call.session, now: glance.at)
    }
}

/// What is told of an alarm.
enum AlarmParts {
    static func line(_ alarm: FleetAlarm, now: Timestamp) -> HTML {
        tag("li", .class("alarm")) {
            PageParts.badge(tone(of: alarm.severity), alarm.kind.rawValue)
            tag("div") {
                tag("p") {
                    tag("strong") { PageParts.name(alarm.summary) }
                }
                tag("p", .class("muted")) { PageParts.hint(alarm.hint) }
            }
            tag("p", .class("muted whose")) {
                whose(alarm)
                if let since = alarm.since {
                    " since "
                    PageParts.ago(since, now: now)
                }
            }
        }
    }

    @HTMLBuilder
    private static func whose(_ alarm: FleetAlarm) -> HTML {
        if let id = alarm.nodeID { PageParts.link(PagePath("nodes", id.description), alarm.node) }
        if let id = alarm.databaseID {
            " / "
            PageParts.link(PagePath("databases", id.description), alarm.database)
        }
        if !alarm.store.isEmpty { PageParts.link(Page.Section.stores.path, alarm.store) }
    }

    private static func tone(of severity: AlarmSeverity) -> PageParts.Tone {
        switch severity {
        case .critical: .bad
        case .warning: .warning
        case .info: .idle
        }
    }
}
