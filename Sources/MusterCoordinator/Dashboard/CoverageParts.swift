import MusterAPI
import MusterModel

/// How much of the fleet was inspected within its policy, level by level.
enum CoverageParts {
    static func section(_ coverage: Muster_V1_Coverage, now: Timestamp) -> HTML {
        PageParts.section("Inspected within policy", id: "coverage") {
            tag("ul", .class("meters")) {
                for level in coverage.levels { meter(level, of: Int(clamping: coverage.databases), now: now) }
            }
        }
    }

    private static func meter(_ level: Muster_V1_LevelCoverage, of databases: Int, now: Timestamp) -> HTML {
        let within = Int(clamping: level.within)
        let hasPolicy = level.every != "never"
        let tone: PageParts.Tone = within == databases ? .good : hasPolicy ? .warning : .calm
        return tag("li", .class("meter")) {
            tag("p") {
                tag("span", .class("what")) { PageText.title(done(level.level)) }
                tag("span", .class("share")) { PageText.share(within, of: databases) }
            }
            PageParts.progress(
                within, of: databases, tone, label: "\(PageText.title(done(level.level))) within policy")
            tag("p", .class("muted")) {
                hasPolicy ? "within \(level.every)" : "ever; no policy"
                if level.never > 0 { ", \(PageText.grouped(Int(clamping: level.never))) never" }
                if let oldest = Timestamp(level.oldestAt) { ", oldest \(PageText.ago(oldest, now: now))" }
            }
        }
    }

    private static func done(_ level: String) -> String {
        switch VerificationLevel(rawValue: level) {
        case .check: "checked"
        case .scrub: "scrubbed"
        case .verify: "verified"
        case .drill: "drilled"
        case nil: level
        }
    }
}
