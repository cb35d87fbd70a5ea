import MusterFormat
import MusterModel

/// Rebuilds one group (256 extents): its map, then its extents in few ranged reads, each checked before it is written.
struct GroupAssembler: Sendable {
    /// Pages of scatter and difference chunks held at a time, as bytes.
    private static let mostPayloadBytes = 4 << 20

    let geometry: DatabaseGeometry
    let maps: MapReader
    let pageChunks: PageChunks
    let reader: PackReader
    let file: RestoredFile?

    private struct Extent: Sendable {
        let extent: Int
        let row: GroupState.Row
        let supplied: [(page: UInt32, supply: GroupState.Supply)]
    }

    /// - Returns: the group's hash over what was really written.
    func run(_ group: Int) async throws -> GroupHash {
        let state = try await maps.state(ofGroup: group)
        let numbers = geometry.extents(ofGroup: group)
        let extents = try numbers.map { try extent($0, state) }
        for span in ReadSpan.cut(extents, place: \.row.place) {
            try await reader.open(span.pack, span.range) { bytes in
                for batch in Self.batches(span.items, pageSize: geometry.pageSize) {
                    let payloads = try await pageChunks.payloads(Self.needs(batch, state))
                    try await reader.pool.run {
                        for extent in batch { try write(extent, from: bytes, of: span, payloads) }
                    }
                }
            }
        }
        var hasher = TreeHasher()
        return hasher.groupHash(of: extents.map(\.row.hash))
    }

    private func extent(_ number: Int, _ state: GroupState) throws -> Extent {
        guard let row = state.rows[number] else {
            throw reader.damagedManifest("its map has no chunk for extent \(number)")
        }
        let pageCount = geometry.pageCount(ofExtent: number)
        let supplied = state.supplied(number, pageCount: pageCount)
        let first = UInt64(number) * UInt64(geometry.pagesPerExtent) + 1
        let others = supplied.count { UInt64($0.page) >= first + UInt64(row.suppliedPageCount) }
        guard row.suppliedPageCount + others == pageCount else {
            throw reader.damagedManifest("its map has no chunk for a page of extent \(number)")
        }
        return Extent(extent: number, row: row, supplied: supplied)
    }

    private static func batches(_ extents: [Extent], pageSize: Int) -> [ArraySlice<Extent>] {
        var (batches, start, bytes) = ([ArraySlice<Extent>](), 0, 0)
        for (index, extent) in extents.enumerated() {
            let more = extent.supplied.count * pageSize
            if index > start, bytes + more > mostPayloadBytes {
                batches.append(extents[start..<index])
                (start, bytes) = (index, 0)
            }
            bytes += more
        }
        return batches + [extents[start...]]
    }

    private static func needs(
        _ extents: ArraySlice<Extent>, _ state: GroupState
    ) -> [GroupState.PageChunk: [PageChunks.Need]] {
        var needs: [GroupState.PageChunk: [PageChunks.Need]] = [:]
        for extent in extents {
            for (page, supply) in extent.supplied {
                needs[state.chunks[supply.chunk], default: []].append(
                    PageChunks.Need(page: page, position: supply.position))
            }
        }
        return needs
    }

    private func write(
        _ extent: Extent, from bytes: [UInt8], of span: ReadSpan<Extent>, _ payloads: [UInt32: PagePayload]
    ) throws {
        let place = extent.row.place
        let sealed = bytes.span.bytes.extracting(span.indices(of: place))
        try reader.inPack(place.pack) {
            try reader.lanes.with(keyEpoch: place.keyEpoch) { lane in
                let base = try lane.opener.open(
                    sealed, as: .extent, expecting: place.chunk,
                    plainByteCount: extent.row.chunkPageCount * geometry.pageSize)
                let plain = try apply(payloads, to: base, extent, lane.differencer)
                guard lane.hasher.extentHash(of: plain.span.bytes, pageSize: geometry.pageSize) == extent.row.hash
                else {
                    throw reader.damaged(place.pack, "extent \(extent.extent) does not hash to what the map says")
                }
                try file?.write(plain, at: geometry.byteOffset(ofExtent: extent.extent))
            }
        }
    }

    /// The extent as it is now, from its chunk and what other chunks say of its pages.
    private func apply(
        _ payloads: [UInt32: PagePayload], to base: [UInt8], _ extent: Extent, _ differencer: PageDifferencer
    ) throws -> [UInt8] {
        let (pageSize, byteCount) = (geometry.pageSize, geometry.byteCount(ofExtent: extent.extent))
        if extent.supplied.isEmpty, base.count == byteCount { return base }
        var plain = Array(base.prefix(byteCount))
        if plain.count < byteCount { plain += [UInt8](repeating: 0, count: byteCount - plain.count) }
        let first = extent.extent * geometry.pagesPerExtent + 1
        for (page, _) in extent.supplied {
            let start = (Int(page) - first) * pageSize
            guard let payload = payloads[page] else { preconditionFailure("a page was asked for and did not come") }
            let bytes: [UInt8] =
                switch payload.kind {
                case .scatter: payload.bytes
                case .difference:
                    try reader.inPack(payload.pack) {
                        try pageAfter(payload.bytes, of: base, at: start..<start + pageSize, differencer)
                    }
                }
            plain.replaceSubrange(start..<start + pageSize, with: bytes)
        }
        return plain
    }

    private func pageAfter(
        _ frame: [UInt8], of base: [UInt8], at place: Range<Int>, _ differencer: PageDifferencer
    ) throws -> [UInt8] {
        var page = [UInt8](repeating: 0, count: place.count)
        var span = page.mutableSpan
        var target = span.mutableBytes
        // Where the chunk has no such page the difference is from nothing.
        if place.upperBound <= base.count {
            try differencer.apply(frame.span.bytes, to: base.span.bytes.extracting(place), into: &target)
        } else {
            try differencer.apply(frame.span.bytes, to: nil, into: &target)
        }
        return page
    }
}
