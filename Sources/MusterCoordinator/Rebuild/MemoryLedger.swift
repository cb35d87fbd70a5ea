import MusterEngine
import MusterModel
import Synchronization

/// A ledger that is forgotten after the snapshot: for a database whose next snapshot compares by chunk ids alone.
final class MemoryLedger: PageLedger {
    /// In the order of the extents, as they are appended.
    private let records = Mutex<[ExtentRecord]>([])

    func extents(_ numbers: [Int]) -> [ExtentRecord] {
        let wanted = Set(numbers)
        return records.withLock { $0.filter { wanted.contains($0.extent) } }
    }

    func extents(in range: Range<Int>) -> [ExtentRecord] {
        records.withLock { $0.filter { range.contains($0.extent) } }
    }

    func extents(inPack pack: UInt32) -> [ExtentRecord] { records.withLock { $0.filter { $0.pack == pack } } }

    func extents(changedAfter sequence: UInt64, limit: Int) -> [ExtentRecord]? {
        let changed = records.withLock { $0.filter { $0.changed > sequence } }
        return changed.count > limit ? nil : changed
    }

    func extentHashes(ofGroup group: Int) -> [ExtentHash] {
        let first = group * Self.extentsPerGroup
        return extents(in: first..<first + Self.extentsPerGroup).map(\.hash)
    }

    func append(_ new: [ExtentRecord]) { records.withLock { $0 += new } }

    /// proto/format.md: a group is 256 extents.
    private static let extentsPerGroup = 256
}
