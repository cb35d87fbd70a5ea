import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The copies of a pack that a rebuild found, one for each store that has any.
///
/// Which bytes are right the pack's name says, and how many they are nobody but the copies themselves. Where those agree
/// it is taken for granted, and a scrub finds out. Where they do not, the one that hashes to the name decides: a store
/// whose copies are cut off, or that tells of other lengths than it has, must not make the good ones look bad.
struct PackCopies: Sendable {
    private static let pieceBytes: UInt64 = 1 << 20

    private(set) var sound: [RebuildListing.Copy] = []
    /// In stores that have no sound one.
    private(set) var damaged: [RebuildListing.Copy] = []
    /// Of the sound ones; without any, what one that is not says.
    private(set) var byteCount: Int64 = 0
    /// Copies had to be read to tell them apart: worth remembering.
    private(set) var wasRead = false

    static func sort(
        _ listed: [RebuildListing.Copy], of pack: PackID, in stores: [RebuildStore], _ findings: inout RebuildFindings
    ) async throws -> PackCopies {
        var copies = PackCopies()
        guard let first = listed.first else { return copies }
        copies.byteCount = first.byteCount
        var looked: [RebuildListing.Copy: Bool] = [:]
        func isSound(_ copy: RebuildListing.Copy) async throws -> Bool {
            if let known = looked[copy] { return known }
            let found = try await hashes(copy, to: pack, in: stores, &findings)
            looked[copy] = found
            return found
        }
        let isAgreed = listed.allSatisfy { $0.byteCount == first.byteCount }
        var proven: Int64?
        if !isAgreed {
            for copy in listed where proven == nil { if try await isSound(copy) { proven = copy.byteCount } }
        }
        copies.byteCount = proven ?? first.byteCount
        for (_, here) in Dictionary(grouping: listed, by: \.store).sorted(by: { $0.key < $1.key }) {
            var good: RebuildListing.Copy?
            for copy in here where good == nil {
                guard isAgreed || copy.byteCount == proven else {
                    // It may have been read and found wanting already.
                    if proven != nil, looked[copy] == nil { copies.tell(of: copy, pack, in: stores, &findings) }
                    continue
                }
                // Alone in its store it is what there is; of several each has to be looked at.
                if here.count == 1 { good = copy } else if try await isSound(copy) { good = copy }
            }
            if let good { copies.sound.append(good) } else if let bad = here.first { copies.damaged.append(bad) }
        }
        copies.wasRead = !looked.isEmpty
        return copies
    }

    private func tell(
        of copy: RebuildListing.Copy, _ pack: PackID, in stores: [RebuildStore], _ findings: inout RebuildFindings
    ) {
        guard let store = stores.first(where: { $0.number == copy.store }), let generation = Generation(copy.generation)
        else { return }
        findings.add(
            ObjectName.pack(pack, generation).description, in: store.name,
            "it has \(copy.byteCount) bytes where the pack has \(byteCount)")
    }

    /// Whether the bytes that the listing tells of are the pack.
    private static func hashes(
        _ copy: RebuildListing.Copy, to pack: PackID, in stores: [RebuildStore], _ findings: inout RebuildFindings
    ) async throws -> Bool {
        guard let store = stores.first(where: { $0.number == copy.store }), let generation = Generation(copy.generation)
        else { return false }
        let name = ObjectName.pack(pack, generation)
        var reason = "it is not the pack that its name says"
        do {
            if try await hash(of: name, UInt64(clamping: copy.byteCount), in: store.store) == pack { return true }
        } catch {
            guard !error.meansAbsence else { throw error }
            reason = error.summary
        }
        findings.add(name.description, in: store.name, reason)
        return false
    }

    /// - Returns: nil for what is longer than any pack.
    private static func hash(
        of name: ObjectName, _ size: UInt64, in store: any Store
    ) async throws(StoreError) -> PackID? {
        guard size <= UInt64(Format.maximumPackBytes) else { return nil }
        var hasher = SHA256Hasher()
        var position: UInt64 = 0
        while position < size {
            let end = min(size, position + pieceBytes)
            hasher.update(try await store.read(name, range: position..<end))
            position = end
        }
        return hasher.finish()
    }
}
