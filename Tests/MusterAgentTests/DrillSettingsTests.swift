import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("What drills ask, and what they may take")
struct DrillSettingsTests {
    private static let head = """
        coordinator: "https://c:1"
        node: "n"
        node_id: "00112233445566778899aabbccddeeff"

        """
    private static let database = """
        databases:
          - id: "00112233445566778899aabbccddeeff"
            name: a
            path: /a
            every: 1s

        """

    @Test func theyAreReadAndWrittenDownAgain() throws {
        let yaml =
            Self.head + """
                scratch_reserve_bytes: 5000
                scratch_limit_bytes: 7000
                inspection_time_limit: 10m
                assertion_time_limit: 5s
                inspection_memory_bytes: 33554432
                patterns:
                  - pattern: /b/*.db
                    every: 1m
                    foreign_keys: report

                """ + Self.database
                + """
                    max_row_drop_percent: 12.5
                    assertions:
                      - name: "orders: of today"
                        sql: "SELECT count(*) FROM \\"orders\\""
                        min: 1
                        max: 1e6
                      - name: somebody
                        sql: SELECT 1 FROM customer

                """
        let configuration = try AgentConfiguration(yaml: yaml)
        #expect(configuration.inspection.reserveBytes == 5000 && configuration.inspection.scratchBytes == 7000)
        #expect(
            configuration.inspection.time == .seconds(600) && configuration.inspection.timeOfAssertion == .seconds(5))
        let expectations = configuration.databases[0].expectations
        #expect(expectations.largestDrop == 0.125 && expectations.wantsForeignKeys)
        #expect(expectations.assertions.map(\.name) == ["orders: of today", "somebody"])
        #expect(expectations.assertions[0].sql == "SELECT count(*) FROM \"orders\"")
        #expect(expectations.assertions[0].minimum == 1 && expectations.assertions[0].maximum == 1_000_000)
        #expect(!expectations.assertions[1].wantsNumber)
        #expect(!configuration.patterns[0].expectations.wantsForeignKeys)
        #expect(try AgentConfiguration(yaml: configuration.yaml) == configuration)
    }

    @Test(arguments: [
        "max_row_drop_percent: 101", "max_row_drop_percent: many", "foreign_keys: maybe", "assertion: []",
        "assertions: [{name: a}]", "assertions: [{name: a, sql: SELECT 1, rows: 3}]",
        "assertions: [{name: a, sql: SELECT 1, min: 2, max: 1}]", "assertions: [{name: a, sql: SELECT 1, min: x}]",
        "assertions: [{name: a, sql: SELECT 1}, {name: a, sql: SELECT 2}]",
    ])
    func whatMakesNoSenseIsRefused(line: String) throws {
        #expect(throws: ConfigurationError.self) {
            try AgentConfiguration(yaml: Self.head + Self.database + "    " + line + "\n")
        }
    }

    @Test func roomThatBelongsToOthersIsNotTaken() throws {
        let directory = try TemporaryDirectory()
        func check(_ bytes: UInt64, _ change: (inout InspectionLimits) -> Void) throws {
            var limits = InspectionLimits()
            limits.reserveBytes = 0
            change(&limits)
            try ScratchSpace(folder: directory.file("."), limits: limits).check(bytes)
        }
        try check(4096) { _ in }
        #expect(throws: NotEnoughScratchSpace.self) { try check(1 << 60) { _ in } }
        #expect(throws: NotEnoughScratchSpace.self) { try check(0) { $0.reserveBytes = Int.max } }
        #expect(throws: NotEnoughScratchSpace.self) { try check(4097) { $0.scratchBytes = 4096 } }
        try check(4096) { $0.scratchBytes = 4096 }
    }

    @Test func theRowsOfTheLastDrillAreRemembered() throws {
        let directory = try TemporaryDirectory()
        let state = try AgentState(path: directory.file("state.db"))
        let database = DatabaseID(from: .seeded(1))
        #expect(try state.rowsOfLastDrill(of: database) == nil)
        try state.keep(rows: ["a": 1, "b": 2], of: database)
        try state.keep(rows: ["b": 3], of: database)
        #expect(try state.rowsOfLastDrill(of: database) == ["b": 3])
    }
}
