import MusterEngine
import MusterModel
import Synchronization

/// Spreads over time what an inspection reads from the stores and writes into scratch space: production comes first.
///
/// A piece costs what it is the more of, as it came or as it is written: pages that compress a hundredfold are
/// written all the same.
final class InspectionPace: Sendable {
    private struct State {
        var pace: BytePace
        var writtenPerRead = 1.0
    }

    private let state: Mutex<State>
    private let environment: AgentEnvironment

    init(bytesPerSecond: Int, environment: AgentEnvironment) {
        state = Mutex(State(pace: BytePace(bytesPerSecond: bytesPerSecond)))
        self.environment = environment
    }

    /// Of the snapshot whose packs are read from now on.
    func expect(writtenBytes: UInt64, ofReadBytes readBytes: UInt64) {
        state.withLock { $0.writtenPerRead = max(1, Double(writtenBytes) / Double(max(1, readBytes))) }
    }

    /// Waits until so many bytes of a pack may be read.
    func spend(_ byteCount: Int) async throws {
        let pause = state.withLock { state in
            state.pace.reserve(Double(byteCount) * state.writtenPerRead, at: environment.monotonic())
        }
        if pause > .zero { try await environment.sleep(pause) }
    }

    /// What was read already, of what size nobody knew before; who reads next waits for it.
    func note(_ byteCount: Int) {
        state.withLock { _ = $0.pace.reserve(Double(byteCount), at: environment.monotonic()) }
    }
}

/// A source that is read no faster than an inspection may.
struct PacedSource: SnapshotSource {
    private let source: any SnapshotSource
    private let pace: InspectionPace

    init(_ source: any SnapshotSource, _ pace: InspectionPace) { (self.source, self.pace) = (source, pace) }

    var name: String { source.name }

    func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        let replica = try await source.manifest(of: snapshot, after: refused)
        pace.note(replica.bytes.count)
        return replica
    }

    func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
        try await pace.spend(range.count)
        return try await source.read(pack, range, after: refused)
    }
}
