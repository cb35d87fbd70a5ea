import MusterFormat
import MusterModel
import MusterSQLite

/// Decides for one extent at a time in which form it is sent; the contexts of one lane.
final class EmissionLane {
    private let sealer: ChunkSealer
    private let opener: ChunkOpener
    private let differencer: PageDifferencer
    private let cache: PackCache?
    private var hasher = TreeHasher()

    init(keys: ScopeKeys, level: Int, cache: PackCache?) {
        sealer = ChunkSealer(keys: keys, level: level)
        opener = ChunkOpener(keys: keys)
        differencer = PageDifferencer(level: level)
        self.cache = cache
    }

    func isSame(_ plain: RawSpan, _ geometry: DatabaseGeometry, _ record: ExtentRecord?) -> Bool {
        guard let record, record.pageHashes.count * geometry.pageSize == plain.byteCount else { return false }
        return hasher.extentHash(of: plain, pageSize: geometry.pageSize) == record.hash
    }

    /// - Returns: nil if the extent is as the record has it.
    func emit(
        _ extent: Int, _ plain: RawSpan, _ geometry: DatabaseGeometry, _ dirty: PageSet?, _ record: ExtentRecord?,
        _ state: LedgerState
    ) throws -> ExtentOutcome? {
        let hashes = pageHashes(extent, plain, geometry, dirty, record)
        guard let record else { return try whole(extent, plain, hashes) }
        let changed = hashes.indices.filter {
            $0 >= record.pageHashes.count || hashes[$0] != record.pageHashes[$0]
        }
        if changed.isEmpty, hashes.count == record.pageHashes.count { return nil }
        // An extent that only became shorter keeps its chunk; its surplus pages are cut off.
        guard changed.count <= EmissionPolicy.mostChangedPages(geometry) else {
            return try whole(extent, plain, hashes)
        }
        let content =
            try differences(plain, changed, hashes.count, geometry, record, state)
            ?? scattered(plain, changed, hashes.count, geometry, record)
        guard let content else { return try whole(extent, plain, hashes) }
        return ExtentOutcome(
            extent: extent, hash: hasher.extentHash(of: hashes), pageHashes: hashes, content: content)
    }

    private func pageHashes(
        _ extent: Int, _ plain: RawSpan, _ geometry: DatabaseGeometry, _ dirty: PageSet?, _ record: ExtentRecord?
    ) -> [PageHash] {
        let (size, count) = (geometry.pageSize, plain.byteCount / geometry.pageSize)
        let first = UInt32(extent * geometry.pagesPerExtent + 1)
        return (0..<count).map { page in
            if let dirty, let record, page < record.pageHashes.count, count == record.pageHashes.count,
                !dirty.contains(first + UInt32(page))
            {
                return record.pageHashes[page]
            }
            return hasher.pageHash(of: plain.extracting(page * size..<(page + 1) * size))
        }
    }

    private func whole(_ extent: Int, _ plain: RawSpan, _ hashes: [PageHash]) throws -> ExtentOutcome {
        ExtentOutcome(
            extent: extent, hash: hasher.extentHash(of: hashes), pageHashes: hashes,
            content: .whole(try sealer.seal(plain, as: .extent)))
    }

    /// - Returns: nil where the base is not at hand, or where the differences are not worth it.
    private func differences(
        _ plain: RawSpan, _ changed: [Int], _ pageCount: Int, _ geometry: DatabaseGeometry, _ record: ExtentRecord,
        _ state: LedgerState
    ) throws -> ExtentOutcome.Content? {
        guard let base = base(record, geometry, state) else { return nil }
        let limit = EmissionPolicy.mostDifferenceBytes(chunkBytes: record.byteCount)
        let size = geometry.pageSize
        let kept = record.supplies.filter { $0.page < pageCount && !changed.contains($0.page) }
        guard Set(kept.map(\.scatter)).count < EmissionPolicy.mostSupplyingChunks else { return nil }
        var sum = kept.reduce(0) { $0 + $1.byteCount }
        var pieces: [PagePiece] = []
        for page in changed {
            let bytes = plain.extracting(page * size..<(page + 1) * size)
            let isInBase = (page + 1) * size <= base.count
            let frame = try differencer.difference(
                of: bytes, from: isInBase ? base.span.bytes.extracting(page * size..<(page + 1) * size) : nil)
            sum += frame.count
            guard sum <= limit else { return nil }
            pieces.append(PagePiece(page: page, bytes: frame))
        }
        return .differences(pieces)
    }

    /// The plain bytes of the extent's chunk, where the cache still has it.
    private func base(_ record: ExtentRecord, _ geometry: DatabaseGeometry, _ state: LedgerState) -> [UInt8]? {
        guard let cache, let place = state.place(record, keyEpoch: opener.keyEpoch),
            let sealed = cache.read(place.pack, place.range)
        else { return nil }
        do {
            return try opener.open(
                sealed.span.bytes, as: .extent, expecting: place.chunk,
                plainByteCount: record.chunkPages * geometry.pageSize)
        } catch {
            // A cache may rot: without it the pages are sent as they are.
            cache.drop(place.pack)
            return nil
        }
    }

    /// - Returns: nil where too many pages of the extent would lie scattered.
    private func scattered(
        _ plain: RawSpan, _ changed: [Int], _ pageCount: Int, _ geometry: DatabaseGeometry, _ record: ExtentRecord
    ) -> ExtentOutcome.Content? {
        let kept = record.supplies.filter { $0.page < pageCount && !changed.contains($0.page) }
        guard kept.count + changed.count <= EmissionPolicy.mostScatterPages(geometry) else { return nil }
        let size = geometry.pageSize
        return .pages(
            changed.map { page in
                let bytes = plain.extracting(page * size..<(page + 1) * size)
                return PagePiece(page: page, bytes: bytes.withUnsafeBytes { unsafe Array($0) })
            })
    }
}
