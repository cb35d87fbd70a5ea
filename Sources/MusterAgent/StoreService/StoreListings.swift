import MusterModel
import MusterStore

/// The listings that the coordinator has under way: few, and none for ever.
///
/// One that was dropped is begun again by whoever still wants it.
actor StoreListings {
    private struct Listing {
        let prefix: ObjectPrefix
        let cursor: any ObjectCursor
        /// The last page that was read, in case its answer was lost.
        var number = -1
        var page: [StoredObject] = []
        var usedAt: Duration
    }

    private static let maximumCount = 16
    private static let lifetime = Duration.seconds(600)

    private let store: any Store
    private let monotonic: @Sendable () -> Duration
    private var listings: [String: Listing] = [:]

    init(store: any Store, monotonic: @escaping @Sendable () -> Duration) {
        (self.store, self.monotonic) = (store, monotonic)
    }

    /// - Returns: nil where that page cannot be had any more: the listing was dropped, or is at another place.
    func page(_ number: Int, of id: String, prefix: ObjectPrefix) async throws -> [StoredObject]? {
        guard var listing = try await take(id, prefix: prefix, isFirst: number == 0), listing.prefix == prefix else {
            return nil
        }
        if number == listing.number + 1 {
            listing.page = try await listing.cursor.nextPage()
            listing.number = number
        }
        guard number == listing.number else { return nil }
        listing.usedAt = monotonic()
        makeRoom()
        listings[id] = listing
        return listing.page
    }

    /// Out of the table while it is used, so that two requests never use one cursor.
    private func take(_ id: String, prefix: ObjectPrefix, isFirst: Bool) async throws -> Listing? {
        let now = monotonic()
        listings = listings.filter { now - $0.value.usedAt < Self.lifetime }
        if let listing = listings.removeValue(forKey: id) { return listing }
        guard isFirst else { return nil }
        return Listing(prefix: prefix, cursor: try await store.list(prefix), usedAt: now)
    }

    private func makeRoom() {
        while listings.count >= Self.maximumCount, let oldest = listings.min(by: { $0.value.usedAt < $1.value.usedAt })
        {
            listings[oldest.key] = nil
        }
    }
}
