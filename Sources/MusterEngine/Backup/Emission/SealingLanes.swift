import Dispatch
import MusterFormat
import MusterModel
import MusterSQLite
import Synchronization

/// Hashes, compares, compresses and seals extents on all lanes at once.
///
/// `@unchecked Sendable`: a lane's contexts are touched only under its index, and
/// `concurrentPerform` runs each index on one thread and returns after all.
final class SealingLanes: @unchecked Sendable {
    private let lanes: [EmissionLane]

    init(keys: ScopeKeys, level: Int, count: Int, cache: PackCache?) {
        precondition(count > 0, "sealing needs a lane")
        lanes = (0..<count).map { _ in EmissionLane(keys: keys, level: level, cache: cache) }
    }

    /// Blocks the calling thread until every extent is looked at.
    ///
    /// - Parameters:
    ///   - records: what the ledger has of the extents.
    ///   - state: where their packs are.
    /// - Returns: what there is to say, in order; nothing of an extent that is as the ledger has it.
    func emit(
        _ batch: ExtentBatch, _ records: [Int: ExtentRecord], _ state: LedgerState
    ) throws -> [ExtentOutcome] {
        try each(batch) { lane, extent, plain in
            try lane.emit(extent, plain, batch.geometry, batch.dirty, records[extent], state)
        }
    }

    /// Which extents are not as the ledger has them.
    func compare(_ batch: ExtentBatch, _ records: [Int: ExtentRecord]) throws -> [Int] {
        try each(batch) { lane, extent, plain in
            lane.isSame(plain, batch.geometry, records[extent]) ? nil : extent
        }
    }

    private func each<Success: Sendable>(
        _ batch: ExtentBatch, _ body: @Sendable (EmissionLane, Int, RawSpan) throws -> Success?
    ) throws -> [Success] {
        let next = Atomic<Int>(0)
        let (extents, pages, size) = (batch.extents, batch.pages, batch.geometry.extentBytes)
        let results = Mutex<[Result<Success?, any Error>?]>(Array(repeating: nil, count: extents.count))
        withoutActuallyEscaping(body) { body in
            DispatchQueue.concurrentPerform(iterations: min(lanes.count, extents.count)) { lane in
                while true {
                    let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                    guard index < extents.count else { return }
                    let range = index * size..<min((index + 1) * size, pages.count)
                    let result = Result { try body(lanes[lane], extents[index], pages.span.bytes.extracting(range)) }
                    results.withLock { $0[index] = result }
                }
            }
        }
        return try results.withLock { results in
            try results.compactMap { result in
                guard let result else { preconditionFailure("a lane left an extent out") }
                return try result.get()
            }
        }
    }
}
