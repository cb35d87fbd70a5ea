import MusterFormat
import MusterModel
import Synchronization

/// The last stage: one pack to the other side.
struct PushStage<Sink: PackSink>: Sendable {
    let sink: Sink
    let progress: ProgressMeter

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
    }

    private let state: Mutex<State>
    private let onProgress: @Sendable (SnapshotProgress) -> Void

    init(pageCount: UInt64, _ onProgress: @escaping @Sendable (SnapshotProgress) -> Void) {
        state = Mutex(State(progress: SnapshotProgress(pagesSealed: 0, pageCount: pageCount, bytesSent: 0)))
        self.onProgress = onProgress
    }

    func sealed(through extent: Int, _ geometry: DatabaseGeometry) {
        update { $0.progress.pagesSealed = min(geometry.pageCount, UInt64(extent * geometry.pagesPerExtent)) }
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
