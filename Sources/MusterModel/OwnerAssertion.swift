/// What the owner of a database says must hold in it; a drill asks the rebuilt database.
package struct OwnerAssertion: Hashable, Sendable, Codable {
    package static let longestName = 128
    package static let longestSQL = 4096

    /// For people. It leaves the node, and so does the number that is compared; nothing else does.
    package let name: String
    /// One SELECT. Without bounds it must give a row; with one, the first column of its first row must be a number
    /// within them.
    package let sql: String
    package let minimum: Double?
    package let maximum: Double?

    /// - Returns: nil for what is empty, too long, or bounds that leave nothing.
    package init?(name: String, sql: String, minimum: Double? = nil, maximum: Double? = nil) {
        guard (1...Self.longestName).contains(name.utf8.count), (1...Self.longestSQL).contains(sql.utf8.count),
            minimum?.isFinite ?? true, maximum?.isFinite ?? true, (minimum ?? -.infinity) <= (maximum ?? .infinity)
        else { return nil }
        (self.name, self.sql, self.minimum, self.maximum) = (name, sql, minimum, maximum)
    }

    package var wantsNumber: Bool { minimum != nil || maximum != nil }

    package func allows(_ value: Double) -> Bool {
        value >= minimum ?? -.infinity && value <= maximum ?? .infinity
    }
}

/// What a drill of one database has to hold against.
package struct DrillExpectations: Hashable, Sendable {
    package static let mostAssertions = 64
    package static let mostTables = 64
    package static let longestTable = 512

    package var assertions: [OwnerAssertion] = []
    /// The largest part of its rows that a table may have lost since the drill before, from 0 to 1; nil where that is
    /// only reported.
    package var largestDrop: Double?
    /// Tables that may lose rows, as queues and logs do: no drop of theirs counts.
    package var shrinkingTables: [String] = []
    /// False where violations of foreign keys are only reported.
    package var wantsForeignKeys = true

    package init() {}

    /// SQLite takes names of tables without regard to the case of ASCII letters.
    package func mayShrink(_ table: String) -> Bool {
        shrinkingTables.contains { $0.lowercased() == table.lowercased() }
    }
}
