import Foundation
import MusterModel

/// The packs that one map names, each once.
struct PackTable {
    private(set) var packs: [PackID] = []
    private(set) var epochs: [UInt32] = []
    private var known: [PackID: Int] = [:]

    init() {}

    /// - Parameters:
    ///   - ownPack: the pack that the map lies in; nil where it lies in a manifest, which has none.
    ///   - part: the manifest that the map is of, which knows what it can name.
    init(
        packs: Data, epochs: [UInt32], ownPack: PackID?, of part: ManifestPublicPart, _ parser: FieldParser
    ) throws(FormatError) {
        let named: [PackID] = try parser.digests(packs, "packs")
        try parser.check(named.count == epochs.count, "\(named.count) packs with \(epochs.count) epochs")
        try parser.check(ownPack != nil || !named.contains(MapGroup.ownPack), "a manifest lies in no pack")
        self.epochs = epochs
        self.packs = named.map { $0 == MapGroup.ownPack ? ownPack ?? $0 : $0 }
        try parser.check(Set(self.packs).count == named.count, "a pack is named twice")
        try parser.check(part.mayName(self.packs), "it names a pack that the manifest does not list")
    }

    mutating func index(of place: ChunkPlace) -> UInt32 {
        if let index = known[place.pack] {
            precondition(epochs[index] == place.keyEpoch, "all chunks of a pack are of one key epoch")
            return UInt32(index)
        }
        known[place.pack] = packs.count
        packs.append(place.pack)
        epochs.append(place.keyEpoch)
        return UInt32(packs.count - 1)
    }

    var encodedPacks: Data { Data(packs.flatMap(\.bytes)) }

    func place(
        _ index: UInt32, offset: UInt32, byteCount: UInt32, chunk: ChunkID, _ parser: FieldParser
    ) throws(FormatError) -> ChunkPlace {
        try parser.check(Int(index) < packs.count, "chunk \(chunk) is in pack \(index) of \(packs.count)")
        let place = ChunkPlace(
            pack: packs[Int(index)], offset: Int(offset), byteCount: Int(byteCount), chunk: chunk,
            keyEpoch: epochs[Int(index)])
        try place.check(parser)
        return place
    }
}

extension ManifestPublicPart {
    /// A full manifest lists all that its maps name. A delta's maps may also name what its base has,
    /// which the chain knows, but nothing that it dropped.
    fileprivate func mayName(_ named: [PackID]) -> Bool {
        isFull ? packs.added.isSuperset(of: named) : packs.dropped.isDisjoint(with: named)
    }
}
