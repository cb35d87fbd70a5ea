import Foundation
import MusterModel

/// Room for rebuilt databases, as far as the disk's other users leave it.
struct ScratchSpace: Sendable {
    let folder: String
    let limits: InspectionLimits

    /// Refuses what would take room that belongs to others.
    ///
    /// - Parameter bytes: what is still to be written.
    func check(_ bytes: UInt64) throws {
        if limits.scratchBytes > 0, bytes > UInt64(limits.scratchBytes) {
            throw NotEnoughScratchSpace(folder: folder, neededBytes: bytes, freeBytes: UInt64(limits.scratchBytes))
        }
        let free = try freeBytes()
        guard free >= UInt64(limits.reserveBytes), free - UInt64(limits.reserveBytes) >= bytes else {
            throw NotEnoughScratchSpace(
                folder: folder, neededBytes: bytes, freeBytes: free - min(free, UInt64(limits.reserveBytes)))
        }
    }

    /// For this user; what only root may use is not room.
    private func freeBytes() throws -> UInt64 {
        let free = try FileManager.default.attributesOfFileSystem(forPath: folder)[.systemFreeSize]
        guard let free = free as? NSNumber else {
            throw NotEnoughScratchSpace(folder: folder, neededBytes: 0, freeBytes: 0)
        }
        return free.uint64Value
    }
}

struct NotEnoughScratchSpace: ActionableError {
    let folder: String
    let neededBytes, freeBytes: UInt64
    var summary: String {
        "not enough scratch space: \(neededBytes) bytes are needed and \(freeBytes) may be used in '\(folder)'"
    }
    var hint: String {
        "Make room on that disk, or change scratch_reserve_bytes or scratch_limit_bytes in agent.yaml."
    }
    var isTransient: Bool { true }
}

struct InspectionTooLong: ActionableError {
    let limit: Duration
    var summary: String { "the database was not rebuilt within \(limit.text)" }
    var hint: String {
        "Look at the network and the stores, or raise inspection_time_limit or inspection_bytes_per_second in agent.yaml."
    }
    var isTransient: Bool { true }
}
