package import MusterModel
import MusterSQLite

/// What an earlier drill counted, and of which snapshot.
package struct DrillCounts: Hashable, Sendable {
    package let snapshot: SnapshotID
    /// By table: content, for the node alone.
    package let rows: [String: Int64]

    package init(snapshot: SnapshotID, rows: [String: Int64]) { (self.snapshot, self.rows) = (snapshot, rows) }
}

/// What a drill found in the rebuilt database.
package struct DrillFigures: Hashable, Sendable {
    /// By table: content, for the node alone.
    package let rows: [String: Int64]
    /// Tables that could have been counted.
    package let tablesPresent: Int64
    package let rowCount: Int64
    /// The snapshot that it was compared with.
    package let comparedWith: SnapshotID?
    package let shrunkTables: Int
    package let vanishedTables: Int
    /// The largest part of its rows that a table lost, from 0 to 1; a table that is gone lost all.
    package let largestDrop: Double
    package let foreignKeyViolations: Int64
    package var assertions: [AssertionOutcome] = []
    /// Which tables lost rows: content, for the node alone.
    let drops: [String]

    init(_ answers: RebuiltAnswers, before: DrillCounts?, _ expectations: DrillExpectations) {
        rows = answers.rows
        tablesPresent = max(answers.tablesPresent, Int64(answers.rows.count))
        rowCount = answers.rows.values.reduce(0) { $0.addingReportingOverflow($1).partialValue }
        foreignKeyViolations = answers.foreignKeyViolations
        comparedWith = before?.snapshot
        let last = tablesPresent > answers.rows.count ? answers.rows.keys.max(by: Self.isBefore) : nil
        let lost = (before?.rows ?? [:]).sorted { Self.isBefore($0.key, $1.key) }.compactMap { name, count -> Drop? in
            // Where there are too many tables, those at the end are not counted, which does not mean that they are gone.
            if answers.rows[name] == nil, let last, Self.isBefore(last, name) { return nil }
            guard !expectations.mayShrink(name) else { return nil }
            return Drop(name: name, before: count, now: answers.rows[name])
        }
        vanishedTables = lost.count { $0.now == nil }
        let drops = lost.filter { $0.part > 0 }
        shrunkTables = drops.count
        largestDrop = drops.map(\.part).max() ?? 0
        self.drops = drops.map(\.description)
    }

    /// In the order in which tables are counted.
    private static func isBefore(_ one: String, _ other: String) -> Bool {
        one.utf8.lexicographicallyPrecedes(other.utf8)
    }

    /// One table of the drill before.
    private struct Drop: CustomStringConvertible {
        let name: String
        let before: Int64
        /// nil where the table is gone.
        let now: Int64?

        var part: Double {
            let now = max(0, now ?? 0)
            return now < before ? Double(before - now) / Double(before) : 0
        }

        var description: String {
            "table '\(name)' " + (now.map { "has \($0) rows" } ?? "is gone") + " and had \(before) at the drill before"
        }
    }
}
