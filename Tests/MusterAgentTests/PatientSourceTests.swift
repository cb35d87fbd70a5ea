import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Synchronization
import Testing

@testable import MusterAgent

@Suite("A restore waits for a coordinator that is away")
struct PatientSourceTests {
    /// Fails so often before it answers.
    private final class Failing: SnapshotSource {
        let name = "the coordinator"
        private let error: CoordinatorError
        private let left: Mutex<Int>
        private let asked = Mutex(0)

        init(_ failures: Int, _ error: CoordinatorError) {
            self.error = error
            left = Mutex(failures)
        }

        var questions: Int { asked.withLock { $0 } }

        func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
            try answer(refused)
        }

        func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
            try answer(refused)
        }

        private func answer(_ refused: Set<String>) throws -> ReplicaBytes {
            asked.withLock { $0 += 1 }
            let fails = left.withLock { left in
                left -= 1
                return left >= 0
            }
            if fails { throw error }
            return ReplicaBytes([7], of: refused.first ?? "")
        }
    }

    private static let away = CoordinatorError.transfer(.exhausted(detail: "away"))
    private let clock = ManualClock()
    private let told = Told()

    private final class Told: Sendable {
        private let words = Mutex<[String]>([])
        var all: [String] { words.withLock { $0 } }
        func note(_ word: String) { words.withLock { $0.append(word) } }
    }

    private func patient(_ source: Failing, seconds: Int64) -> PatientSource {
        let clock = clock
        let environment = AgentEnvironment(
            clock: clock, monotonic: { .zero }, sleep: { clock.advance(by: $0) }, random: .system,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, cores: 2, version: "test")
        return PatientSource(
            source, until: clock.now() + .seconds(seconds), environment: environment,
            onWait: { [told] in told.note($0) })
    }

    @Test func anOutageOfAnHourEndsNothing() async throws {
        #expect(Self.away.isTransient)
        let source = Failing(400, Self.away)
        let patient = patient(source, seconds: 24 * 3600)
        #expect(try await patient.manifest(of: SnapshotID(from: .system)) == [7])
        #expect(source.questions == 401)
        let read = try await patient.read(SHA256Hasher.hash([1]), 0..<1, after: ["a store"])
        #expect(read.bytes == [7] && read.store == "a store", "what was refused is told on")
    }

    /// Whoever looks at the order sees it, for hours if need be.
    @Test func whyItWaitsIsToldAndThatItWaitsNoMore() async throws {
        let source = Failing(2, Self.away)
        _ = try await patient(source, seconds: 3600).manifest(of: SnapshotID(from: .system))
        #expect(told.all == [Self.away.summary, Self.away.summary, ""])
    }

    @Test func afterTheOrdersEndNobodyWaits() async throws {
        let source = Failing(.max, Self.away)
        let end = clock.now() + .seconds(60)
        await #expect(throws: CoordinatorError.self) {
            _ = try await patient(source, seconds: 60).manifest(of: SnapshotID(from: .system))
        }
        #expect(clock.now() >= end && source.questions > 1)
    }

    @Test func aRefusalIsNotWaitedFor() async throws {
        let source = Failing(1, .unreadable(path: "/", reason: "test"))
        await #expect(throws: CoordinatorError.self) {
            _ = try await patient(source, seconds: 3600).manifest(of: SnapshotID(from: .system))
        }
        #expect(source.questions == 1)
    }
}
