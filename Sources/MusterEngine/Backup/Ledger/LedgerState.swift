package import MusterFormat
package import MusterModel

/// What the newest snapshot of one database is made of, but for its extents: small enough to hold in memory.
///
/// Packs and scatter chunks have numbers of the ledger's own, so that a record of an extent stays short.
package struct LedgerState: Sendable, Equatable {
    package var geometry: DatabaseGeometry
    /// Of the snapshot that the ledger describes.
    package var sequence: UInt64
    /// The newest full manifest of the lineage.
    package var lastFull: UInt64
    /// Bytes of the maps of that manifest, plain.
    package var fullMapBytes = 0
    package var nextPack: UInt32 = 1
    package var nextScatter: UInt32 = 1
    package var packs: [UInt32: LedgerPack] = [:]
    package var scatters: [UInt32: LedgerScatter] = [:]
    /// Manifests that a coming delta may be based on, the newest one last.
    package var bases: [ChainBase] = []
    package var groups: [GroupHash] = []

    package init(geometry: DatabaseGeometry, sequence: UInt64, lastFull: UInt64) {
        (self.geometry, self.sequence, self.lastFull) = (geometry, sequence, lastFull)
    }

    /// Packs that the snapshot needs.
    package var livePacks: Set<PackID> { Set(packs.values.lazy.filter { $0.died == nil }.map(\.id)) }

    /// Sealed bytes that the snapshot needs.
    package var storedBytes: UInt64 {
        packs.values.reduce(0) { $1.died == nil ? $0 + UInt64($1.liveBytes + $1.mapBytes) : $0 }
    }

    package func place(_ record: ExtentRecord, keyEpoch: UInt32) -> ChunkPlace? {
        guard let pack = packs[record.pack] else { return nil }
        return ChunkPlace(
            pack: pack.id, offset: record.offset, byteCount: record.byteCount, chunk: record.chunk, keyEpoch: keyEpoch)
    }
}

/// One pack that the snapshot, or one that a coming delta may be based on, needs.
package struct LedgerPack: Sendable, Equatable {
    package var number: UInt32
    package var id: PackID
    /// 0 where another snapshot's pack was found by the dedup question: its size is not known here.
    package var byteCount: Int
    /// Sealed bytes of extent, scatter and difference chunks that still count.
    package var liveBytes = 0
    /// Sealed bytes of map chunks that the newest manifest rests on.
    package var mapBytes = 0
    package var born: UInt64
    package var died: UInt64?

    package init(number: UInt32, id: PackID, byteCount: Int, born: UInt64) {
        (self.number, self.id, self.byteCount, self.born) = (number, id, byteCount, born)
    }
}

/// One scatter or difference chunk of which at least one page counts.
package struct LedgerScatter: Sendable, Equatable {
    package var number: UInt32
    /// The snapshot whose map lists it.
    package var listed: UInt64
    package var kind: ScatterEntry.Kind
    package var pack: UInt32
    package var offset: Int
    package var byteCount: Int
    package var plainByteCount: Int
    package var chunk: ChunkID
    /// Ascending.
    package var pages: [UInt32]
    /// Positions in `pages` that do not count any more, ascending.
    package var dead: [Int] = []

    package init(
        number: UInt32, listed: UInt64, kind: ScatterEntry.Kind, pack: UInt32, offset: Int, byteCount: Int,
        plainByteCount: Int, chunk: ChunkID, pages: [UInt32]
    ) {
        (self.number, self.listed, self.kind, self.pack) = (number, listed, kind, pack)
        (self.offset, self.byteCount, self.plainByteCount) = (offset, byteCount, plainByteCount)
        (self.chunk, self.pages) = (chunk, pages)
    }

    package var liveCount: Int { pages.count - dead.count }

    /// The share of its sealed bytes that still counts.
    ///
    /// Never nothing while a page counts: a pack lives by it.
    var liveBytes: Int { liveCount == 0 ? 0 : max(1, byteCount * liveCount / pages.count) }
}

/// A manifest that a delta may name as its base.
package struct ChainBase: Sendable, Equatable {
    package var sequence: UInt64
    package var snapshot: SnapshotID
    package var manifestHash: ManifestHash
    /// Plain bytes of what it says of the map.
    package var mapBytes: Int

    package init(sequence: UInt64, snapshot: SnapshotID, manifestHash: ManifestHash, mapBytes: Int) {
        (self.sequence, self.snapshot) = (sequence, snapshot)
        (self.manifestHash, self.mapBytes) = (manifestHash, mapBytes)
    }
}
