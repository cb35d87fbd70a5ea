import MusterFormat
import MusterModel

/// What a scatter or difference chunk says of one page.
struct PagePayload: Sendable {
    let kind: ScatterEntry.Kind
    /// The page, or a frame that gives it from the one in the extent chunk.
    let bytes: [UInt8]
    let pack: PackID
}

/// Fetches scatter and difference chunks. Many groups may need pages of one chunk, so chunks are kept, up to a bound.
final class PageChunks: Sendable {
    private static let cacheBytes = 32 << 20

    /// One page that is needed, and who supplies it.
    struct Need: Sendable {
        let page: UInt32
        let position: Int
    }

    private struct Opened: Sendable {
        let plain: [UInt8]
        /// Of a difference chunk; empty for a scatter chunk.
        let frames: [Range<Int>]
    }

    private let reader: PackReader
    private let pageSize: Int
    private let cache = BoundedCache<ChunkID, Opened>(limitBytes: PageChunks.cacheBytes)
    private let gate = Gate()

    init(reader: PackReader, pageSize: Int) { (self.reader, self.pageSize) = (reader, pageSize) }

    /// What the chunks say of the pages that are needed of each: no more than that is held.
    func payloads(_ needs: [GroupState.PageChunk: [Need]]) async throws -> [UInt32: PagePayload] {
        var payloads: [UInt32: PagePayload] = [:]
        guard !needs.isEmpty else { return payloads }
        let missing = take(needs.keys, of: needs, into: &payloads)
        guard !missing.isEmpty else { return payloads }
        let fetched = try await gate.pass { [self] in
            var payloads: [UInt32: PagePayload] = [:]
            // Another group may have fetched them while this one waited.
            let missing = take(missing, of: needs, into: &payloads)
            for span in ReadSpan.cut(missing, place: \.place) {
                let found = try await reader.open(span.pack, span.range) { bytes in
                    try await self.reader.pool.run { try self.open(span, bytes, needs) }
                }
                payloads.merge(found) { _, new in new }
            }
            return payloads
        }
        return payloads.merging(fetched) { _, new in new }
    }

    /// Takes what is in the cache.
    ///
    /// - Returns: the chunks that are not.
    private func take(
        _ chunks: some Sequence<GroupState.PageChunk>, of needs: [GroupState.PageChunk: [Need]],
        into payloads: inout [UInt32: PagePayload]
    ) -> [GroupState.PageChunk] {
        var missing: [GroupState.PageChunk] = []
        for chunk in chunks {
            if let opened = cache[chunk.place.chunk], fits(chunk, opened) {
                copy(needs[chunk] ?? [], of: chunk, opened, into: &payloads)
            } else {
                missing.append(chunk)
            }
        }
        return missing
    }

    /// Two maps may disagree about one chunk; then it is opened again, and refused.
    private func fits(_ chunk: GroupState.PageChunk, _ opened: Opened) -> Bool {
        opened.plain.count == chunk.plainByteCount
            && opened.frames.count == (chunk.kind == .difference ? chunk.pageCount : 0)
    }

    private func open(
        _ span: ReadSpan<GroupState.PageChunk>, _ bytes: [UInt8], _ needs: [GroupState.PageChunk: [Need]]
    ) throws -> [UInt32: PagePayload] {
        var payloads: [UInt32: PagePayload] = [:]
        for chunk in span.items {
            let place = chunk.place
            let opened = try reader.inPack(place.pack) {
                let plain = try reader.lanes.with(keyEpoch: place.keyEpoch) { lane in
                    try lane.opener.open(
                        bytes.span.bytes.extracting(span.indices(of: place)), as: chunk.kind.sealedKind,
                        expecting: place.chunk, plainByteCount: chunk.plainByteCount)
                }
                let frames =
                    chunk.kind == .difference ? try DifferenceChunk.frames(in: plain, count: chunk.pageCount) : []
                return Opened(plain: plain, frames: frames)
            }
            copy(needs[chunk] ?? [], of: chunk, opened, into: &payloads)
            cache.insert(
                opened, for: place.chunk,
                byteCount: opened.plain.count + opened.frames.count * MemoryLayout<Range<Int>>.stride)
        }
        return payloads
    }

    /// The map's checks put every position inside the chunk.
    private func copy(
        _ needs: [Need], of chunk: GroupState.PageChunk, _ opened: Opened, into payloads: inout [UInt32: PagePayload]
    ) {
        for need in needs {
            let range =
                switch chunk.kind {
                case .scatter: need.position * pageSize..<(need.position + 1) * pageSize
                case .difference: opened.frames[need.position]
                }
            payloads[need.page] = PagePayload(
                kind: chunk.kind, bytes: Array(opened.plain[range]), pack: chunk.place.pack)
        }
    }
}
