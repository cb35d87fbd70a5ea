import MusterCatalog

/// Stores that the rebuild of this coordinator knew of and could not read, each with the placement that it had before.
///
/// It drains until it was read: it must not be filled as if it were empty. That is no person's word, so a rebuild that
/// reads it gives it back the placement that it had.
struct UnreadStores {
    private(set) var placements: [String: Catalog.StoreState] = [:]

    /// Those that a rebuild plans with and could not read.
    init(of stores: RebuildStores) {
        for plan in stores.planned where plan.store == nil { placements[plan.name] = plan.placementBefore }
    }

    init(_ catalog: Catalog) async throws {
        let bytes = try await catalog.setting(PinnedSetting.unscannedStores) ?? []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: " ").map(String.init)
            guard let name = parts.first else { continue }
            // Those before this version knew the names alone. None may be forgotten: it may hold what nothing names.
            placements[name] = parts.dropFirst().first.flatMap { Catalog.StoreState(rawValue: $0) } ?? .draining
        }
    }

    var names: [String] { placements.keys.sorted() }

    func keep(in catalog: Catalog) async throws {
        let lines = names.map { "\($0) \((placements[$0] ?? .draining).rawValue)\n" }
        try await catalog.set(PinnedSetting.unscannedStores, to: Array(lines.joined().utf8))
    }
}
