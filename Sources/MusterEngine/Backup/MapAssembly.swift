import MusterFormat
import MusterModel

/// The fourth stage: writes the page map, one sealed map chunk a group, as soon as the group is complete.
///
/// Only the current group and one short line for each finished one are held, whatever the database's size.
struct MapAssembly: ~Copyable {
    private struct Located {
        let extent: Int
        let hash: ExtentHash
        let location: ChunkLocation
    }

    private struct Written {
        let hash: GroupHash
        let location: ChunkLocation
        let plainByteCount: Int
    }

    private var tree: ContentTree
    private var current: [Located] = []
    private var written: [Written] = []
    private(set) var packs: Set<PackID> = []
    private(set) var storedBytes: UInt64 = 0
    private let sealer: ChunkSealer

    init(geometry: DatabaseGeometry, keys: ScopeKeys, level: Int) {
        tree = ContentTree(geometry: geometry)
        sealer = ChunkSealer(keys: keys, level: level)
    }

    /// Notes where the next extent's chunk is; a complete group's map goes into `assembly`'s current pack.
    mutating func append(_ extent: SealedExtent, at location: ChunkLocation, _ assembly: inout PackAssembly) throws {
        current.append(Located(extent: extent.extent, hash: extent.hash, location: location))
        storedBytes += UInt64(assembly.place(location).byteCount)
        guard let hash = tree.append(extent.hash) else { return }
        let entries = current.map { located in
            ExtentEntry(
                extent: located.extent, place: assembly.place(located.location),
                pageCount: tree.geometry.pageCount(ofExtent: located.extent), hash: located.hash)
        }
        for entry in entries where entry.place.pack != MapGroup.ownPack { packs.insert(entry.place.pack) }
        let plain = try MapGroup(index: written.count, extents: entries).encoded(in: tree.geometry)
        let chunk = try sealer.seal(plain, as: .map)
        storedBytes += UInt64(chunk.bytes.count)
        written.append(Written(hash: hash, location: assembly.appendHere(chunk), plainByteCount: plain.count))
        current.removeAll(keepingCapacity: true)
    }

    /// What the manifest's sealed part lists, once every pack is finished.
    mutating func references(_ assembly: PackAssembly) -> [MapGroupReference] {
        precondition(current.isEmpty, "a group is incomplete")
        return written.indices.map { index in
            let place = assembly.place(written[index].location)
            packs.insert(place.pack)
            return MapGroupReference(
                index: index, place: place, plainByteCount: written[index].plainByteCount, hash: written[index].hash)
        }
    }

    mutating func contentRoot() -> ContentRoot { tree.contentRoot() }
}
