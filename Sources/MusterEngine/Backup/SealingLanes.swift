import Dispatch
import MusterFormat
import MusterModel
import Synchronization

/// One extent, sealed: what the map needs and what the pack holds.
struct SealedExtent: Sendable {
    let extent: Int
    let hash: ExtentHash
    let chunk: SealedChunk
}

/// Hashes, compresses and seals extents on all lanes at once.
///
/// `@unchecked Sendable`: a lane's contexts are touched only under its index, and
/// `concurrentPerform` runs each index on one thread and returns after all.
final class SealingLanes: @unchecked Sendable {
    private final class Lane {
        let sealer: ChunkSealer
        var hasher = TreeHasher()

        init(keys: ScopeKeys, level: Int) { sealer = ChunkSealer(keys: keys, level: level) }
    }

    private let lanes: [Lane]

    init(keys: ScopeKeys, level: Int, count: Int) {
        precondition(count > 0, "sealing needs a lane")
        lanes = (0..<count).map { _ in Lane(keys: keys, level: level) }
    }

    /// Blocks the calling thread until all are sealed, each opened again and compared.
    ///
    /// - Parameters:
    ///   - pages: the plain extents back to back, from `first` on.
    ///   - first: the number of the first extent.
    func seal(_ pages: [UInt8], from first: Int, _ geometry: DatabaseGeometry) throws -> [SealedExtent] {
        let count = (pages.count + geometry.extentBytes - 1) / geometry.extentBytes
        let next = Atomic<Int>(0)
        let results = Mutex<[Result<SealedExtent, any Error>?]>(Array(repeating: nil, count: count))
        DispatchQueue.concurrentPerform(iterations: min(lanes.count, count)) { lane in
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < count else { return }
                let result = Result { try sealOne(pages, index, first: first, geometry, lanes[lane]) }
                results.withLock { $0[index] = result }
            }
        }
        return try results.withLock { results in
            try results.map { result in
                guard let result else { preconditionFailure("a lane left an extent out") }
                return try result.get()
            }
        }
    }

    private func sealOne(
        _ pages: [UInt8], _ index: Int, first: Int, _ geometry: DatabaseGeometry, _ lane: Lane
    ) throws -> SealedExtent {
        let start = index * geometry.extentBytes
        let plain = pages.span.bytes.extracting(start..<min(start + geometry.extentBytes, pages.count))
        let hash = lane.hasher.extentHash(of: plain, pageSize: geometry.pageSize)
        return SealedExtent(extent: first + index, hash: hash, chunk: try lane.sealer.seal(plain, as: .extent))
    }
}
