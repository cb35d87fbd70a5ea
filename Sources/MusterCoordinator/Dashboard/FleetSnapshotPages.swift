import Hummingbird
import MusterCatalog
import MusterModel

/// Snapshots of the whole fleet: all of them, and one with what is missing in it.
extension Coordinator {
    private static let fleetSnapshotsInAList = 200
    private static let absentShown = 500
    private static let membersShown = 200

    func fleetSnapshotsPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let found = try await catalog.fleetSnapshots(limit: Self.fleetSnapshotsInAList)
        var page = Page("Fleet snapshots", in: .fleetSnapshots) {
            PageParts.heading("Fleet snapshots")
            if found.isEmpty {
                PageParts.empty("There is none yet. Take one with 'muster snapshot create --fleet --wait'.")
            } else {
                PageParts.table(
                    "Fleet snapshots, newest first", FleetSnapshotParts.columns,
                    rows: found.map { FleetSnapshotParts.row($0, now: now) })
            }
        }
        if found.contains(where: { !$0.isFinished }) { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: now)
    }

    func fleetSnapshotPage(_ call: Call) async throws -> Response {
        let name = call.parameters[0]
        guard let fleet = try await catalog.fleetSnapshot(name) else {
            throw Refusal.notFound("fleet snapshot '\(name.cut(80))'")
        }
        let now = clock.now()
        let absent = try await catalog.items(ofFleetSnapshot: name, areMembers: false, limit: Self.absentShown)
        let members = try await catalog.items(ofFleetSnapshot: name, areMembers: true, limit: Self.membersShown)
        var page = Page(fleet.name, in: .fleetSnapshots) {
            PageParts.heading(
                fleet.name, under: [(Page.Section.fleetSnapshots.path, "Fleet snapshots")],
                badge: FleetSnapshotParts.badge(fleet))
            tag("div", .class("run")) {
                FleetSnapshotParts.progress(fleet, "Databases with a snapshot in it")
                tag("p", .of(.role, "status")) { FleetSnapshotParts.sentence(fleet) }
            }
            PageParts.facts(FleetSnapshotParts.facts(of: fleet, now: now))
            PageParts.section("Not in it", id: "absent") {
                FleetSnapshotParts.absent(absent, of: fleet.total - fleet.members, isFinished: fleet.isFinished)
            }
            PageParts.section("Members", id: "members") {
                FleetSnapshotParts.members(members, of: fleet.members)
            }
        }
        if !fleet.isFinished { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: now)
    }
}

/// What is told of a fleet snapshot.
enum FleetSnapshotParts {
    static let columns: [PageParts.Column] = [
        .text("Name"), .text("State"), .text("Complete"), .number("Databases"), .text("Taken"), .text("Labels"),
        .text("By"),
    ]

    static func row(_ fleet: Catalog.FleetSnapshot, now: Timestamp) -> [HTML] {
        [
            PageParts.link(PagePath("fleet-snapshots", fleet.name), fleet.name),
            badge(fleet),
            progress(fleet, "Complete"),
            .text("\(PageText.grouped(fleet.members)) of \(PageText.grouped(fleet.total))"),
            PageParts.ago(fleet.createdAt, now: now),
            labels(fleet),
            PageParts.name(fleet.actor),
        ]
    }

    static func badge(_ fleet: Catalog.FleetSnapshot) -> HTML {
        guard fleet.isFinished else { return PageParts.badge(.calm, "under way") }
        return fleet.members == fleet.total
            ? PageParts.badge(.good, "complete") : PageParts.badge(.warning, "in part")
    }

    static func progress(_ fleet: Catalog.FleetSnapshot, _ label: String) -> HTML {
        let tone: PageParts.Tone = !fleet.isFinished ? .calm : fleet.members == fleet.total ? .good : .warning
        return PageParts.progress(fleet.members, of: fleet.total, tone, label: label)
    }

    static func sentence(_ fleet: Catalog.FleetSnapshot) -> String {
        let count = "\(PageText.grouped(fleet.members)) of \(PageText.count(fleet.total, "database"))"
        return count + (fleet.isFinished ? "." : " so far.")
    }

    static func facts(of fleet: Catalog.FleetSnapshot, now: Timestamp) -> [(String, HTML)] {
        [
            ("Taken", PageParts.ago(fleet.createdAt, now: now)),
            ("Window", .text(PageText.span(fleet.until - fleet.createdAt))),
            ("Labels", labels(fleet)),
            ("By", PageParts.name(fleet.actor)),
        ]
    }

    @HTMLBuilder
    private static func labels(_ fleet: Catalog.FleetSnapshot) -> HTML {
        if fleet.labels.isEmpty { "–" }
        for (key, value) in fleet.labels.sorted(by: { $0.key < $1.key }) {
            tag("span", .class("label")) { PageParts.name("\(key)=\(value)") }
            " "
        }
    }

    @HTMLBuilder
    static func absent(_ items: [Catalog.FleetItem], of count: Int, isFinished: Bool) -> HTML {
        if items.isEmpty {
            PageParts.empty("Every database is in it.")
        } else {
            PageParts.table(
                "Databases that are not in it", [.text("Node"), .text("Database"), .text("Why")],
                rows: items.map { item in
                    [
                        PageParts.link(PagePath("nodes", item.node.description), item.nodeName),
                        PageParts.link(PagePath("databases", item.database.description), item.databaseName),
                        .text(item.reason.isEmpty ? "it may still come" : item.reason),
                    ]
                })
            PageParts.more(count - items.count, "muster fleet-snapshot show")
        }
    }

    @HTMLBuilder
    static func members(_ items: [Catalog.FleetItem], of count: Int) -> HTML {
        if items.isEmpty {
            PageParts.empty("None so far.")
        } else {
            PageParts.table(
                "Databases that are in it", [.text("Node"), .text("Database"), .text("Snapshot"), .number("Size")],
                rows: items.map { item in
                    [
                        PageParts.link(PagePath("nodes", item.node.description), item.nodeName),
                        PageParts.link(PagePath("databases", item.database.description), item.databaseName),
                        item.snapshot.map { snapshot in
                            tag("a", .href(PagePath("snapshots", snapshot.description))) {
                                PageParts.shortID(snapshot.description)
                            }
                        } ?? .text("–"),
                        .text(PageText.bytes(item.sizeBytes)),
                    ]
                })
            PageParts.more(count - items.count, "muster fleet-snapshot show")
        }
    }
}
