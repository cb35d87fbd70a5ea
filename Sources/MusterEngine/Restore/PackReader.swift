import MusterFormat
import MusterModel

/// Reads ranges of the packs that one snapshot needs, and says what is wrong with them.
struct PackReader: Sendable {
    let snapshot: SnapshotID
    let source: any SnapshotSource
    let packs: Set<PackID>
    let lanes: OpeningLanes
    let pool: BlockingPool
    /// Told of all bytes that were read.
    let onBytes: @Sendable (UInt64) -> Void

    func read(_ pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8] {
        guard packs.contains(pack) else {
            throw damagedManifest("its map names pack \(pack), which is not one of its packs")
        }
        do {
            let bytes = try await source.read(pack, range)
            guard bytes.count == range.count else {
                throw ObjectUnavailable(reason: "it is truncated: \(bytes.count) bytes came of \(range.count)")
            }
            onBytes(UInt64(bytes.count))
            return bytes
        } catch let error as ObjectUnavailable {
            throw damaged(pack, error.reason)
        }
    }

    /// Reads and opens one map chunk, then hands it to `parse`.
    func openMap<Map: Sendable>(
        _ place: ChunkPlace, plainByteCount: Int, _ parse: @escaping @Sendable ([UInt8]) throws -> Map
    ) async throws -> Map {
        let sealed = try await read(place.pack, place.storedRange)
        return try await pool.run {
            try inPack(place.pack) {
                let plain = try lanes.with(keyEpoch: place.keyEpoch) { lane in
                    try lane.opener.open(
                        sealed.span.bytes, as: .map, expecting: place.chunk, plainByteCount: plainByteCount)
                }
                return try parse(plain)
            }
        }
    }

    /// Runs `body`, and blames the pack for a chunk that is refused.
    func inPack<Success>(_ pack: PackID, _ body: () throws -> Success) throws -> Success {
        do {
            return try body()
        } catch let error as FormatError {
            throw damaged(pack, error.summary)
        }
    }

    func damaged(_ pack: PackID, _ reason: String) -> RestoreError {
        .damaged(snapshot: snapshot, store: source.name, object: "pack \(pack)", reason: reason)
    }

    func damagedManifest(_ reason: String) -> RestoreError {
        .damaged(snapshot: snapshot, store: source.name, object: "manifest of snapshot \(snapshot)", reason: reason)
    }
}

extension ChunkPlace {
    var storedRange: Range<UInt64> { UInt64(range.lowerBound)..<UInt64(range.upperBound) }
}

/// Chunks that stand close together in one pack, fetched by one read.
struct ReadSpan<Item: Sendable>: Sendable {
    /// Sealed bytes read at a time.
    private static var mostBytes: UInt64 { 4 << 20 }
    /// Bytes between two chunks that are cheaper to read than to skip.
    private static var mostGap: UInt64 { 64 << 10 }

    let pack: PackID
    private(set) var range: Range<UInt64>
    private(set) var items: [Item]

    static func cut(_ items: some Sequence<Item>, place: (Item) -> ChunkPlace) -> [ReadSpan] {
        let ordered = items.sorted { one, other in
            (place(one).pack, place(one).offset) < (place(other).pack, place(other).offset)
        }
        var spans: [ReadSpan] = []
        for item in ordered {
            let (pack, range) = (place(item).pack, place(item).storedRange)
            if let last = spans.indices.last, spans[last].pack == pack,
                range.lowerBound <= spans[last].range.upperBound + mostGap,
                range.upperBound - spans[last].range.lowerBound <= mostBytes
            {
                let end = max(spans[last].range.upperBound, range.upperBound)
                spans[last].range = spans[last].range.lowerBound..<end
                spans[last].items.append(item)
            } else {
                spans.append(ReadSpan(pack: pack, range: range, items: [item]))
            }
        }
        return spans
    }

    /// The chunk of an item within what was read for the span.
    func indices(of place: ChunkPlace) -> Range<Int> {
        let start = place.offset - Int(range.lowerBound)
        return start..<start + place.byteCount
    }
}
