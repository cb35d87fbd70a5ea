import MusterCatalog
import MusterModel

/// What drills of a database measured: how long a restore takes, and what was found in what came back.
enum DrillParts {
    private static let rowsShown = 20

    /// - Parameter drills: the newest first.
    static func section(_ drills: [Catalog.Drill]) -> HTML {
        PageParts.section("Drills", id: "drills") {
            if drills.isEmpty {
                PageParts.empty("It was never drilled. A drill restores it, times that, and asks what its owner asks.")
            } else {
                tag("div", .class("charts")) {
                    let restored = drills.filter(\.measure.isOfRestored)
                    times(restored.reversed())
                    rows(restored.reversed())
                }
                PageParts.table(
                    "Drills, newest first",
                    [
                        .text("Drill"), .text("Snapshot"), .text("Result"), .number("Restore"), .number("Checks"),
                        .number("Size"), .text("Integrity"), .number("Rows"), .text("Found"),
                    ], rows: drills.prefix(rowsShown).map(row))
            }
        }
    }

    private static func times(_ drills: [Catalog.Drill]) -> HTML {
        Chart(
            id: "drill-time", title: "Time to restore (RTO)", quantity: .duration,
            series: [
                Chart.Series(
                    name: "Restore", kind: .line,
                    points: drills.map { Chart.Point(at: $0.at, value: $0.measure.restoreSeconds) }),
                Chart.Series(
                    name: "Restore and checks", kind: .line,
                    points: drills.map {
                        Chart.Point(at: $0.at, value: $0.measure.restoreSeconds + $0.measure.checkSeconds)
                    }),
            ]
        ).drawing()
    }

    private static func rows(_ drills: [Catalog.Drill]) -> HTML {
        Chart(
            id: "drill-rows", title: "Rows that came back", quantity: .count,
            series: [
                Chart.Series(
                    name: "Rows", kind: .line,
                    points: drills.map { Chart.Point(at: $0.at, value: Double($0.measure.rowCount)) })
            ]
        ).drawing()
    }

    private static func row(_ drill: Catalog.Drill) -> [HTML] {
        let measure = drill.measure
        // Of a database that did not come back nothing was measured.
        let measured = { HTML.text(measure.isOfRestored ? $0 : "–") }
        return [
            HTML.joined([
                PageParts.time(drill.at), .text(" "),
                tag("a", .href(PagePath("verifications", drill.run.description))) {
                    PageParts.shortID(drill.run.description)
                },
            ]),
            tag("a", .href(PagePath("snapshots", drill.snapshot.description))) {
                PageParts.shortID(drill.snapshot.description)
            },
            drill.passed ? PageParts.badge(.good, "passed") : PageParts.badge(.bad, "failed"),
            measured(span(measure.restoreSeconds)), measured(span(measure.checkSeconds)),
            measured(PageText.bytes(measure.restoredBytes)),
            .text(measure.integrity.isEmpty ? "–" : measure.integrity),
            measured(PageText.grouped(Int(clamping: measure.rowCount))), .text(findings(drill)),
        ]
    }

    private static func span(_ seconds: Double) -> String {
        PageText.span(.milliseconds(Int64(min(max(0, seconds), 1e9) * 1000)))
    }

    private static func findings(_ drill: Catalog.Drill) -> String {
        let measure = drill.measure
        var parts = drill.reason.isEmpty ? [] : [drill.reason]
        let failed = measure.assertions.filter { !$0.passed }
        if !measure.assertions.isEmpty {
            parts.append("\(measure.assertions.count - failed.count) of \(measure.assertions.count) assertions hold")
        }
        // Drills of before the reason was kept.
        if drill.reason.isEmpty { parts += failed.prefix(3).map { "'\($0.name)' does not: \($0.reason)" } }
        if measure.foreignKeyViolations > 0 {
            parts.append(PageText.count(Int(clamping: measure.foreignKeyViolations), "broken foreign key"))
        }
        if measure.tablesPresent > measure.tableCount {
            parts.append("\(measure.tableCount) of \(measure.tablesPresent) tables counted")
        }
        if measure.shrunkTables > 0 {
            parts.append(
                "\(PageText.count(Int(clamping: measure.shrunkTables), "table")) with fewer rows than before, the "
                    + "largest drop \(Int((measure.largestDrop * 100).rounded())) %")
        }
        if measure.vanishedTables > 0 {
            parts.append("\(PageText.count(Int(clamping: measure.vanishedTables), "table")) gone")
        }
        return parts.isEmpty ? "–" : parts.joined(separator: "; ")
    }
}
