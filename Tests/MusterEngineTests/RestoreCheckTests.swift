import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

/// What a restore makes of what the process says that asks for `integrity_check`.
@Suite("The check of a restored database")
struct RestoreCheckTests {
    private final class Inspector: RebuiltInspector {
        private let answer: Result<RebuiltAnswers, RebuiltInspectionFailure>
        let asked = Mutex<RebuiltQuestions?>(nil)

        init(_ answer: Result<RebuiltAnswers, RebuiltInspectionFailure>) { self.answer = answer }

        func answers(to questions: RebuiltQuestions, at path: String) async throws -> RebuiltAnswers {
            asked.withLock { $0 = questions }
            return try answer.get()
        }
    }

    private static func kind(_ error: RestoreError?) -> String {
        switch error {
        case .unsound?: "unsound"
        case .unchecked?: "unchecked"
        default: "another"
        }
    }

    /// - Returns: what went wrong, and whether there is a file.
    private func restore(_ inspector: Inspector) async throws -> (error: RestoreError?, isThere: Bool) {
        let folder = try TemporaryDirectory()
        let source = folder.file("source.db")
        try SQLiteConnection(path: source, access: .readWrite).execute(
            "CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(1000000))")
        let fleet = StoreFleet(store: MemoryStore(name: "memory"), seed: 6)
        let snapshot = try await fleet.snapshot(source).id
        let restore = SnapshotRestore(
            source: try await StoreSource(fleet.store), keys: [fleet.keys],
            verifyingKey: fleet.signingKey.verifyingKey, lanes: 1, random: fleet.random, inspector: inspector)
        let target = folder.file("out.db")
        var failure: RestoreError?
        do {
            _ = try await restore.run(snapshot, to: target, checkIntegrity: true)
        } catch let error as RestoreError {
            failure = error
        }
        return (failure, FileManager.default.fileExists(atPath: target))
    }

    /// What the check may cost goes with the database: one large row must not keep it from coming back.
    @Test func aSoundDatabaseComesBack() async throws {
        let inspector = Inspector(.success(RebuiltAnswers()))
        let (error, isThere) = try await restore(inspector)
        #expect(error == nil && isThere)
        let usual = RebuiltQuestions(isDrill: false)
        let asked = try #require(inspector.asked.withLock { $0 })
        #expect(!asked.isDrill && asked.heapBytes >= usual.heapBytes + 4_000_000 && asked.seconds >= usual.seconds)
    }

    /// That a limit was met says nothing of the database, and no verdict of it.
    @Test(arguments: [RebuiltTrouble.tooMuchMemory, .tooLong, .refused(1)])
    func whatCouldNotBeAskedToTheEndIsNeitherSoundNorDamaged(trouble: RebuiltTrouble) async throws {
        let (error, isThere) = try await restore(Inspector(.success(RebuiltAnswers(failure: trouble))))
        let refusal = try #require(error)
        #expect(Self.kind(refusal) == "unchecked")
        #expect(refusal.failing == nil && refusal.hint.contains("--no-integrity-check") && !isThere)
        let (other, _) = try await restore(Inspector(.failure(RebuiltInspectionFailure(reason: "it crashed"))))
        #expect(Self.kind(other) == "unchecked" && other?.summary.contains("it crashed") == true)
    }

    /// Also where whoever answers gives no words for it.
    @Test func whatIsDamagedIsSo() async throws {
        var answers = RebuiltAnswers()
        answers.problems = ["row 1\u{1b}[31m is missing"]
        for (answer, words) in [
            (RebuiltAnswers(failure: .damaged(11)), "damaged (SQLite code 11)"), (answers, "row 1?[31m is missing"),
        ] {
            let (error, isThere) = try await restore(Inspector(.success(answer)))
            #expect(Self.kind(error) == "unsound")
            #expect(error?.summary.contains(words) == true && error?.failing != nil && !isThere)
        }
    }
}
