import MusterFormat
import MusterModel

/// The third stage: fills packs up to the target size.
struct PackAssembly {
    private let targetBytes: Int
    private let draft: LedgerDraft
    private var builder = PackBuilder()
    /// The ledger's number of the pack that is filled now; nil while it is empty.
    private var number: UInt32?
    private(set) var addedBytes: UInt64 = 0

    init(targetBytes: Int, draft: LedgerDraft) { (self.targetBytes, self.draft) = (targetBytes, draft) }

    /// Bytes of the pack that is filled now.
    var byteCount: Int { builder.byteCount }

    /// Adds a chunk.
    ///
    /// - Returns: where it went, and the pack that had to be finished to make room.
    mutating func append(_ chunk: SealedChunk) -> (entry: PackEntry, pack: UInt32, finished: Pack?) {
        let finished = makeRoom(for: chunk.bytes.count)
        let number = self.number ?? draft.beginPack()
        self.number = number
        return (builder.append(chunk), number, finished)
    }

    /// Finishes the pack if it would pass the target: what is added next stands in one with what follows.
    mutating func makeRoom(for bytes: Int) -> Pack? { builder.byteCount + bytes > targetBytes ? finish() : nil }

    /// Finishes the pack that is filled now; nil where it is empty.
    mutating func finish() -> Pack? {
        guard let number else { return nil }
        let pack = builder.finish()
        builder = PackBuilder()
        self.number = nil
        draft.finishPack(number, pack)
        addedBytes += UInt64(pack.bytes.count)
        return pack
    }
}
