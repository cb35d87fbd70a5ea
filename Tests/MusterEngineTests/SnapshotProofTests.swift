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

    /// The owner asks for rows, and for a number up to 10.
    private func prove(_ lie: (inout RebuiltAnswers) -> Void) async throws -> ProofOutcome {
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
