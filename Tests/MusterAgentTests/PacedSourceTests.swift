import Logging
import MusterEngine
import MusterFormat
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterAgent

@Suite("Inspections are paced")
struct PacedSourceTests {
    private struct Full: SnapshotSource {
        let name = "the coordinator"

        func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
            ReplicaBytes([UInt8](repeating: 0, count: 1 << 20), of: "")
        }

        func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
            ReplicaBytes([UInt8](repeating: 0, count: range.count), of: refused.first ?? "")
        }
    }

    /// Moves on only while somebody sleeps.
    private final class Time: Sendable {
        private let past = Mutex(Duration.seconds(77))
        var now: Duration { past.withLock { $0 } }
        func pass(_ span: Duration) { past.withLock { $0 += span } }
    }

    private let time = Time()
    private let pack: PackID = SHA256Hasher.hash([1])

    private func pace(_ bytesPerSecond: Int) -> InspectionPace {
        let time = time
        return InspectionPace(
            bytesPerSecond: bytesPerSecond,
            environment: AgentEnvironment(
                clock: ManualClock(), monotonic: { time.now }, sleep: { time.pass($0) }, random: .system,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, cores: 2, version: "test"))
    }

    private func read(_ mebibytes: Int, of source: PacedSource) async throws -> Duration {
        let began = time.now
        for _ in 0..<mebibytes {
            let replica = try await source.read(pack, 0..<(1 << 20), after: ["a store"])
            #expect(replica.bytes.count == 1 << 20 && replica.store == "a store")
        }
        return time.now - began
    }

    @Test func whatIsReadTakesItsTime() async throws {
        let source = PacedSource(Full(), pace(4 << 20))
        // The first begins at once, and each waits for the one before.
        #expect(try await read(101, of: source) == .seconds(25))
        #expect(source.name == "the coordinator")
    }

    @Test func theNextReadWaitsForTheManifestToo() async throws {
        let source = PacedSource(Full(), pace(1 << 20))
        _ = try await source.manifest(of: SnapshotID(from: .system), after: [])
        #expect(try await read(1, of: source) == .seconds(1))
    }

    /// Zeros cost the stores nothing, and the scratch folder's disk as much as anything else.
    @Test func whatIsWrittenCountsWhereItIsMore() async throws {
        let pace = pace(4 << 20)
        let source = PacedSource(Full(), pace)
        pace.expect(writtenBytes: 80 << 20, ofReadBytes: 10 << 20)
        #expect(try await read(11, of: source) == .seconds(20))
        // What came before has its time as well.
        pace.expect(writtenBytes: 5 << 20, ofReadBytes: 10 << 20)
        #expect(try await read(9, of: source) == .seconds(4))
        pace.expect(writtenBytes: 0, ofReadBytes: 0)
        #expect(try await read(4, of: source) == .seconds(1))
    }

    @Test func withoutALimitNothingWaits() async throws {
        #expect(try await read(100, of: PacedSource(Full(), pace(0))) == .zero)
    }
}
