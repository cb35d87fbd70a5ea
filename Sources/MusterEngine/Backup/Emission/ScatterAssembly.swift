import MusterFormat
import MusterModel

/// Collects pages and differences that are sent by themselves into chunks.
///
/// A chunk lists its pages in ascending order, so one that would have to go back is closed first.
struct ScatterAssembly {
    private struct Open {
        var number: UInt32
        var pages: [UInt32] = []
        var pieces: [[UInt8]] = []
        var byteCount = 0
    }

    private let draft: LedgerDraft
    private let sealer: ChunkSealer
    private var open: [ScatterEntry.Kind: Open] = [:]

    init(draft: LedgerDraft, sealer: ChunkSealer) { (self.draft, self.sealer) = (draft, sealer) }

    /// Adds one page.
    ///
    /// - Parameter bytes: the page, or its difference.
    /// - Returns: the number of its chunk in the ledger, and packs that were finished.
    mutating func append(
        _ page: UInt32, _ bytes: [UInt8], as kind: ScatterEntry.Kind, _ packs: inout PackAssembly
    ) throws -> (scatter: UInt32, finished: [Pack]) {
        let added = kind == .difference ? DifferenceChunk.byteCount(ofFrame: bytes.count) : bytes.count
        var finished: [Pack] = []
        if let current = open[kind], let last = current.pages.last {
            let isFull =
                current.byteCount + added > Format.defaultExtentBytes
                || current.pages.count >= ScatterEntry.maximumPages
            if isFull || last >= page { finished = try close(kind, &packs) }
        }
        var current = open[kind] ?? Open(number: draft.nextScatter())
        current.pages.append(page)
        current.pieces.append(bytes)
        current.byteCount += added
        open[kind] = current
        return (current.number, finished)
    }

    /// Seals what is open.
    mutating func finish(_ packs: inout PackAssembly) throws -> [Pack] {
        try close(.difference, &packs) + close(.scatter, &packs)
    }

    private mutating func close(_ kind: ScatterEntry.Kind, _ packs: inout PackAssembly) throws -> [Pack] {
        guard let current = open.removeValue(forKey: kind) else { return [] }
        let plain =
            kind == .difference ? DifferenceChunk.encode(frames: current.pieces) : Array(current.pieces.joined())
        let chunk = try sealer.seal(plain, as: kind.sealedKind)
        let (entry, pack, finished) = packs.append(chunk)
        draft.add(
            LedgerScatter(
                number: current.number, listed: draft.sequence, kind: kind, pack: pack, offset: entry.offset,
                byteCount: entry.byteCount, plainByteCount: plain.count, chunk: chunk.id, pages: current.pages))
        return finished.map { [$0] } ?? []
    }
}
