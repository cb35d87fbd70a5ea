import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Puts the snapshots back: receipts first, which say the order, then the manifests that they name.
struct HistoryRebuild {
    /// Objects read at the same time, and snapshots of one transaction.
    static let atOnce = 64
    private static let batch = 512

    let stores: [RebuildStore]
    let listing: RebuildListing
    let catalog: Catalog
    let receiptKey: VerifyingKey
    let nodes: [NodeID: VerifyingKey]
    let progress: @Sendable (Rebuild.Progress) -> Void

    /// - Returns: how many snapshots there are.
    func run(_ findings: inout RebuildFindings) async throws -> Int {
        let total = try await listing.counts().receipts
        try await readReceipts(total, &findings)
        for place in try await listing.arrange() {
            findings.add(
                ObjectName.receiptText(place), in: "", "a newer coordinator acknowledged another snapshot in its place")
        }
        return try await readManifests(total, &findings)
    }

    // MARK: - Receipts

    private func readReceipts(_ total: Int, _ findings: inout RebuildFindings) async throws {
        var last: RebuildListing.Place?
        var done = 0
        while true {
            let page = try await listing.receipted(after: last, limit: Self.batch)
            guard let end = page.last else { return }
            last = end
            let read = try await concurrently(page) { try await receipt(of: $0) }
            for result in read { findings.add(result.findings) }
            let refused = try await listing.add(acknowledged: read.compactMap(\.value))
            for place in refused {
                findings.add(ObjectName.receiptText(place), in: "", "the snapshot has another receipt elsewhere")
            }
            done += page.count
            progress(.receipts(done: done, of: total))
        }
    }

    /// A result of one of several tasks, and what went wrong on the way to it.
    private struct Read<Value: Sendable>: Sendable {
        var value: Value?
        var findings = RebuildFindings()
    }

    private func receipt(of place: RebuildListing.Place) async throws -> Read<RebuildListing.Acknowledged> {
        var read = Read<RebuildListing.Acknowledged>()
        for copy in try await listing.copies(.receipt, of: place) {
            guard let store = store(copy.store), let generation = Generation(copy.generation) else { continue }
            let name = ObjectName.receipt(place.inStore, generation)
            guard
                let bytes = try await store.store.readForRebuild(
                    name, maximumBytes: Format.maximumRecordBytes, &read.findings)
            else {
                try await listing.remove(.receipt, of: place, copy)
                continue
            }
            do {
                let receipt = try Receipt.parse(bytes).verified(by: receiptKey)
                guard receipt.snapshot == place.snapshot, receipt.database == place.database,
                    receipt.lineage == place.lineage, receipt.sequence == place.sequence
                else { throw FormatError("receipt", .malformed("it is another snapshot's")) }
                read.value = RebuildListing.Acknowledged(
                    place: place, receivedAt: receipt.receivedAt, epoch: receipt.coordinatorEpoch,
                    manifest: receipt.manifest, receipt: bytes)
                return read
            } catch {
                read.findings.add(name.description, in: store.name, reasonText(error))
                try await listing.remove(.receipt, of: place, copy)
            }
        }
        return read
    }

    // MARK: - Manifests

    private func readManifests(_ total: Int, _ findings: inout RebuildFindings) async throws -> Int {
        var history = LineageHistory(manifests: self)
        var (turn, done, restored) = (Int64(0), 0, 0)
        while true {
            let page = try await listing.acknowledged(after: turn, limit: Self.batch)
            guard let end = page.last else { return restored }
            turn = end.turn
            let read = try await concurrently(page) { try await snapshot($0.entry) }
            var batch: [Catalog.Restored] = []
            for result in read {
                findings.add(result.findings)
                guard let found = result.value else { continue }
                if let next = try await history.append(found, &findings) { batch.append(next) }
            }
            try await catalog.restore(batch)
            restored += batch.count
            done += page.count
            progress(.snapshots(done: done, of: total))
        }
    }

    /// A verified manifest, and the stores that hold it.
    struct Found: Sendable {
        let entry: RebuildListing.Acknowledged
        let manifest: Manifest
        var places: [(store: Int64, generation: String, receiptGeneration: String)]
        /// Of these, where its receipt is not.
        var withoutReceipt: [Int64]
        /// Stores where a copy is bad: they are to get a good one.
        var wantedIn: [Int64]
        var packs: [PackID: PackCopies] = [:]
    }

    private func snapshot(_ entry: RebuildListing.Acknowledged) async throws -> Read<Found> {
        var read = Read<Found>()
        let receipts = try await listing.copies(.receipt, of: entry.place)
        let copies = try await listing.copies(.manifest, of: entry.place)
        var manifest: Manifest?
        var good: [Int64: String] = [:]
        var bad: Set<Int64> = []
        for copy in copies {
            guard let store = store(copy.store), let generation = Generation(copy.generation) else { continue }
            // One good copy tells what it says, and how long it is. Of two in one store, each has to be looked at.
            let isAlone = copies.filter { $0.store == copy.store }.count == 1
            if let manifest, good[copy.store] != nil || (isAlone && copy.byteCount == manifest.bytes.count) {
                good[copy.store] = good[copy.store] ?? copy.generation
                continue
            }
            let name = ObjectName.manifest(entry.place.inStore, generation)
            if let found = try await self.manifest(name, entry.manifest, store, &read.findings) {
                manifest = found
                good[copy.store] = copy.generation
            } else {
                bad.insert(copy.store)
            }
        }
        guard let manifest else {
            if copies.isEmpty {
                read.findings.add(ObjectName.receiptText(entry.place), in: "", "its manifest is in no store")
            }
            return read
        }
        var places: [(store: Int64, generation: String, receiptGeneration: String)] = []
        var withoutReceipt: [Int64] = []
        for (store, generation) in good.sorted(by: { $0.key < $1.key }) {
            let receipt = receipts.first { $0.store == store && $0.byteCount == entry.receipt.count }
            // One that is missing gets a name of its own when it is written.
            places.append((store, generation, receipt?.generation ?? generation))
            if receipt == nil { withoutReceipt.append(store) }
        }
        var found = Found(
            entry: entry, manifest: manifest, places: places, withoutReceipt: withoutReceipt,
            wantedIn: bad.subtracting(good.keys).sorted())
        for pack in manifest.publicPart.packsSinceParent.added {
            found.packs[pack] = try await packCopies(pack, &read.findings)
        }
        read.value = found
        return read
    }

    /// - Returns: nil unless the object is exactly what a receipt or another manifest names, and its node signed it.
    private func manifest(
        _ name: ObjectName, _ hash: ManifestHash, _ store: RebuildStore, _ findings: inout RebuildFindings
    ) async throws -> Manifest? {
        guard
            let bytes = try await store.store.readForRebuild(
                name, maximumBytes: Format.maximumManifestBytes, &findings)
        else { return nil }
        do {
            let parsed = try Manifest.parse(bytes)
            guard parsed.claimed.hash == hash else {
                throw FormatError(
                    "manifest",
                    .wrongHash(expected: hash.description, actual: parsed.claimed.hash.description))
            }
            guard let key = nodes[parsed.claimed.publicPart.node] else {
                throw FormatError("manifest", .malformed("its node's key record is in no store"))
            }
            return try parsed.verified(by: key)
        } catch {
            findings.add(name.description, in: store.name, reasonText(error))
            return nil
        }
    }

    /// The manifest that another one refers to, with or without a receipt: bases outlive their snapshots.
    func manifest(_ reference: ManifestReference) async throws -> Manifest? {
        var ignored = RebuildFindings()
        for (place, copy) in try await listing.manifests(of: reference.snapshot) {
            guard let store = store(copy.store), let generation = Generation(copy.generation) else { continue }
            let name = ObjectName.manifest(place.inStore, generation)
            if let found = try await manifest(name, reference.manifest, store, &ignored) { return found }
        }
        return nil
    }

    func packCopies(_ pack: PackID, _ findings: inout RebuildFindings) async throws -> PackCopies {
        try await PackCopies.sort(try await listing.copies(of: pack), of: pack, in: stores, &findings)
    }

    // MARK: - Tools

    private func store(_ number: Int64) -> RebuildStore? { stores.first { $0.number == number } }

    /// Runs `body` for all of them, few at the same time; the answers are in the order of the questions.
    private func concurrently<Question: Sendable, Answer: Sendable>(
        _ questions: [Question], _ body: @escaping @Sendable (Question) async throws -> Answer
    ) async throws -> [Answer] {
        try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
            var answers = [Answer?](repeating: nil, count: questions.count)
            for (index, question) in questions.enumerated() {
                if index >= Self.atOnce, let (done, answer) = try await group.next() { answers[done] = answer }
                group.addTask { (index, try await body(question)) }
            }
            while let (done, answer) = try await group.next() { answers[done] = answer }
            return answers.compactMap { $0 }
        }
    }
}

extension ObjectName {
    /// For people: the receipts of a place, whatever their generation.
    static func receiptText(_ place: RebuildListing.Place) -> String {
        "receipts/\(place.database)/\(place.lineage)/\(place.sequence)-\(place.snapshot)"
    }
}
