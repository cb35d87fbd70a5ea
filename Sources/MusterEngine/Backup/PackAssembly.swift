import MusterFormat
import MusterModel

/// Where a chunk went: into a pack that is known by id, or into one that is still filled.
enum ChunkLocation: Hashable {
    case known(ChunkPlace)
    /// `ordinal` counts the packs of this snapshot from 0.
    case fresh(ordinal: Int, PackEntry)
}

/// The third stage: fills packs up to the target size.
struct PackAssembly {
    /// Kept free at the end of a pack, so that a group's map chunk always fits behind its last extent.
    private static let mapReserveBytes = 256 << 10

    private let targetBytes: Int
    private let keyEpoch: UInt32
    private var builder = PackBuilder()
    /// Ids of the finished packs, by ordinal.
    private(set) var ids: [PackID] = []
    private(set) var addedBytes: UInt64 = 0

    init(targetBytes: Int, keyEpoch: UInt32) { (self.targetBytes, self.keyEpoch) = (targetBytes, keyEpoch) }

    /// Adds an extent's chunk.
    ///
    /// - Returns: where it went, and the pack that had to be finished to make room.
    mutating func append(_ chunk: SealedChunk) -> (location: ChunkLocation, finished: Pack?) {
        let needed = builder.byteCount + chunk.bytes.count + Self.mapReserveBytes
        let finished = needed > targetBytes ? finish() : nil
        return (appendHere(chunk), finished)
    }

    /// Adds a chunk to the pack that is filled now: for map chunks, which name that pack as their own.
    mutating func appendHere(_ chunk: SealedChunk) -> ChunkLocation {
        .fresh(ordinal: ids.count, builder.append(chunk))
    }

    /// Finishes the pack that is filled now; nil where it is empty.
    mutating func finish() -> Pack? {
        guard !builder.isEmpty else { return nil }
        let pack = builder.finish()
        builder = PackBuilder()
        ids.append(pack.id)
        addedBytes += UInt64(pack.bytes.count)
        return pack
    }

    /// The place as a map chunk that goes into the pack filled now has to name it.
    func place(_ location: ChunkLocation) -> ChunkPlace {
        switch location {
        case .known(let place): place
        case .fresh(let ordinal, let entry):
            ChunkPlace(entry, in: ordinal < ids.count ? ids[ordinal] : MapGroup.ownPack, keyEpoch: keyEpoch)
        }
    }
}
