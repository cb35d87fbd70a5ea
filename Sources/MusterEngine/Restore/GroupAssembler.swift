import MusterFormat
import MusterModel

/// Rebuilds one group (256 extents): its map, then its extents in few ranged reads, each checked before it is written.
struct GroupAssembler: Sendable {
    /// Sealed bytes read at a time.
    private static let spanBytes = 4 << 20

    let snapshot: SnapshotID
    let source: any SnapshotSource
    let decoder: MapDecoder
    let geometry: DatabaseGeometry
    let lanes: OpeningLanes
    let pool: BlockingPool
    let file: RestoredFile?
    let onBytes: @Sendable (UInt64) -> Void

    /// - Returns: the group's hash over what was really written.
    func run(_ reference: MapGroupReference) async throws -> GroupHash {
        let group = try await map(reference)
        guard group.scatter.isEmpty else {
            throw RestoreError.tooNew(snapshot: snapshot, what: "scatter or difference chunks")
        }
        var hashes: [ExtentHash?] = Array(repeating: nil, count: group.extents.count)
        let first = geometry.extents(ofGroup: reference.index).lowerBound
        for span in Self.spans(group.extents) {
            let bytes = try await read(span.pack, span.range)
            let written = try await pool.run { try write(span.entries, from: bytes, start: span.range.lowerBound) }
            for (extent, hash) in written { hashes[extent - first] = hash }
            onBytes(UInt64(bytes.count))
        }
        var hasher = TreeHasher()
        let found = hasher.groupHash(of: hashes.compactMap { $0 })
        guard hashes.allSatisfy({ $0 != nil }), found == reference.hash else {
            throw damaged(reference.place.pack, "group \(reference.index) does not hash to what the manifest says")
        }
        return found
    }

    private func map(_ reference: MapGroupReference) async throws -> MapGroup {
        let place = reference.place
        let sealed = try await read(place.pack, UInt64(place.range.lowerBound)..<UInt64(place.range.upperBound))
        return try await pool.run {
            do {
                let plain = try lanes.with(keyEpoch: place.keyEpoch) { lane in
                    try lane.opener.open(
                        sealed.span.bytes, as: .map, expecting: place.chunk, plainByteCount: reference.plainByteCount)
                }
                return try decoder.group(from: plain, of: reference)
            } catch let error as FormatError {
                throw damaged(place.pack, error.summary)
            }
        }
    }

    // MARK: - Spans

    private struct Span {
        let pack: PackID
        var range: Range<UInt64>
        var entries: [ExtentEntry]
    }

    /// Chunks that stand close together in one pack are fetched by one read.
    private static func spans(_ extents: [ExtentEntry]) -> [Span] {
        let ordered = extents.sorted { ($0.place.pack, $0.place.offset) < ($1.place.pack, $1.place.offset) }
        var spans: [Span] = []
        for entry in ordered {
            let range = UInt64(entry.place.range.lowerBound)..<UInt64(entry.place.range.upperBound)
            if let last = spans.indices.last, spans[last].pack == entry.place.pack,
                range.lowerBound <= spans[last].range.upperBound + 64 << 10,
                range.upperBound - spans[last].range.lowerBound <= spanBytes
            {
                let end = max(spans[last].range.upperBound, range.upperBound)
                spans[last].range = spans[last].range.lowerBound..<end
                spans[last].entries.append(entry)
            } else {
                spans.append(Span(pack: entry.place.pack, range: range, entries: [entry]))
            }
        }
        return spans
    }

    private func read(_ pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8] {
        do {
            let bytes = try await source.read(pack, range)
            guard bytes.count == range.count else {
                throw ObjectUnavailable(reason: "it is truncated: \(bytes.count) bytes came of \(range.count)")
            }
            return bytes
        } catch let error as ObjectUnavailable {
            throw damaged(pack, error.reason)
        }
    }

    // MARK: - Extents

    private func write(
        _ entries: [ExtentEntry], from bytes: [UInt8], start: UInt64
    ) throws -> [(extent: Int, hash: ExtentHash)] {
        var written: [(extent: Int, hash: ExtentHash)] = []
        for entry in entries {
            let offset = entry.place.offset - Int(start)
            let sealed = bytes.span.bytes.extracting(offset..<offset + entry.place.byteCount)
            do {
                let (plain, hash) = try lanes.with(keyEpoch: entry.place.keyEpoch) { lane in
                    let plain = try lane.opener.open(
                        sealed, as: .extent, expecting: entry.place.chunk,
                        plainByteCount: geometry.byteCount(ofExtent: entry.extent))
                    return (plain, lane.hasher.extentHash(of: plain.span.bytes, pageSize: geometry.pageSize))
                }
                guard hash == entry.hash else {
                    throw damaged(entry.place.pack, "extent \(entry.extent) does not hash to what the map says")
                }
                try file?.write(plain, at: geometry.byteOffset(ofExtent: entry.extent))
                written.append((entry.extent, hash))
            } catch let error as FormatError {
                throw damaged(entry.place.pack, error.summary)
            }
        }
        return written
    }

    private func damaged(_ pack: PackID, _ reason: String) -> RestoreError {
        .damaged(snapshot: snapshot, store: source.name, object: "pack \(pack)", reason: reason)
    }
}
