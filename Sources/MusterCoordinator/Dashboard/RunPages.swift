import Hummingbird
import MusterCatalog
import MusterModel

/// Verification runs: all of them, and one while it goes on.
extension Coordinator {
    private static let runsInAList = 25
    private static let findingsShown = 500
    private static let waitingShown = 20
    private static let nodesInARun = 100

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
        let parts = try await nodesPart(of: run, call, now: now)
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
            if !run.refused.isEmpty { refused(run) }
            parts
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
                    rows: run.failed.prefix(Self.findingsShown).map(RunParts.finding))
                if run.failed.count > Self.findingsShown {
                    tag("p", .class("muted")) {
                        "And \(PageText.grouped(run.failed.count - Self.findingsShown)) more: see 'muster verify show'."
                    }
                }
            }
        }
    }

    /// Nothing failed by them: another replica served, and these are read again.
    private func refused(_ run: Catalog.Verification) -> HTML {
        PageParts.section("Replicas refused", id: "refused") {
            tag("p", .class("muted")) {
                "Another replica served, so nothing failed by them. The coordinator reads them again, and repairs them."
            }
            PageParts.table(
                "Replicas that were refused",
                [.text("Snapshot"), .text("Store"), .text("Object"), .text("Reason")],
                rows: run.refused.prefix(Self.findingsShown).map(RunParts.finding))
        }
    }

    /// What each node did of it, and what it still has to do.
    private func nodesPart(of run: Catalog.Verification, _ call: Call, now: Timestamp) async throws -> HTML {
        let after = (call.query("after") ?? "").cut(255)
        let found = try await catalog.nodes(in: run.run, after: after, limit: Self.nodesInARun + 1)
        let shown = found.prefix(Self.nodesInARun)
        guard !shown.isEmpty || !after.isEmpty else { return HTML() }
        let path = PagePath("verifications", run.run.description, fragment: "parts")
        let next = found.count > shown.count ? shown.last : nil
        let silentBefore = now - Self.pollPatience
        return PageParts.section("Nodes", id: "parts") {
            PageParts.table(
                "What each node did of it", RunParts.nodeColumns,
                rows: shown.map { RunParts.row($0, isFinished: run.isFinished, silentBefore: silentBefore, now: now) })
            PageParts.pager(
                "Pages of nodes", previous: after.isEmpty ? nil : path,
                next: next.map {
                    PagePath("verifications", run.run.description, query: ["after": $0.name], fragment: "parts")
                }, place: after.isEmpty ? "By name" : "After \(after)")
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

    static func finding(_ finding: Catalog.Finding) -> [HTML] {
        let failing = finding.failing
        return [
            tag("a", .href(PagePath("snapshots", failing.snapshot))) { PageParts.shortID(failing.snapshot) },
            PageParts.name(failing.store.isEmpty ? "–" : failing.store),
            tag("code", .class("object")) { failing.object.isEmpty ? "–" : failing.object },
            .text(failing.reason),
        ]
    }

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
            guard total > 0 else { return PageParts.badge(.warning, "nothing to verify") }
            return PageParts.badge(tone, failed > 0 ? "\(PageText.grouped(failed)) failed" : "all passed")
        }

        func progress(_ label: String) -> HTML { PageParts.progress(done, of: total, tone, label: label) }

        var sentence: String {
            guard total > 0 || isFinished else { return "none is taken up yet." }
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

    static let nodeColumns: [PageParts.Column] = [
        .text("Node"), .text("State"), .text("Progress"), .number("Passed"), .number("Failed"), .number("Not done"),
        .number("Worked"), .number("Read"), .text("Last contact"),
    ]

    static func row(
        _ part: Catalog.VerificationNode, isFinished: Bool, silentBefore: Timestamp, now: Timestamp
    ) -> [HTML] {
        let done = part.passed + part.failed + part.unfinished
        let isAway = part.lastContactAt.map { $0 < silentBefore } ?? true
        let badge: HTML =
            if part.failed > 0 {
                PageParts.badge(.bad, "\(PageText.grouped(part.failed)) failed")
            } else if part.unfinished > 0 {
                PageParts.badge(.warning, "not all done")
            } else if done == part.total {
                PageParts.badge(.good, "passed")
            } else {
                isFinished
                    ? PageParts.badge(.idle, "ended")
                    : isAway ? PageParts.badge(.warning, "away") : PageParts.badge(.calm, "at it")
            }
        let tone: PageParts.Tone = part.failed > 0 ? .bad : done == part.total && part.unfinished == 0 ? .good : .calm
        return [
            PageParts.link(PagePath("nodes", part.node.description), part.name), badge,
            PageParts.progress(done, of: part.total, tone, label: "Progress of \(part.name)"),
            .text("\(PageText.grouped(part.passed)) of \(PageText.grouped(part.total))"),
            .text(PageText.grouped(part.failed)), .text(PageText.grouped(part.unfinished)),
            .text(PageText.span(.milliseconds(Int64(min(max(0, part.seconds), 1e9) * 1000)))),
            .text(PageText.bytes(part.bytesRead)), PageParts.ago(part.lastContactAt, now: now),
        ]
    }

    /// A run that goes on, on top of the fleet.
    static func strip(_ run: Catalog.RunSummary, now: Timestamp) -> HTML {
        let figures = Figures(run)
        return tag("section", .class("notice calm"), .label("A run that goes on")) {
            tag("div", .class("run")) {
                tag("p") {
                    tag("a", .href(PagePath("verifications", run.run.description))) {
                        "\(PageText.title(run.level.rawValue)) of "
                            + (run.total > 0 ? PageText.count(run.total, "snapshot") : "snapshots")
                    }
                    " runs for \(PageText.span(now - run.startedAt)): \(figures.sentence)"
                }
                figures.progress("Progress of the run")
            }
        }
    }
}
