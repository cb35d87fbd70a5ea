import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Testing

/// What a process answers that a hostile database has taken over.
@Suite("A proof whose answers are not to be trusted")
struct SnapshotProofTests {
    private struct Liar: RebuiltInspector {
        var answers = RebuiltAnswers()
        func answers(to questions: RebuiltQuestions, at path: String) async throws -> RebuiltAnswers { answers }
    }

    private static let earlier = SnapshotID(from: .seeded(77))

    /// The owner asks for rows, and for a number up to 10.
    private func prove(
        before: [String: Int64]? = nil, largestDrop: Double? = nil, shrinking: [String] = [],
        _ lie: (inout RebuiltAnswers) -> Void
    ) async throws -> ProofOutcome {
        let folder = try TemporaryDirectory()
        let source = folder.file("source.db")
        try SQLiteConnection(path: source, access: .readWrite).execute("CREATE TABLE t(a)")
        let fleet = StoreFleet(store: MemoryStore(name: "memory"), seed: 5)
        let snapshot = try await fleet.snapshot(source).id
        var liar = Liar()
        lie(&liar.answers)
        let proof = SnapshotProof(
            restore: SnapshotRestore(
                source: try await StoreSource(fleet.store), keys: [fleet.keys],
                verifyingKey: fleet.signingKey.verifyingKey, lanes: 1, random: fleet.random),
            inspector: liar, monotonic: steadyTime)
        var order = SnapshotProof.Order(snapshot, isDrill: true)
        order.expectations.assertions = [
            try #require(OwnerAssertion(name: "rows", sql: "SELECT 1")),
            try #require(OwnerAssertion(name: "few", sql: "SELECT 1", maximum: 10)),
        ]
        let earlier = before.map { DrillCounts(snapshot: Self.earlier, rows: $0) }
        order.countsBefore = { $0.snapshot == snapshot ? earlier : nil }
        (order.expectations.largestDrop, order.expectations.shrinkingTables) = (largestDrop, shrinking)
        return try await proof.run(order, to: folder.file("rebuilt.db"), store: "memory")
    }

    @Test func whoAnswersDoesNotJudge() async throws {
        let outcome = try await prove { $0.assertions = [.row, .number(11)] }
        #expect(outcome.drill?.assertions.map(\.name) == ["rows", "few"], "names are the owner's")
        #expect(outcome.drill?.assertions.map(\.passed) == [true, false])
        #expect(outcome.failed.map(\.reason) == ["assertion 'few': its value is not within the bounds"])
        let other = try await prove { $0.assertions = [.number(3), .row] }
        #expect(other.drill?.assertions.map(\.value) == [nil, nil], "no number leaves that nobody asked for")
        #expect(other.failed.map(\.reason) == ["assertion 'few': its first column is no number"])
        #expect(try await prove { $0.assertions = [.row, .number(10)] }.failed == [])
    }

    @Test func aDropBeyondWhatTheOwnerAllowsFailsUntilItIsAccepted() async throws {
        func drill(_ shrinking: [String], _ largest: Double? = 0.5) async throws -> ProofOutcome {
            try await prove(before: ["a": 10, "b": 100, "c": 4], largestDrop: largest, shrinking: shrinking) {
                answers in
                answers.assertions = [.row, .number(1)]
                answers.rows = ["a": 2, "b": 90]
            }
        }
        let failed = try await drill([])
        #expect(failed.failed.count == 1 && failed.failed[0].reason.contains("lost 100.0 %"), "\(failed.failed)")
        #expect(!failed.failed[0].reason.contains("'c'"), "names of tables are content")
        #expect(
            failed.details == [
                "table 'a' has 2 rows and had 10 at the drill before",
                "table 'b' has 90 rows and had 100 at the drill before",
                "table 'c' is gone and had 4 at the drill before",
            ])
        #expect(failed.drill?.comparedWith == Self.earlier && failed.integrity == .ok)
        #expect(failed.drill?.shrunkTables == 3 && failed.drill?.vanishedTables == 1)
        #expect(try await drill(["C"]).failed.first?.reason.contains("lost 80.0 %") == true)
        let accepted = try await drill(["c", "A"])
        #expect(accepted.failed == [] && accepted.drill?.shrunkTables == 1 && accepted.drill?.largestDrop == 0.1)
        let reported = try await drill([], nil)
        #expect(reported.failed == [] && reported.drill?.largestDrop == 1)
    }

    @Test func aTableThatIsNotCountedIsNotGone() async throws {
        func drill(present: Int64) async throws -> DrillFigures? {
            try await prove(before: ["a": 1, "b": 1, "z": 1]) { answers in
                answers.assertions = [.row, .number(1)]
                (answers.rows, answers.tablesPresent) = (["a": 1, "c": 1], present)
            }.drill
        }
        let cut = try await drill(present: 3)
        #expect(cut?.vanishedTables == 1 && cut?.tablesPresent == 3, "'b' would have been counted, 'z' comes later")
        #expect(try await drill(present: 2)?.vanishedTables == 2)
        #expect(try await drill(present: 0)?.tablesPresent == 2, "it cannot be fewer than were counted")
    }

    @Test func anAnswerToOtherQuestionsIsNone() async throws {
        for assertions: [RebuiltAnswers.Answer] in [[], [.row], [.row, .number(1), .row]] {
            let outcome = try await prove { $0.assertions = assertions }
            #expect(outcome.failed.map(\.reason) == ["the rebuilt database was not asked what its owner asks"])
        }
        let many = try await prove { answers in
            answers.assertions = [.row, .number(1)]
            for table in 0...RebuiltAnswers.mostTables { answers.rows["t\(table)"] = 1 }
        }
        #expect(many.failed.count == 1 && many.drill == nil)
    }

    @Test func itsTextsStayOnTheNodeAndCannotSteerATerminal() async throws {
        let outcome = try await prove { answers in
            answers.problems = ["secret\u{1B}[2J\n" + String(repeating: "x", count: 10_000)]
            answers.details = [String](repeating: "secret", count: 10_000)
        }
        #expect(outcome.failed.map(\.reason) == ["integrity_check finds 1 problems in the rebuilt database"])
        #expect(outcome.details.count == 100 && outcome.details[0].hasPrefix("secret?[2J?xxx"))
        #expect(outcome.details[0].count == 500)
    }
}
