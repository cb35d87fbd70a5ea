import ArgumentParser
import CProcess
import Foundation
import MusterModel
import MusterSQLite

/// The process that asks a rebuilt database, which may be hostile: it can read that one file and answer, nothing else.
///
/// Reads `RebuiltQuestions` as JSON from standard input, and writes `RebuiltAnswers` as one line of JSON. The database
/// is open as descriptor 3. Started by `DrillCheckProcess`.
struct DrillCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill-check", abstract: "Ask a rebuilt database; started by agents.", shouldDisplay: false)

    static let database: Int32 = 3
    static let longestRequest = 1 << 20
    /// Beside SQLite's heap: for the answer.
    private static let ownBytes: UInt64 = 64 << 20

    func run() throws {
        cprocess_close_from(Self.database + 1)
        cprocess_step_back()
        let request = try FileHandle.standardInput.read(upToCount: Self.longestRequest) ?? Data()
        let questions = try JSONDecoder().decode(RebuiltQuestions.self, from: request)
        // Whatever the coding loads, it loads before no file can be opened any more.
        _ = try JSONEncoder().encode(RebuiltAnswers(failure: .unopened))
        let code = cprocess_confine(
            UInt64(max(0, questions.heapBytes)) + Self.ownBytes, UInt64(max(1, questions.seconds)))
        guard code == 0 else { throw OwnProgram.StartFailure("privileges were not given up", -code) }
        RebuiltDatabase.limitHeap(bytes: questions.heapBytes)
        Console.result(String(decoding: try JSONEncoder().encode(answers(to: questions)), as: UTF8.self))
    }

    private func answers(to questions: RebuiltQuestions) -> RebuiltAnswers {
        do {
            let database = try RebuiltDatabase(descriptor: Self.database, elapsed: Surroundings.monotonic)
            return database.answers(to: questions)
        } catch {
            return RebuiltAnswers(failure: .unopened)
        }
    }
}
