package import MusterModel
package import MusterServing
import Yams

/// `agent.yaml`: everything an operator may set on a node.
package struct AgentConfiguration: Equatable, Sendable {
    package static let fileName = "agent.yaml"

    package var coordinatorURL: String
    package var nodeName: String
    package var nodeID: NodeID
    /// Cores that hashing, compressing and sealing may use; 0 means all.
    package var cores = 0
    /// Bytes a second over all uploads; 0 means no limit.
    package var uploadLimitBytes = 0
    /// How much of the packs it pushed the agent keeps near, for short differences; 0 keeps none.
    package var cacheBytes = AgentConfiguration.defaultCacheBytes
    static let defaultCacheBytes = 2 << 30
    /// The longest time between two reports to the coordinator.
    package var reportEvery = AgentConfiguration.defaultReportEvery
    static let defaultReportEvery = Duration.seconds(30)
    private static let reportPeriods = Duration.seconds(1)...Duration.seconds(600)
    package var inspection = InspectionLimits()
    /// Folders that ordered restores may write into; none where the owner allowed none.
    package var restoreInto: [String] = []
    /// Where metrics are told; nil for nowhere, and then the agent opens no port.
    package var metricsListen: LoopbackAddress?
    package var databases: [ProtectedDatabase] = []
    package var patterns: [DatabasePattern] = []

    package init(coordinatorURL: String, nodeName: String, nodeID: NodeID) {
        (self.coordinatorURL, self.nodeName, self.nodeID) = (coordinatorURL, nodeName, nodeID)
    }

    /// - Parameter overrides: scalars by their key in the file, from the environment; they win.
    package init(yaml: String, overrides: [String: String] = [:]) throws(ConfigurationError) {
        var reader = try YAMLReader(yaml: yaml, overrides: overrides, file: Self.fileName)
        coordinatorURL = try reader.string("coordinator")
        nodeName = try reader.string("node")
        guard let nodeID = NodeID(try reader.string("node_id")) else {
            throw .invalid(file: Self.fileName, key: "node_id", expected: "32 lowercase hex digits")
        }
        self.nodeID = nodeID
        cores = try reader.optionalInt("cores", in: 0...1024) ?? 0
        uploadLimitBytes = try reader.optionalInt("upload_limit_bytes", in: 0...Int.max) ?? 0
        cacheBytes = try reader.optionalInt("cache_bytes", in: 0...Int.max) ?? Self.defaultCacheBytes
        reportEvery = try reader.optionalDuration("report_every") ?? Self.defaultReportEvery
        guard Self.reportPeriods.contains(reportEvery) else {
            throw .invalid(file: Self.fileName, key: "report_every", expected: "a span from 1s to 10m")
        }
        inspection = try InspectionLimits(reader: &reader)
        restoreInto = try reader.strings("restore_into")
        guard restoreInto.allSatisfy({ $0.hasPrefix("/") && $0.contains { $0 != "/" } }) else {
            throw .invalid(file: Self.fileName, key: "restore_into", expected: "absolute paths of folders, not '/'")
        }
        if let text = try reader.optionalString("metrics_listen") {
            guard let address = LoopbackAddress(text) else {
                throw .invalid(
                    file: Self.fileName, key: "metrics_listen",
                    expected: "127.0.0.1:PORT or [::1]:PORT: it has neither TLS nor a password")
            }
            metricsListen = address
        }
        var databases: [ProtectedDatabase] = []
        for var entry in try reader.list("databases") {
            databases.append(try ProtectedDatabase(reader: &entry))
        }
        self.databases = databases
        for var entry in try reader.list("patterns") { patterns.append(try DatabasePattern(reader: &entry)) }
        try reader.refuseUnknownKeys()
        try refuseTwins()
    }

    private func refuseTwins() throws(ConfigurationError) {
        for (what, values) in [
            ("name", databases.map(\.name)), ("path", databases.map(\.path)), ("id", databases.map(\.id.description)),
        ] {
            var seen: Set<String> = []
            if let twin = values.first(where: { !seen.insert($0).inserted }) {
                throw .invalid(
                    file: Self.fileName, key: "databases", expected: "one entry with the \(what) '\(twin)', not several"
                )
            }
        }
        var seen: Set<FilePath> = []
        if let twin = patterns.first(where: { !seen.insert(FilePath($0.pattern.description)).inserted }) {
            throw .invalid(
                file: Self.fileName, key: "patterns",
                expected: "one entry with the pattern '\(twin.pattern)', not several"
            )
        }
    }

    /// The file's text; parses back to an equal value.
    package var yaml: String {
        var lines = [
            "# Muster agent. Written by 'muster agent join' and 'muster database'; edits are kept, comments are not.",
            "# A running agent reads it again on SIGHUP.",
            "coordinator: \(quoted(coordinatorURL))",
            "node: \(quoted(nodeName))",
            "node_id: \"\(nodeID)\"",
        ]
        if cores != 0 { lines.append("cores: \(cores)") }
        if uploadLimitBytes != 0 { lines.append("upload_limit_bytes: \(uploadLimitBytes)") }
        if cacheBytes != Self.defaultCacheBytes { lines.append("cache_bytes: \(cacheBytes)") }
        if reportEvery != Self.defaultReportEvery { lines.append("report_every: \(reportEvery.text)") }
        lines += inspection.yamlLines
        if !restoreInto.isEmpty { lines.append("restore_into: [\(restoreInto.map(quoted).joined(separator: ", "))]") }
        if let metricsListen { lines.append("metrics_listen: \(quoted(metricsListen.description))") }
        lines.append(databases.isEmpty ? "databases: []" : "databases:")
        for database in databases {
            lines += [
                "  - id: \"\(database.id)\"", "    name: \(quoted(database.name))",
                "    path: \(quoted(database.path))",
                "    every: \(database.schedule.every.text)", "    jitter: \(database.schedule.jitter.text)",
            ]
            if let freshness = database.freshness { lines.append("    freshness: \(freshness.text)") }
            if database.isPaused { lines.append("    paused: true") }
            lines += database.expectations.yamlLines
        }
        if !patterns.isEmpty { lines.append("patterns:") }
        for pattern in patterns { lines += pattern.yamlLines }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension DatabasePattern {
    fileprivate init(reader: inout YAMLReader) throws(ConfigurationError) {
        let file = AgentConfiguration.fileName
        let text = try reader.string("pattern")
        let schedule = try Schedule(reader: &reader, key: "patterns.every")
        let exclude = try reader.strings("exclude")
        let isPaused = try reader.optionalBool("paused") ?? false
        let pausedPaths = try reader.strings("paused_paths")
        let expectations = try DrillExpectations(reader: &reader, key: "patterns")
        try reader.refuseUnknownKeys()
        do {
            self.init(
                pattern: try GlobPattern(text), schedule: schedule, exclude: try exclude.map { try Exclusion($0) },
                isPaused: isPaused, pausedPaths: pausedPaths, expectations: expectations)
        } catch {
            let reason = (error as? GlobError)?.reason ?? "\(error)"
            throw .invalid(file: file, key: "patterns", expected: "absolute paths with wildcards; \(reason)")
        }
    }

    fileprivate var yamlLines: [String] {
        var lines = [
            "  - pattern: \(quoted(pattern.description))", "    every: \(schedule.every.text)",
            "    jitter: \(schedule.jitter.text)",
        ]
        if !exclude.isEmpty {
            lines.append("    exclude: [\(exclude.map { quoted($0.description) }.joined(separator: ", "))]")
        }
        if isPaused { lines.append("    paused: true") }
        if !pausedPaths.isEmpty {
            lines.append("    paused_paths: [\(pausedPaths.map(quoted).joined(separator: ", "))]")
        }
        return lines + expectations.yamlLines
    }
}

extension Schedule {
    fileprivate init(reader: inout YAMLReader, key: String) throws(ConfigurationError) {
        let every = try reader.duration("every")
        guard let schedule = Schedule(every: every, jitter: try reader.optionalDuration("jitter")) else {
            throw .invalid(file: AgentConfiguration.fileName, key: key, expected: "100ms or more")
        }
        self = schedule
    }
}

extension ProtectedDatabase {
    fileprivate init(reader: inout YAMLReader) throws(ConfigurationError) {
        let file = AgentConfiguration.fileName
        guard let id = DatabaseID(try reader.string("id")) else {
            throw .invalid(file: file, key: "databases.id", expected: "32 lowercase hex digits")
        }
        let (name, path) = (try reader.string("name"), try reader.string("path"))
        let schedule = try Schedule(reader: &reader, key: "databases.every")
        guard path.hasPrefix("/") else {
            throw .invalid(file: file, key: "databases.path", expected: "an absolute path, not '\(path)'")
        }
        let isPaused = try reader.optionalBool("paused") ?? false
        let expectations = try DrillExpectations(reader: &reader, key: "databases")
        let freshness = try reader.optionalDuration("freshness")
        guard freshness.map({ $0 > .zero }) ?? true else {
            throw .invalid(file: file, key: "databases.freshness", expected: "a span such as 15m")
        }
        try reader.refuseUnknownKeys()
        self.init(
            id: id, name: name, path: path, schedule: schedule, isPaused: isPaused, expectations: expectations,
            freshness: freshness)
    }
}

/// A YAML double-quoted scalar: every character survives, a newline in a file name included.
func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": quoted += "\\\(scalar)"
        case _ where scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value):
            quoted += "\\x" + Hex.encode([UInt8(scalar.value)])
        case "\u{2028}", "\u{2029}", "\u{FEFF}":
            quoted += "\\u" + Hex.encode([UInt8(scalar.value >> 8), UInt8(scalar.value & 255)])
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
