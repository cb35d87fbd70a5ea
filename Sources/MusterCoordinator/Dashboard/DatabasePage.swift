import Hummingbird
import MusterCatalog
import MusterModel

/// The page of one database: how it stands, its history drawn, and its snapshots with their replicas.
extension Coordinator {
    private static let drawn = 240
    private static let snapshotsOnAPage = 50

    func databasePage(_ call: Call) async throws -> Response {
        guard let id = DatabaseID(call.parameters[0]), let database = try await catalog.database(id),
            let node = try await catalog.node(database.node)
        else { throw Refusal.notFound("database '\(call.parameters[0].cut(80))'") }
        let now = clock.now()
        async let history = catalog.history(of: id, limit: Self.drawn)
        async let drills = catalog.drills(of: id, limit: Catalog.keptDrills)
        let snapshots = try await snapshotsPart(of: database, call)
        let scene = scene(of: [.init(of: node)], now: now)
        guard let silence = scene.silences[node.id] else { throw Refusal.notFound("node '\(node.name)'") }
        let freshness = Freshness(database, of: silence, now: now)
        let state = ProvenState(database, of: silence, now: now)
        let (points, drilled) = (try await history, try await drills)
        let page = Page("\(database.name) on \(node.name)", in: .nodes) {
            PageParts.heading(
                database.name,
                under: [
                    (Page.Section.nodes.path, "Nodes"), (PagePath("nodes", node.id.description), node.name),
                ], badge: DatabaseParts.badge(database, state))
            if !database.errorSummary.isEmpty {
                tag("div", .class("notice bad"), .of(.role, "note")) {
                    tag("p") { database.errorSummary }
                    tag("p") { database.errorHint }
                }
            }
            PageParts.facts(DatabaseParts.facts(of: database, freshness, state, now: now))
            if let session = call.session, session.mayAct { PageActions.forms(for: database, session) }
            PageParts.section("History", id: "history") { DatabaseParts.charts(points) }
            DrillParts.section(drilled)
            snapshots
        }
        return page.response(for: call.session, now: now)
    }

    private func snapshotsPart(of database: Catalog.Database, _ call: Call) async throws -> HTML {
        var query = Catalog.SnapshotQuery(limit: Self.snapshotsOnAPage + 1)
        query.databases = [database.id]
        query.after = call.query("after").flatMap { SnapshotID($0) }
        let found = try await catalog.snapshots(query)
        let shown = found.prefix(Self.snapshotsOnAPage)
        let path = PagePath("databases", database.id.description, fragment: "snapshots")
        let next = found.count > shown.count ? shown.last : nil
        let now = clock.now()
        return PageParts.section("Snapshots", id: "snapshots") {
            if shown.isEmpty {
                PageParts.empty("There is no snapshot yet.")
            } else {
                PageParts.table(
                    "Snapshots of \(database.name), newest first", SnapshotParts.columns,
                    rows: shown.map { SnapshotParts.row($0, message(of: $0), now: now) })
            }
            PageParts.pager(
                "Pages of snapshots", previous: query.after == nil ? nil : path,
                next: next.map { last in
                    PagePath(
                        "databases", database.id.description, query: ["after": last.id.description],
                        fragment: "snapshots")
                }, place: query.after == nil ? "Newest" : "Earlier")
        }
    }
}

/// What is told of a database.
enum DatabaseParts {
    static let columns: [PageParts.Column] = [
        .text("Database"), .text("State"), .text("Newest snapshot"), .text("At risk"), .text("Rebuilt"),
        .number("Snapshots"), .number("Size"), .text("Schedule"),
    ]

    static func row(
        _ database: Catalog.Database, _ silence: NodeSilence, now: Timestamp
    ) -> [HTML] {
        let freshness = Freshness(database, of: silence, now: now)
        let state = ProvenState(database, of: silence, now: now)
        return [
            PageParts.link(PagePath("databases", database.id.description), database.name),
            badge(database, state),
            PageParts.ago(database.newestReceivedAt, now: now, never: "none"),
            atRisk(freshness),
            PageParts.ago(database.verifiedAt, now: now),
            .text(PageText.grouped(database.snapshotCount)),
            .text(database.sizeBytes > 0 ? PageText.bytes(database.sizeBytes) : "–"),
            .text(database.schedule),
        ]
    }

    static func badge(_ database: Catalog.Database, _ state: ProvenState) -> HTML {
        guard database.state != Catalog.removedState else { return PageParts.badge(.idle, "removed") }
        return HTML.joined([
            PageParts.badge(state.tone, state.title.lowercased()),
            database.capture == "paused" ? PageParts.badge(.idle, "paused") : HTML(),
            database.isForked ? PageParts.badge(.warning, "forked") : HTML(),
        ])
    }

    /// How much would be lost now.
    private static func atRisk(_ freshness: Freshness) -> HTML {
        guard let risk = freshness.recoveryPoint else { return tag("span", .class("muted")) { "all of it" } }
        return .text(risk == .zero ? "nothing" : PageText.span(risk))
    }

    static func facts(
        of database: Catalog.Database, _ freshness: Freshness, _ state: ProvenState, now: Timestamp
    ) -> [(String, HTML)] {
        [
            ("State", .text("\(state.title): \(state.meaning)")),
            ("Newest snapshot", PageParts.ago(database.newestReceivedAt, now: now, never: "none")),
            ("At risk", atRisk(freshness)),
            ("Checked", PageParts.ago(database.checkedAt, now: now)),
            ("Scrubbed", PageParts.ago(database.scrubbedAt, now: now)),
            ("Verified", PageParts.ago(database.verifiedAt, now: now)),
            ("Drilled", PageParts.ago(database.drilledAt, now: now)),
            (
                "Restore took",
                .text(database.restoreSeconds.map { PageText.span(.milliseconds(Int64(min($0, 1e9) * 1000))) } ?? "–")
            ),
            ("Snapshots", .text(PageText.grouped(database.snapshotCount))),
            ("Size", .text(PageText.bytes(database.sizeBytes))),
            ("Stored", .text(PageText.bytes(database.storedBytes))),
            ("Schedule", .text(database.schedule.isEmpty ? "–" : database.schedule)),
            ("Path", tag("code") { database.path.isEmpty ? "–" : database.path }),
            ("Id", tag("code") { database.id.description }),
        ]
    }

    static func charts(_ points: [Catalog.HistoryPoint]) -> HTML {
        let gaps = zip(points, points.dropFirst()).map { before, after in
            Chart.Point(at: after.receivedAt, value: (after.receivedAt - before.receivedAt).inSeconds)
        }
        // What a clock that is off makes of it is no lag.
        let lags = points.map { point in
            Chart.Point(at: point.receivedAt, value: max(0, (point.receivedAt - point.createdAt).inSeconds))
        }
        return tag("div", .class("charts")) {
            Chart(
                id: "size", title: "Size of the database", quantity: .bytes,
                series: [
                    Chart.Series(
                        name: "Size", kind: .line,
                        points: points.map { Chart.Point(at: $0.receivedAt, value: Double($0.sizeBytes)) })
                ]
            ).drawing()
            Chart(
                id: "stored", title: "Bytes stored, by snapshot", quantity: .bytes,
                series: [
                    Chart.Series(
                        name: "Stored", kind: .bars,
                        points: points.map { Chart.Point(at: $0.receivedAt, value: Double($0.storedBytes)) })
                ]
            ).drawing()
            Chart(
                id: "gaps", title: "Time between snapshots", quantity: .duration,
                series: [Chart.Series(name: "Since the one before", kind: .line, points: gaps)]
            ).drawing()
            Chart(
                id: "lag", title: "From capture to receipt", quantity: .duration,
                series: [Chart.Series(name: "Lag", kind: .line, points: lags)]
            ).drawing()
        }
    }
}
