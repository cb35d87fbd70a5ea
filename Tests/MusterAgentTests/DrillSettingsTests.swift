import Foundation
import MusterEngine
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
                inspection_bytes_per_second: 1048576
                patterns:
                  - pattern: /b/*.db
                    every: 1m
                    foreign_keys: report

                """ + Self.database
                + """
                    max_row_drop_percent: 12.5
                    may_shrink: [outbox, "odd ]name"]
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
        #expect(configuration.inspection.bytesPerSecond == 1 << 20)
        let expectations = configuration.databases[0].expectations
        #expect(expectations.largestDrop == 0.125 && expectations.wantsForeignKeys)
        #expect(expectations.shrinkingTables == ["outbox", "odd ]name"])
        #expect(expectations.mayShrink("OUTBOX") && !expectations.mayShrink("orders"))
        #expect(expectations.assertions.map(\.name) == ["orders: of today", "somebody"])
        #expect(expectations.assertions[0].sql == "SELECT count(*) FROM \"orders\"")
        #expect(expectations.assertions[0].minimum == 1 && expectations.assertions[0].maximum == 1_000_000)
        #expect(!expectations.assertions[1].wantsNumber)
        #expect(!configuration.patterns[0].expectations.wantsForeignKeys)
        #expect(try AgentConfiguration(yaml: configuration.yaml) == configuration)
    }

    @Test(arguments: [
        "max_row_drop_percent: 101", "max_row_drop_percent: many", "foreign_keys: maybe", "may_shrink: outbox",
        "may_shrink: [\"\"]",
        "assertion: []",
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

    /// Drills one lineage of a database after the other.
    private struct Memory {
        let directory: TemporaryDirectory
        let state: AgentState
        let database = DatabaseID(from: .seeded(1))

        init() throws {
            directory = try TemporaryDirectory()
            state = try AgentState(path: directory.file("state.db"))
        }

        func place(_ lineage: LineageID, _ sequence: UInt64) -> DrilledSnapshot {
            DrilledSnapshot(
                snapshot: SnapshotID(from: .seeded(sequence)), database: database, lineage: lineage, sequence: sequence)
        }

        /// What is counted is the sequence itself.
        func drill(_ lineage: LineageID, _ sequence: UInt64) throws {
            try state.keep(drill: ["a": Int64(sequence)], of: place(lineage, sequence))
        }

        /// - Returns: the sequence of the snapshot that this one is compared with.
        func before(_ lineage: LineageID, _ sequence: UInt64) throws -> Int64? {
            let counts = try state.drillCounts(before: place(lineage, sequence))
            #expect(
                counts
                    == counts.map {
                        .init(snapshot: SnapshotID(from: .seeded(UInt64($0.rows["a"] ?? 0))), rows: $0.rows)
                    })
            return counts?.rows["a"]
        }
    }

    @Test func aDrillIsComparedForwardWithinItsLineage() throws {
        let memory = try Memory()
        let (one, other) = (LineageID(from: .seeded(1)), LineageID(from: .seeded(2)))
        #expect(try memory.before(one, 5) == nil)
        try memory.drill(one, 5)
        #expect(try memory.before(one, 9) == 5)
        #expect(try memory.before(one, 5) == nil, "the same snapshot once more lost nothing since")
        #expect(try memory.before(one, 3) == nil, "an older snapshot had fewer rows and lost none")
        #expect(try memory.before(other, 9) == nil, "a restore begins another history")
        try memory.drill(one, 3)
        #expect(try memory.before(one, 9) == 5, "what was drilled last is not the newest")
        try memory.drill(other, 0)
        #expect(try memory.before(one, 9) == 5 && memory.before(other, 1) == 0)
        #expect(try memory.state.drillCounts(before: memory.place(other, 1))?.rows == ["a": 0])
    }

    @Test func whatIsRememberedOfDrillsStaysSmall() throws {
        let memory = try Memory()
        for lineage in 1...9 as ClosedRange<UInt64> {
            for sequence in 1...9 as ClosedRange<UInt64> {
                try memory.drill(LineageID(from: .seeded(lineage)), sequence)
            }
        }
        let last = LineageID(from: .seeded(9))
        #expect(try memory.before(last, 10) == 9 && memory.before(last, 7) == 6 && memory.before(last, 6) == nil)
        let other = LineageID(from: .seeded(8))
        #expect(try memory.before(other, 10) == 9 && memory.before(other, 6) == nil)
        #expect(try memory.before(LineageID(from: .seeded(7)), 10) == nil)
    }
}
