import MusterModel
import Testing

@testable import MusterAgent

@Suite("Agent configuration")
struct AgentConfigurationTests {
    private func example() throws -> AgentConfiguration {
        let node = try #require(NodeID("00112233445566778899aabbccddeeff"))
        var configuration = AgentConfiguration(coordinatorURL: "https://c:1", nodeName: "edge \"1\"", nodeID: node)
        configuration.cores = 3
        configuration.reportEvery = .seconds(5)
        configuration.restoreInto = ["/srv/re store", "/\"quoted\", /comma"]
        for (index, path) in [
            "/a b/ü.db", "/with\nnewline", "/quote\"back\\slash", "/tab\tbell\u{7}", "/#: - {x}",
            "/c1 \u{85}\u{9f} \u{2028}\u{FEFF} 😀",
        ].enumerated() {
            configuration.databases.append(
                ProtectedDatabase(
                    id: try #require(DatabaseID(bytes: [UInt8](repeating: UInt8(index), count: 16))),
                    name: "n\(index): #", path: path, schedule: try #require(Schedule(every: .milliseconds(1500)))))
        }
        configuration.databases[2].isPaused = true
        let schedule = try #require(Schedule(every: .seconds(1)))
        configuration.patterns = [
            DatabasePattern(pattern: try GlobPattern("/a/**/*.db"), schedule: schedule),
            DatabasePattern(
                pattern: try GlobPattern("/b\"\\[x\n/*.db"), schedule: schedule,
                exclude: [try Exclusion("*.tmp"), try Exclusion("/b/**")], isPaused: true, pausedPaths: ["/b/, c.db"]),
        ]
        return configuration
    }

    @Test func whatIsWrittenIsReadBackEqual() throws {
        let configuration = try example()
        #expect(try AgentConfiguration(yaml: configuration.yaml) == configuration)
    }

    @Test("twins are refused", arguments: ["name", "path", "id"])
    func twinsAreRefused(what: String) throws {
        var configuration = try example()
        let first = configuration.databases[0]
        let second = configuration.databases[1]
        configuration.databases[1] = ProtectedDatabase(
            id: what == "id" ? first.id : second.id, name: what == "name" ? first.name : second.name,
            path: what == "path" ? first.path : second.path, schedule: second.schedule)
        #expect(throws: ConfigurationError.self) { try AgentConfiguration(yaml: configuration.yaml) }
    }

    @Test func theEnvironmentWins() throws {
        let configuration = try AgentConfiguration(
            yaml: example().yaml, overrides: ["coordinator": "https://other:2", "cores": "1"])
        #expect(configuration.coordinatorURL == "https://other:2")
        #expect(configuration.cores == 1)
    }

    @Test(
        "what is unknown, doubled or out of range is refused",
        arguments: [
            ("surprise: 1", ConfigurationError.unknown(file: "agent.yaml", keys: ["surprise"])),
            ("cores: many", .invalid(file: "agent.yaml", key: "cores", expected: "a whole number from 0 up")),
            (
                "databases: [{id: \"00112233445566778899aabbccddeeff\", name: a, path: /a, every: 1s, paused: 2}]",
                .invalid(file: "agent.yaml", key: "databases.paused", expected: "true or false")
            ),
            (
                "patterns: [{pattern: \"a/*.db\", every: 1s}]",
                .invalid(
                    file: "agent.yaml", key: "patterns",
                    expected:
                        "absolute paths with wildcards; 'a/*.db' is no pattern for files: it is not an absolute path")
            ),
            (
                "patterns: [{pattern: /a, every: 1s, exclude: b}]",
                .invalid(file: "agent.yaml", key: "patterns.exclude", expected: "a list")
            ),
            (
                "patterns: [{pattern: /a, every: 1s}, {pattern: /a, every: 2s}]",
                .invalid(file: "agent.yaml", key: "patterns", expected: "one entry with the pattern '/a', not several")
            ),
            ("cores: -1", .invalid(file: "agent.yaml", key: "cores", expected: "a whole number from 0 up")),
        ])
    func whatIsUnknownIsRefused(line: String, error: ConfigurationError) throws {
        let yaml = """
            coordinator: "https://c:1"
            node: "n"
            node_id: "00112233445566778899aabbccddeeff"

            """
        #expect(throws: error) { try AgentConfiguration(yaml: yaml + line) }
    }

    @Test("spans parse and print", arguments: ["100ms", "90s", "5m", "1h30m", "2d", "1s500ms"])
    func spansParseAndPrint(text: String) throws {
        let span = try #require(Duration(text: text))
        #expect(Duration(text: span.text) == span)
    }

    @Test("what is no span is refused", arguments: ["", "5", "m5", "-1m", "1.5h", "99999999999s", "4000d", "5 m"])
    func whatIsNoSpanIsRefused(text: String) {
        #expect(Duration(text: text) == nil)
    }
}
