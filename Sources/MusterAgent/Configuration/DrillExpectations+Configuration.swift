import MusterModel

/// How what drills ask stands in `agent.yaml`, with a database or a pattern:
///
///     max_row_drop_percent: 20
///     may_shrink: [outbox, session]
///     foreign_keys: report
///     assertions:
///       - name: orders of the last day
///         sql: SELECT count(*) FROM orders WHERE at > unixepoch() - 86400
///         min: 1
extension DrillExpectations {
    /// - Parameter key: of the list that the entry stands in.
    init(reader: inout YAMLReader, key: String) throws(ConfigurationError) {
        self.init()
        let file = AgentConfiguration.fileName
        if let percent = try reader.optionalNumber("max_row_drop_percent") {
            guard (0...100).contains(percent) else {
                throw .invalid(file: file, key: "\(key).max_row_drop_percent", expected: "a number from 0 to 100")
            }
            largestDrop = percent / 100
        }
        shrinkingTables = try reader.strings("may_shrink")
        guard Self.isList(ofTables: shrinkingTables) else {
            throw .invalid(
                file: file, key: "\(key).may_shrink", expected: "up to \(Self.mostTables) names of tables")
        }
        switch try reader.optionalString("foreign_keys") {
        case nil, "check": break
        case "report": wantsForeignKeys = false
        default: throw .invalid(file: file, key: "\(key).foreign_keys", expected: "check or report")
        }
        for var entry in try reader.list("assertions") {
            let (name, sql) = (try entry.string("name"), try entry.string("sql"))
            let (minimum, maximum) = (try entry.optionalNumber("min"), try entry.optionalNumber("max"))
            try entry.refuseUnknownKeys()
            guard let assertion = OwnerAssertion(name: name, sql: sql, minimum: minimum, maximum: maximum) else {
                throw .invalid(
                    file: file, key: "\(key).assertions",
                    expected: """
                        names up to \(OwnerAssertion.longestName) bytes, one SELECT of up to \
                        \(OwnerAssertion.longestSQL) bytes, and min not above max
                        """)
            }
            guard !assertions.contains(where: { $0.name == name }) else {
                throw .invalid(file: file, key: "\(key).assertions", expected: "one entry '\(name)', not several")
            }
            assertions.append(assertion)
        }
        guard assertions.count <= Self.mostAssertions else {
            throw .invalid(
                file: file, key: "\(key).assertions", expected: "at most \(Self.mostAssertions) for a database")
        }
    }

    package static func isList(ofTables names: [String]) -> Bool {
        names.count <= mostTables && names.allSatisfy { (1...longestTable).contains($0.utf8.count) }
    }

    var yamlLines: [String] {
        var lines: [String] = []
        if let largestDrop { lines.append("    max_row_drop_percent: \(largestDrop * 100)") }
        if !shrinkingTables.isEmpty {
            lines.append("    may_shrink: [\(shrinkingTables.map(quoted).joined(separator: ", "))]")
        }
        if !wantsForeignKeys { lines.append("    foreign_keys: report") }
        guard !assertions.isEmpty else { return lines }
        lines.append("    assertions:")
        for assertion in assertions {
            lines += ["      - name: \(quoted(assertion.name))", "        sql: \(quoted(assertion.sql))"]
            if let minimum = assertion.minimum { lines.append("        min: \(minimum)") }
            if let maximum = assertion.maximum { lines.append("        max: \(maximum)") }
        }
        return lines
    }
}
