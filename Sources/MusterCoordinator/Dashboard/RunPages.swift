import Hummingbird
import MusterCatalog
import MusterModel

/// Verification runs: all of them, and one while it goes on.
extension Coordinator {
    private static let runsInAList = 25
    private static let findingsShown = 500
    private static let waitingShown = 20

    func runsPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let before = call.query("before").flatMap { Timestamp($0) }
        let found = try await catalog.runs(before: before, limit: Self.runsInAList + 1)
        let shown = found.prefix(Self.runsInAList)
        let next = found.count > shown.count ? shown.last : nil
        var page = Page("Verifications", in: .verifications) {
            PageParts.heading("Verifications")
            if let session = call.session, session.mayAct { PageActions.fleetForm(session) }
            PageParts.section("Runs", id: "runs") {
                if shown.isEmpty {
                    PageParts.empty("Nothing was verified yet. Begin with 'muster verify', or with the form above.")
                } else {
                    PageParts.table(
                        "Runs, newest first", RunParts.columns, rows: shown.map { RunParts.row($0, now: now) })
                }
                PageParts.pager(
                    "Pages of runs", previous: before == nil ? nil : Page.Section.verifications.path,
                    next: next.map { PagePath("verifications", query: ["before": $0.startedAt.description]) },
                    place: before == nil ? "Newest" : "Earlier")
            }
        }
        if shown.contains(where: { !$0.isFinished }) { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: now)
    }

    func runPage(_ call: Call) async throws -> Response {
        guard let id = RunID(call.parameters[0]), let run = try await catalog.verification(id) else {
            throw Refusal.notFound("run '\(call.parameters[0].cut(80))'")
        }
        let now = clock.now()
        let summary = RunParts.Figures(run)
        var page = Page("Run \(id.description.prefix(12))", in: .verifications) {
            PageParts.heading(
                "\(PageText.title(run.level.rawValue)) of \(PageText.count(run.total, "snapshot"))",
                under: [(Page.Section.verifications.path, "Verifications")], badge: summary.badge)
            tag("div", .class("run")) {
                summary.progress("Progress of the run")
                tag("p", .of(.role, "status")) { summary.sentence }
            }
            PageParts.facts([
                ("Level", .text(run.level.rawValue)),
                ("Started", PageParts.ago(run.startedAt, now: now)),
                (
                    run.isFinished ? "Took" : "Runs for",
                    .text(PageText.span((run.finishedAt ?? now) - run.startedAt))
                ),
                ("Read in the stores", .text(PageText.bytes(run.bytesRead))),
                ("Id", tag("code") { id.description }),
            ])
            findings(run)
            if !run.waiting.isEmpty { waiting(run) }
        }
        if !run.isFinished { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: now)
    }

    private func findings(_ run: Catalog.Verification) -> HTML {
        PageParts.section("Findings", id: "findings") {
            if run.failed.isEmpty {
                PageParts.empty(run.isFinished ? "Nothing was found wanting." : "Nothing was found wanting so far.")
            } else {
                PageParts.table(
                    "What was found wanting", [.text("Snapshot"), .text("Store"), .text("Object"), .text("Reason")],
                    rows: run.failed.prefix(Self.findingsShown).map(\.failing).map { failing in
                        [
                            tag("a", .href(PagePath("snapshots", failing.snapshot))) {
                                PageParts.shortID(failing.snapshot)
                            },
                            PageParts.name(failing.store.isEmpty ? "–" : failing.store),
                            tag("code", .class("object")) { failing.object.isEmpty ? "–" : failing.object },
                            .text(failing.reason),
                        ]
                    })
                if run.failed.count > Self.findingsShown {
                    tag("p", .class("muted")) {
                        "And \(PageText.grouped(run.failed.count - Self.findingsShown)) more: see 'muster verify show'."
                    }
                }
            }
        }
    }

    private func waiting(_ run: Catalog.Verification) -> HTML {
        PageParts.section("Still to do", id: "waiting") {
            tag("p", .class("muted")) { "The next of those that wait:" }
            tag("ul", .class("ids")) {
                for snapshot in run.waiting.prefix(Self.waitingShown) {
                    tag("li") {
                        tag("a", .href(PagePath("snapshots", snapshot.description))) {
                            PageParts.shortID(snapshot.description)
                        }
                    }
                }
            }
        }
    }
}

/// What is told of a run.
enum RunParts {
    /// Of the pages of runs that go on.
    static let refreshSeconds = 5

    struct Figures {
        let total: Int
        let passed: Int
        let failed: Int
        let waiting: Int
        let isFinished: Bool

        init(_ run: Catalog.RunSummary) {
            (total, passed, waiting) = (run.total, run.passed, run.waiting)
            (failed, isFinished) = (run.failed + run.unfinished, run.isFinished)
        }

        init(_ run: Catalog.Verification) {
            (total, passed, isFinished) = (run.total, run.passed, run.isFinished)
            (failed, waiting) = (run.failedCount + run.unfinished, run.waitingCount)
        }

        var done: Int { passed + failed }

        var tone: PageParts.Tone { failed > 0 ? .bad : isFinished ? .good : .calm }

        var badge: HTML {
            guard isFinished else { return PageParts.badge(.calm, "running") }
            return PageParts.badge(tone, failed > 0 ? "\(PageText.grouped(failed)) failed" : "all passed")
        }

        func progress(_ label: String) -> HTML { PageParts.progress(done, of: total, tone, label: label) }

        var sentence: String {
            let start = "\(PageText.grouped(passed)) of \(PageText.grouped(total)) passed"
            let bad = failed > 0 ? ", \(PageText.grouped(failed)) did not" : ""
            return start + bad + (waiting > 0 ? ", \(PageText.grouped(waiting)) to go." : ".")
        }
    }

    static let columns: [PageParts.Column] = [
        .text("Run"), .text("Level"), .text("State"), .text("Progress"), .number("Passed"), .number("Failed"),
        .text("Started"), .text("Took"), .number("Read"),
    ]

    static func row(_ run: Catalog.RunSummary, now: Timestamp) -> [HTML] {
        let figures = Figures(run)
        return [
            tag("a", .href(PagePath("verifications", run.run.description))) {
                PageParts.shortID(run.run.description)
            },
            .text(run.level.rawValue),
            figures.badge,
            figures.progress("Progress"),
            .text("\(PageText.grouped(figures.passed)) of \(PageText.grouped(figures.total))"),
            .text(PageText.grouped(figures.failed)),
            PageParts.ago(run.startedAt, now: now),
            .text(run.finishedAt.map { PageText.span($0 - run.startedAt) } ?? "–"),
            .text(PageText.bytes(run.bytesRead)),
        ]
    }

    /// A run that goes on, on top of the fleet.
    static func strip(_ run: Catalog.RunSummary, now: Timestamp) -> HTML {
        let figures = Figures(run)
        return tag("section", .class("notice calm"), .label("A run that goes on")) {
            tag("div", .class("run")) {
                tag("p") {
                    tag("a", .href(PagePath("verifications", run.run.description))) {
                        "\(PageText.title(run.level.rawValue)) of \(PageText.count(run.total, "snapshot"))"
                    }
                    " runs for \(PageText.span(now - run.startedAt)): \(figures.sentence)"
                }
                figures.progress("Progress of the run")
            }
        }
    }
}
