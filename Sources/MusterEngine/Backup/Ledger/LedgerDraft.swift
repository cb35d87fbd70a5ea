import MusterFormat
import MusterModel
import Synchronization

/// The ledger as the snapshot under way will leave it: what it had, and over it what changed.
///
/// The capture's thread asks for records, the assembling task changes them; both under one lock. Nothing
/// reaches the state file until the receipt, but for a ledger that is built anew beside the old one.
final class LedgerDraft: Sendable {
    fileprivate struct Content {
        var state: LedgerState
        var extents: [Int: ExtentRecord] = [:]
        /// Records on their way into a ledger that is being built.
        var unwritten: [ExtentRecord] = []
        var packs: Set<UInt32> = []
        var scatters: Set<UInt32> = []
        /// Records in the ledger from this extent on do not count: the database ended before it in one of the rounds.
        var end = Int.max
        /// A record names a pack that the ledger does not have. Told in `settleLives`, before anything is signed.
        var namesUnknownPack = false
    }

    /// Records held back for one transaction.
    private static let writtenAtOnce = 1024

    let sequence: UInt64
    /// True while there is nothing to compare with: records are appended to a new ledger.
    let isBuilding: Bool
    private let before: LedgerState
    private let ledger: any PageLedger
    private let content: Mutex<Content>

    /// - Parameter state: what the ledger has now; nil while it is new and empty.
    init(ledger: any PageLedger, state: LedgerState?, sequence: UInt64) {
        before = state ?? LedgerState(geometry: .none, sequence: sequence, lastFull: sequence)
        (self.ledger, self.sequence, isBuilding) = (ledger, sequence, state == nil)
        var next = before
        next.sequence = sequence
        content = Mutex(Content(state: next))
    }

    var state: LedgerState { content.withLock { $0.state } }

    // MARK: - Reading

    func records(_ numbers: [Int]) throws -> [Int: ExtentRecord] {
        let (known, end) = content.withLock { content in
            var known: [Int: ExtentRecord] = [:]
            for number in numbers { known[number] = content.extents[number] }
            return (known, content.end)
        }
        let missing = numbers.filter { known[$0] == nil && $0 < end }
        guard !missing.isEmpty else { return known }
        return try ledger.extents(missing).reduce(into: known) { $0[$1.extent] = $1 }
    }

    func records(in range: Range<Int>) throws -> [ExtentRecord] {
        let stored = try ledger.extents(in: range).reduce(into: [:]) { $0[$1.extent] = $1 }
        return content.withLock { content in
            range.compactMap { content.extents[$0] ?? ($0 < content.end ? stored[$0] : nil) }
        }
    }

    func records(inPack pack: UInt32) throws -> [ExtentRecord] {
        let stored = try ledger.extents(inPack: pack)
        return content.withLock { content in
            stored.filter { content.extents[$0.extent] == nil && $0.extent < content.end }
                + content.extents.values.filter { $0.pack == pack }.sorted { $0.extent < $1.extent }
        }
    }

    /// - Returns: nil if there are more than `limit`.
    func records(changedAfter sequence: UInt64, limit: Int) throws -> [ExtentRecord]? {
        guard let stored = try ledger.extents(changedAfter: sequence, limit: limit) else { return nil }
        return content.withLock { content in
            var all = stored.filter { $0.extent < content.end }.reduce(into: [:]) { $0[$1.extent] = $1 }
            for (number, record) in content.extents where record.changed > sequence { all[number] = record }
            return all.count > limit ? nil : all.values.sorted { $0.extent < $1.extent }
        }
    }

    /// True if the snapshot would be just the one before.
    var isUnchanged: Bool {
        content.withLock { content in
            !isBuilding && content.extents.isEmpty && content.state.geometry == before.geometry
        }
    }

    // MARK: - Packs

    /// Begins a pack; until it is finished its id reads as that of the pack a map lies in.
    func beginPack() -> UInt32 {
        content.withLock { content in
            let number = content.state.nextPack
            content.state.nextPack += 1
            content.state.packs[number] = LedgerPack(number: number, id: MapGroup.ownPack, byteCount: 0, born: sequence)
            content.packs.insert(number)
            return number
        }
    }

    func finishPack(_ number: UInt32, _ pack: Pack) {
        change(pack: number) { ($0.id, $0.byteCount) = (pack.id, pack.bytes.count) }
    }

    /// The number of a pack that an earlier snapshot sent.
    func knownPack(_ id: PackID) -> UInt32 {
        content.withLock { content in
            if let known = content.state.packs.values.first(where: { $0.id == id && $0.died == nil }) {
                return known.number
            }
            let number = content.state.nextPack
            content.state.nextPack += 1
            content.state.packs[number] = LedgerPack(number: number, id: id, byteCount: 0, born: sequence)
            content.packs.insert(number)
            return number
        }
    }

    func addMapBytes(_ count: Int, in pack: UInt32) { change(pack: pack) { $0.mapBytes += count } }

    /// Map chunks of other manifests than these are of no use any more. A pack's maps are of the snapshot it was
    /// born with.
    func keepMaps(of sequences: Set<UInt64>) {
        content.withLock { content in
            for (number, pack) in content.state.packs where pack.mapBytes > 0 && !sequences.contains(pack.born) {
                content.state.packs[number]?.mapBytes = 0
                content.packs.insert(number)
            }
        }
    }

    private func change(pack: UInt32, _ body: (inout LedgerPack) -> Void) {
        content.withLock { $0.change(pack: pack, body) }
    }

    // MARK: - Extents

    /// The extent's chunk is a new one, or the same at another place.
    func place(_ record: ExtentRecord, over old: ExtentRecord?) throws {
        let full = content.withLock { content -> [ExtentRecord] in
            if let old { content.kill(old, keepingSupplies: record.supplies) }
            content.change(pack: record.pack) { $0.liveBytes += record.byteCount }
            guard isBuilding, old == nil, record.extent < content.end, content.extents[record.extent] == nil else {
                content.extents[record.extent] = record
                return []
            }
            content.unwritten.append(record)
            guard content.unwritten.count >= Self.writtenAtOnce else { return [] }
            defer { content.unwritten = [] }
            return content.unwritten
        }
        if !full.isEmpty { try ledger.append(full) }
    }

    /// Some of the extent's pages come from a scatter or difference chunk from now on.
    func supply(_ record: ExtentRecord, over old: ExtentRecord) {
        content.withLock { content in
            let kept = Set(record.supplies.map { [UInt64($0.scatter), UInt64($0.page)] })
            for supply in old.supplies where !kept.contains([UInt64(supply.scatter), UInt64(supply.page)]) {
                content.kill(supply, of: old.extent)
            }
            content.extents[record.extent] = record
        }
    }

    func add(_ scatter: LedgerScatter) {
        content.withLock { content in
            content.state.scatters[scatter.number] = scatter
            content.scatters.insert(scatter.number)
            content.change(pack: scatter.pack) { $0.liveBytes += scatter.liveBytes }
        }
    }

    func nextScatter() -> UInt32 {
        content.withLock { content in
            defer { content.state.nextScatter += 1 }
            return content.state.nextScatter
        }
    }

    /// The map of this snapshot lists the chunk again, behind what it says of extents that moved.
    func listAgain(_ scatter: UInt32) {
        content.withLock { content in
            content.state.scatters[scatter]?.listed = sequence
            content.scatters.insert(scatter)
        }
    }

    /// Writes what is held back, so that it can be read again.
    func flush() throws {
        let unwritten = content.withLock { content in
            defer { content.unwritten = [] }
            return content.unwritten
        }
        if !unwritten.isEmpty { try ledger.append(unwritten) }
    }

    /// The database has another number of pages now: extents behind its end are gone.
    func resize(to geometry: DatabaseGeometry) throws {
        try flush()
        let before = state.geometry.extentCount
        let gone = geometry.extentCount < before ? try records(in: geometry.extentCount..<before) : []
        content.withLock { content in
            for record in gone {
                content.kill(record, keepingSupplies: [])
                content.extents[record.extent] = nil
            }
            if geometry.extentCount < before { content.end = min(content.end, geometry.extentCount) }
            content.state.geometry = geometry
        }
    }
}

extension LedgerDraft {
    /// Folds the changed extents' hashes into groups and root.
    ///
    /// - Returns: the root, and the hashes of the groups that changed.
    func contentRoot() throws -> (root: ContentRoot, groups: [Int: [ExtentHash]]) {
        try flush()
        let (state, changed, end) = content.withLock { ($0.state, $0.extents, $0.end) }
        let geometry = state.geometry
        let byGroup = Dictionary(grouping: changed.values) { $0.extent / DatabaseGeometry.extentsPerGroup }
        var hashes: [Int: [ExtentHash]] = [:]
        var groups = Array(state.groups.prefix(geometry.groupCount))
        var hasher = TreeHasher()
        for group in 0..<geometry.groupCount {
            let range = geometry.extents(ofGroup: group)
            // A group whose last extents went has no changed record to show for it.
            let isAsBefore = group < before.groups.count && before.geometry.extents(ofGroup: group) == range
            if !isBuilding, isAsBefore, byGroup[group] == nil { continue }
            var list =
                isBuilding ? try ledger.extents(in: range).map(\.hash) : try ledger.extentHashes(ofGroup: group)
            list.removeLast(max(0, list.count - max(0, min(range.upperBound, end) - range.lowerBound)))
            for record in (byGroup[group] ?? []).sorted(by: { $0.extent < $1.extent }) {
                let index = record.extent - range.lowerBound
                guard index <= list.count else { throw LedgerError.recordMissing(group: group) }
                if index == list.count { list.append(record.hash) } else { list[index] = record.hash }
            }
            guard list.count == range.count else { throw LedgerError.recordMissing(group: group) }
            hashes[group] = list
            let hash = hasher.groupHash(of: list)
            if group == groups.count { groups.append(hash) } else { groups[group] = hash }
        }
        let all = groups
        content.withLock { $0.state.groups = all }
        return (hasher.contentRoot(of: groups, in: geometry), hashes)
    }

    /// Closes the books: what nobody needs any more dies with this snapshot.
    ///
    /// - Returns: packs that came and went since the snapshot that the ledger described.
    /// - Throws: `LedgerError` where the ledger contradicts itself.
    func settleLives() throws -> PackChanges {
        try content.withLock { content in
            guard !content.namesUnknownPack else { throw LedgerError.unknownPack }
            for (number, scatter) in content.state.scatters where scatter.liveCount == 0 {
                content.state.scatters[number] = nil
                content.scatters.insert(number)
            }
            let needed = Set(content.state.scatters.values.lazy.map(\.pack))
            // By id: sealing is deterministic, so equal content may lie in packs of two numbers, or come back.
            var (before, after): (Set<PackID>, Set<PackID>) = ([], [])
            for (number, pack) in content.state.packs where pack.died == nil {
                if pack.born < sequence { before.insert(pack.id) }
                guard pack.liveBytes + pack.mapBytes > 0 else {
                    guard !needed.contains(number) else { throw LedgerError.damaged("a needed pack has no bytes") }
                    content.packs.insert(number)
                    if pack.born == sequence {
                        content.state.packs[number] = nil
                    } else {
                        content.state.packs[number]?.died = sequence
                    }
                    continue
                }
                after.insert(pack.id)
            }
            return PackChanges(added: after.subtracting(before), dropped: before.subtracting(after))
        }
    }

    /// What there is to write, once the manifest is known.
    func change(
        base: ChainBase, isFull: Bool, groups: [Int: [ExtentHash]], cursor: [UInt8]?
    ) -> LedgerChange {
        content.withLock { content in
            if isFull { (content.state.lastFull, content.state.fullMapBytes) = (sequence, base.mapBytes) }
            content.state.bases = Self.kept(content.state.bases, and: base, lastFull: content.state.lastFull)
            for (number, pack) in content.state.packs {
                if let died = pack.died, died <= content.state.lastFull {
                    content.state.packs[number] = nil
                    content.packs.insert(number)
                }
            }
            let (state, packs, scatters) = (content.state, content.packs, content.scatters)
            return LedgerChange(
                state: state, packs: packs.filter { state.packs[$0] != nil },
                removedPacks: packs.filter { state.packs[$0] == nil },
                scatters: scatters.filter { state.scatters[$0] != nil },
                removedScatters: scatters.filter { state.scatters[$0] == nil },
                extents: content.extents.values.sorted { $0.extent < $1.extent }, groups: groups, cursor: cursor)
        }
    }

    /// The bases that snapshots from here on may name (see ManifestChain).
    private static func kept(_ bases: [ChainBase], and newest: ChainBase, lastFull: UInt64) -> [ChainBase] {
        guard newest.sequence > lastFull else { return [newest] }
        var wanted: Set<UInt64> = [lastFull]
        var sequence = newest.sequence
        while sequence > lastFull {
            wanted.insert(sequence)
            sequence = ManifestChain.baseSequence(of: sequence, lastFull: lastFull)
        }
        return bases.filter { wanted.contains($0.sequence) } + [newest]
    }
}

extension LedgerDraft.Content {
    fileprivate mutating func change(pack: UInt32, _ body: (inout LedgerPack) -> Void) {
        guard var known = state.packs[pack] else {
            namesUnknownPack = true
            return
        }
        body(&known)
        state.packs[pack] = known
        packs.insert(pack)
    }

    /// The record's chunk does not count any more, nor what supplied its pages.
    fileprivate mutating func kill(_ record: ExtentRecord, keepingSupplies kept: [ExtentRecord.Supply]) {
        change(pack: record.pack) { $0.liveBytes -= record.byteCount }
        for supply in record.supplies where !kept.contains(supply) { kill(supply, of: record.extent) }
    }

    fileprivate mutating func kill(_ supply: ExtentRecord.Supply, of extent: Int) {
        guard var scatter = state.scatters[supply.scatter] else { return }
        let page = UInt32(extent * state.geometry.pagesPerExtent + supply.page + 1)
        guard let position = scatter.position(of: page), !scatter.dead.contains(position) else { return }
        let before = scatter.liveBytes
        scatter.dead.append(position)
        scatter.dead.sort()
        change(pack: scatter.pack) { $0.liveBytes += scatter.liveBytes - before }
        state.scatters[supply.scatter] = scatter
        scatters.insert(supply.scatter)
    }
}

extension LedgerScatter {
    /// Where the page is in the chunk.
    func position(of page: UInt32) -> Int? {
        var (low, high) = (0, pages.count)
        while low < high {
            let middle = (low + high) / 2
            if pages[middle] < page { low = middle + 1 } else { high = middle }
        }
        return low < pages.count && pages[low] == page ? low : nil
    }
}

extension DatabaseGeometry {
    /// Of a database of which nothing is known yet.
    fileprivate static let none: DatabaseGeometry = {
        guard let none = DatabaseGeometry(pageSize: 4096, pagesPerExtent: 1, pageCount: 0) else {
            preconditionFailure("an empty database has a shape")
        }
        return none
    }()
}

extension LedgerDraft {
    /// As the lineage began; for a new ledger as the format has it now.
    func pagesPerExtent(_ pageSize: Int) -> Int {
        let geometry = state.geometry
        return geometry.pageSize == pageSize && geometry.pageCount > 0
            ? geometry.pagesPerExtent : Format.pagesPerExtent(pageSize: pageSize)
    }
}
