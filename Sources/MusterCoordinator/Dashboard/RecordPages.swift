import Hummingbird
import MusterCatalog
import MusterModel

/// What was asked of the nodes, and what was changed by whom.
extension Coordinator {
    private static let jobsInAList = 100
    private static let auditRowsInAList = 100

    func jobsPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let before = call.query("before").flatMap { Int64($0) }
        let found = try await catalog.jobs(before: before, limit: Self.jobsInAList + 1)
        let shown = found.prefix(Self.jobsInAList)
        let next = found.count > shown.count ? shown.last?.number : nil
        var page = Page("Jobs", in: .jobs) {
            PageParts.heading("Jobs")
            if shown.isEmpty {
                PageParts.empty("Nothing was asked of the nodes yet.")
            } else {
                PageParts.table(
                    "Jobs of the nodes, newest first",
                    [
                        .text("Job"), .text("Kind"), .text("State"), .text("Database"), .text("Node"),
                        .text("Asked"), .text("Took"), .text("Outcome"),
                    ], rows: shown.map { Self.row($0.job, now: now) })
            }
            PageParts.pager(
                "Pages of jobs", previous: before == nil ? nil : Page.Section.jobs.path,
                next: next.map { PagePath("jobs", query: ["before": String($0)]) },
                place: before == nil ? "Newest" : "Earlier")
        }
        if shown.contains(where: { !$0.job.state.isFinal }) { page.refresh(every: RunParts.refreshSeconds, call) }
        return page.response(for: call.session, now: now)
    }

    private static func row(_ job: Catalog.Job, now: Timestamp) -> [HTML] {
        let tone: PageParts.Tone
        switch job.state {
        case .queued: tone = .idle
        case .running: tone = .calm
        case .done: tone = .good
        case .failed: tone = .bad
        }
        return [
            PageParts.shortID(job.id.description),
            .text(job.level.isEmpty ? job.kind.rawValue : job.level),
            PageParts.badge(tone, job.state.rawValue),
            PageParts.link(PagePath("databases", job.database.description), job.databaseName),
            PageParts.link(PagePath("nodes", job.node.description), job.nodeName),
            PageParts.ago(job.createdAt, now: now),
            .text(job.finishedAt.map { PageText.span($0 - job.createdAt) } ?? "–"),
            outcome(job),
        ]
    }

    private static func outcome(_ job: Catalog.Job) -> HTML {
        if let snapshot = job.outcomeSnapshot ?? job.snapshot {
            let link = tag("a", .href(PagePath("snapshots", snapshot.description))) {
                PageParts.shortID(snapshot.description)
            }
            return job.errorSummary.isEmpty ? link : HTML.joined([link, .text(" " + job.errorSummary)])
        }
        return .text(job.errorSummary.isEmpty ? "–" : job.errorSummary)
    }

    func auditPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let before = call.query("before").flatMap { Int64($0) }
        let found = try await catalog.auditEntries(before: before, limit: Self.auditRowsInAList + 1)
        let shown = found.prefix(Self.auditRowsInAList)
        let next = found.count > shown.count ? shown.last?.number : nil
        let check = call.query("check") == nil ? nil : AuditCheck(broken: try await checkAudit().firstBroken)
        let page = Page("Audit", in: .audit) {
            PageParts.heading("Audit")
            check?.notice
            tag("form", .class("filter"), .of(.method, "get"), .action(PagePath("audit"))) {
                emptyTag("input", .of(.type, "hidden"), .of(.name, "check"), .of(.value, "chain"))
                tag("button", .of(.type, "submit")) { "Check the chain" }
                tag("span", .class("muted")) { "Each row's hash covers the one before it." }
            }
            if shown.isEmpty { PageParts.empty("Nothing was recorded yet.") }
            if !shown.isEmpty {
                PageParts.table(
                    "The audit, newest first",
                    [.number("Row"), .text("When"), .text("Who"), .text("What"), .text("Of what"), .text("Hash")],
                    rows: shown.map(Self.row))
            }
            PageParts.pager(
                "Pages of the audit", previous: before == nil ? nil : Page.Section.audit.path,
                next: next.map { PagePath("audit", query: ["before": String($0)]) },
                place: before == nil ? "Newest" : "Earlier")
        }
        return page.response(for: call.session, now: now)
    }

    private static func row(_ entry: Catalog.AuditEntry) -> [HTML] {
        [
            .text(String(entry.number)), PageParts.time(entry.at), PageParts.name(entry.actor), .text(entry.action),
            PageParts.name(entry.subject), PageParts.shortID(Hex.encode(entry.hash)),
        ]
    }
}

/// What reading the whole audit again came to.
private struct AuditCheck {
    let broken: Int64?

    var notice: HTML {
        tag("div", .class("notice \(broken == nil ? "good" : "bad")"), .of(.role, "status")) {
            tag("p") {
                if let broken {
                    PageParts.badge(.bad, "broken")
                    " Row \(broken) does not follow from the one before it: the audit was changed there."
                } else {
                    PageParts.badge(.good, "whole")
                    " Each row follows from the one before it."
                }
            }
        }
    }
}
