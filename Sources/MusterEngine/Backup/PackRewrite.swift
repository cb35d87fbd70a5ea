import MusterFormat
import MusterModel

/// Copies what still counts out of packs that became many, small or mostly dead.
///
/// Nothing is read from the source for it: sealed extent chunks are copied as
/// they are, and of scatter and difference chunks the pages that count. A
/// difference stays right, as its base is the extent's chunk wherever that lies.
struct PackRewrite {
    /// Packs of a size class that are put together at once.
    private static let packsPerClass = 8
    /// Upper ends of the size classes, in bytes.
    private static let classes = [16 << 10, 128 << 10, 1 << 20, 8 << 20]
    /// What one snapshot copies at most, so that it stays quick.
    private static let mostBytes = 32 << 20

    let draft: LedgerDraft
    let opener: ChunkOpener
    /// Bytes of a pack: from the cache, or from wherever else they are near.
    let read: (PackID, Range<Int>) async throws -> [UInt8]?
    let push: (Pack) async throws -> Void

    /// Packs worth a copy, given what this snapshot changed already.
    static func candidates(_ state: LedgerState, before sequence: UInt64) -> [UInt32] {
        let packs = state.packs.values.filter {
            $0.died == nil && $0.born < sequence && $0.mapBytes == 0 && $0.byteCount > 0 && $0.liveBytes > 0
        }
        var chosen: [LedgerPack] = []
        for (index, upper) in classes.enumerated() {
            let lower = index == 0 ? 0 : classes[index - 1]
            let members = packs.filter { (lower..<upper).contains($0.byteCount) }
            if members.count >= packsPerClass { chosen += members }
        }
        let known = Set(chosen.map(\.number))
        chosen += packs.filter {
            !known.contains($0.number) && $0.liveBytes < $0.byteCount / 2 && $0.byteCount >= classes[1]
        }
        var rest = mostBytes
        return chosen.sorted { ($0.byteCount, $0.number) < ($1.byteCount, $1.number) }.prefix { pack in
            rest -= pack.liveBytes
            return rest >= 0
        }.map(\.number)
    }

    /// Copies the pack's live chunks, as far as its bytes are to be had.
    func copy(_ number: UInt32, _ scatter: inout ScatterAssembly, _ packs: inout PackAssembly) async throws {
        guard let pack = draft.state.packs[number] else { return }
        for old in try draft.records(inPack: number) {
            guard let sealed = try await chunk(pack.id, old.offset, old.byteCount, old.chunk) else { continue }
            let (entry, pack, finished) = packs.append(sealed)
            if let finished { try await push(finished) }
            var record = old
            (record.pack, record.offset, record.byteCount) = (pack, entry.offset, entry.byteCount)
            (record.changed, record.placed) = (draft.sequence, draft.sequence)
            // A reader drops what earlier maps supplied to an extent that is placed: it is listed again.
            for supply in record.supplies { draft.listAgain(supply.scatter) }
            try draft.place(record, over: old)
        }
        for old in draft.state.scatters.values.filter({ $0.pack == number && $0.liveCount > 0 })
            .sorted(by: { $0.number < $1.number })
        {
            guard let sealed = try await chunk(pack.id, old.offset, old.byteCount, old.chunk) else { continue }
            try await copy(old, sealed, &scatter, &packs)
        }
    }

    private func copy(
        _ old: LedgerScatter, _ sealed: SealedChunk, _ scatter: inout ScatterAssembly, _ packs: inout PackAssembly
    ) async throws {
        let plain = try opener.open(
            sealed.bytes.span.bytes, as: old.kind.sealedKind, expecting: old.chunk, plainByteCount: old.plainByteCount)
        let pieces = try pieces(plain, old)
        let dead = Set(old.dead)
        let perExtent = draft.state.geometry.pagesPerExtent
        for (position, page) in old.pages.enumerated() where !dead.contains(position) {
            let (number, finished) = try scatter.append(page, Array(plain[pieces[position]]), as: old.kind, &packs)
            for pack in finished { try await push(pack) }
            let (extent, index) = ((Int(page) - 1) / perExtent, (Int(page) - 1) % perExtent)
            guard let before = try draft.records([extent])[extent],
                let supply = before.supplies.firstIndex(where: { $0.page == index && $0.scatter == old.number })
            else { throw LedgerError.damaged("page \(page) is not supplied by the chunk that lists it") }
            var record = before
            record.supplies[supply].scatter = number
            draft.supply(record, over: before)
        }
    }

    private func pieces(_ plain: [UInt8], _ scatter: LedgerScatter) throws -> [Range<Int>] {
        switch scatter.kind {
        case .difference: return try DifferenceChunk.frames(in: plain, count: scatter.pages.count)
        case .scatter:
            let size = draft.state.geometry.pageSize
            return scatter.pages.indices.map { $0 * size..<($0 + 1) * size }
        }
    }

    /// - Returns: nil where the bytes are not to be had, or are not the chunk any more.
    private func chunk(_ pack: PackID, _ offset: Int, _ count: Int, _ id: ChunkID) async throws -> SealedChunk? {
        guard let bytes = try await read(pack, offset..<offset + count) else { return nil }
        do {
            return try SealedChunk(copying: bytes, id: id)
        } catch {
            return nil
        }
    }
}
