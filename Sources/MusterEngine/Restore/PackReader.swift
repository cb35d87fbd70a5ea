import MusterFormat
import MusterModel

/// Reads ranges of the packs that one snapshot needs, and says what is wrong with them.
struct PackReader: Sendable {
    let snapshot: SnapshotID
    let source: any SnapshotSource
    let packs: Set<PackID>
    let lanes: OpeningLanes
    let pool: BlockingPool
    let refused = RefusedReplicas()
    let refusals: RefusalBook
    /// Told of all bytes that were read and not refused.
    let onBytes: @Sendable (UInt64) -> Void

    /// Reads a range and gives it to `body`; once more from another replica where `body` blames the pack.
    ///
    /// - Parameter body: may run several times.
    func open<Success>(
        _ pack: PackID, _ range: Range<UInt64>, _ body: ([UInt8]) async throws -> Success
    ) async throws -> Success {
        guard packs.contains(pack) else {
            throw damagedManifest("its map names pack \(pack), which is not one of its packs")
        }
        var search = ReplicaSearch()
        while true {
            let before = refused[pack]
            let object: ReplicaBytes
            do {
                object = try await source.read(pack, range, after: before)
            } catch let error as ObjectUnavailable {
                throw search.end(damaged(pack, error.reason))
            }
            do {
                guard object.bytes.count == range.count else {
                    throw damaged(
                        pack, "it is truncated: \(object.bytes.count) bytes came of \(range.count)")
                }
                for (store, reason) in object.passedOver { note(damaged(pack, reason).found(in: store)) }
                let success = try await body(object.bytes)
                onBytes(UInt64(range.count))
                return success
            } catch let error as RestoreError where error.blames(pack) {
                try search.refuse(object, because: error, after: before)
                refused.note(object.store, of: pack)
                note(error.found(in: object.store))
            }
        }
    }

    private func note(_ error: RestoreError) {
        if let failing = error.failing { refusals.note(failing) }
    }

    /// Reads and opens one map chunk, then hands it to `parse`.
    func openMap<Map: Sendable>(
        _ place: ChunkPlace, plainByteCount: Int, _ parse: @escaping @Sendable ([UInt8]) throws -> Map
    ) async throws -> Map {
        try await open(place.pack, place.storedRange) { sealed in
            try await pool.run {
                try inPack(place.pack) {
                    let plain = try lanes.with(keyEpoch: place.keyEpoch) { lane in
                        try lane.opener.open(
                            sealed.span.bytes, as: .map, expecting: place.chunk, plainByteCount: plainByteCount)
                    }
                    return try parse(plain)
                }
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
        .damaged(snapshot: snapshot, store: source.name, object: RestoreError.object(pack), reason: reason)
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
