import MusterModel

/// What verifying and drilling may take from the node.
package struct InspectionLimits: Equatable, Sendable {
    /// What is left free on the scratch folder's disk: the applications' room comes first.
    package var reserveBytes = 1 << 30
    /// What one rebuilt database may take; 0 for no other limit than the disk.
    package var scratchBytes = 0
    /// For one database: to rebuild it, and again to inspect it.
    package var time = Duration.seconds(7200)
    package var timeOfAssertion = Duration.seconds(30)
    /// For SQLite in the process that inspects.
    package var memoryBytes = 256 << 20
    /// What rebuilding may read from the stores or write into the scratch folder, whichever is more; 0 for no limit.
    package var bytesPerSecond = 128 << 20

    package init() {}

    init(reader: inout YAMLReader) throws(ConfigurationError) {
        reserveBytes = try reader.optionalInt("scratch_reserve_bytes", in: 0...Int.max) ?? reserveBytes
        scratchBytes = try reader.optionalInt("scratch_limit_bytes", in: 0...Int.max) ?? scratchBytes
        time = try reader.optionalDuration("inspection_time_limit") ?? time
        timeOfAssertion = try reader.optionalDuration("assertion_time_limit") ?? timeOfAssertion
        memoryBytes = try reader.optionalInt("inspection_memory_bytes", in: (16 << 20)...(64 << 30)) ?? memoryBytes
        bytesPerSecond = try reader.optionalInt("inspection_bytes_per_second", in: 0...Int.max) ?? bytesPerSecond
        for (key, span) in [("inspection_time_limit", time), ("assertion_time_limit", timeOfAssertion)]
        where span < .seconds(1) {
            throw .invalid(file: AgentConfiguration.fileName, key: key, expected: "1s or more")
        }
    }

    var yamlLines: [String] {
        let usual = InspectionLimits()
        var lines: [String] = []
        if reserveBytes != usual.reserveBytes { lines.append("scratch_reserve_bytes: \(reserveBytes)") }
        if scratchBytes != usual.scratchBytes { lines.append("scratch_limit_bytes: \(scratchBytes)") }
        if time != usual.time { lines.append("inspection_time_limit: \(time.text)") }
        if timeOfAssertion != usual.timeOfAssertion {
            lines.append("assertion_time_limit: \(timeOfAssertion.text)")
        }
        if memoryBytes != usual.memoryBytes { lines.append("inspection_memory_bytes: \(memoryBytes)") }
        if bytesPerSecond != usual.bytesPerSecond { lines.append("inspection_bytes_per_second: \(bytesPerSecond)") }
        return lines
    }
}
