import MusterFormat
import MusterModel
import Synchronization

/// The last stage: one pack to the other side.
struct PushStage<Sink: PackSink>: Sendable {
    let sink: Sink
    let progress: ProgressMeter
    let cache: PackCache?

    /// Keeps a finished pack near, for the differences of snapshots to come and of this one.
    func keep(_ pack: Pack) async { await cache?.keep(pack.id, pack.bytes) }

    func put(_ pack: Pack) async throws {
        let progress = progress
        try await sink.put(pack.id, bytes: pack.bytes) { progress.sent($0, of: pack.id) }
        progress.sent(pack.bytes.count, of: pack.id)
    }
}

/// Adds up what the stages tell and passes it on.
final class ProgressMeter: Sendable {
    private struct State {
        var progress: SnapshotProgress
        /// Counted apart, since a broken connection makes a pack's count fall.
        var sentByPack: [PackID: Int] = [:]
        var pagesPerExtent: UInt64 = 1
    }

    private let state: Mutex<State>
    private let onProgress: @Sendable (SnapshotProgress) -> Void

    init(_ onProgress: @escaping @Sendable (SnapshotProgress) -> Void) {
        state = Mutex(State(progress: SnapshotProgress(pagesSealed: 0, pageCount: 0, bytesSent: 0)))
        self.onProgress = onProgress
    }

    /// A round over the database begins.
    func begin(_ geometry: DatabaseGeometry) {
        update { state in
            (state.progress.pagesSealed, state.progress.pageCount) = (0, geometry.pageCount)
            state.pagesPerExtent = UInt64(geometry.pagesPerExtent)
        }
    }

    func sealed(through extent: Int) {
        update { state in
            let pages = UInt64(extent + 1) * state.pagesPerExtent
            state.progress.pagesSealed = min(state.progress.pageCount, pages)
        }
    }

    func sent(_ bytes: Int, of pack: PackID) {
        update { state in
            let before = state.sentByPack.updateValue(bytes, forKey: pack) ?? 0
            state.progress.bytesSent = UInt64(Int(state.progress.bytesSent) + bytes - before)
        }
    }

    private func update(_ change: (inout sending State) -> Void) {
        onProgress(
            state.withLock { state in
                change(&state)
                return state.progress
            })
    }
}
