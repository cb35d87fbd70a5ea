import Foundation
import MusterFormat
import MusterModel

/// Contexts for opening chunks, lent to one thread at a time.
///
/// `@unchecked Sendable`: the list is touched under the lock, and a lane is out of it while a thread has it.
final class OpeningLanes: @unchecked Sendable {
    final class Lane {
        let opener: ChunkOpener
        let differencer = PageDifferencer()
        var hasher = TreeHasher()

        init(keys: ScopeKeys) { opener = ChunkOpener(keys: keys) }
    }

    private let keys: [UInt32: ScopeKeys]
    private let snapshot: SnapshotID
    private let lock = NSLock()
    private var idle: [UInt32: [Lane]] = [:]

    init(keys: [ScopeKeys], snapshot: SnapshotID) {
        self.keys = Dictionary(keys.map { ($0.epoch, $0) }, uniquingKeysWith: { first, _ in first })
        self.snapshot = snapshot
    }

    func with<Success>(keyEpoch: UInt32, _ body: (Lane) throws -> Success) throws -> Success {
        guard let keys = keys[keyEpoch] else { throw RestoreError.noKey(snapshot: snapshot, keyEpoch: keyEpoch) }
        let lane = take(keyEpoch) ?? Lane(keys: keys)
        defer { giveBack(lane, keyEpoch) }
        return try body(lane)
    }

    private func take(_ keyEpoch: UInt32) -> Lane? {
        lock.withLock { idle[keyEpoch]?.popLast() }
    }

    private func giveBack(_ lane: Lane, _ keyEpoch: UInt32) {
        lock.withLock { idle[keyEpoch, default: []].append(lane) }
    }
}
