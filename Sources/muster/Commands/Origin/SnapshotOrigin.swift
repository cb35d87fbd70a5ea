import ArgumentParser
import MusterAPI
import MusterAgent
import MusterEngine
import MusterModel

/// Where snapshots are found and read: through the coordinator, or in one store without it.
protocol SnapshotOrigin: Sendable {
    var source: any SnapshotSource { get }

    /// - Parameter id: whole, or an unambiguous beginning of 6 digits or more.
    func snapshot(_ id: String) async throws -> Muster_V1_Snapshot

    /// The newest of all, or the newest whose moment is not after `until`; node and database by name or id.
    func newest(node: String, database: String, until: Timestamp?) async throws -> Muster_V1_Snapshot?

    /// As the node published it; nothing of it is checked.
    func keyRecord(of node: NodeID) async throws -> [UInt8]

    func snapshots(needing pack: PackID) async -> PackUsers
}

/// Which snapshots need an object, as far as can be said.
struct PackUsers {
    var snapshots: [String] = []
    /// False where there may be more.
    var isComplete = true
}

struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("store"), parsing: .singleValue,
        help: "Read this store itself, without any coordinator: a folder, a file:// or an s3:// URL. May be repeated.")
    var places: [String] = []

    /// The first one; nil where a coordinator is asked.
    var store: String? { places.first }

    @OptionGroup var s3: S3Options
}

struct CoordinatorOrigin: SnapshotOrigin {
    /// More than that many pages of snapshots are not named one by one.
    private static let mostPages = 10

    let coordinator: CoordinatorClient

    var source: any SnapshotSource { CoordinatorSource(coordinator: coordinator, name: "the coordinator") }

    func snapshot(_ id: String) async throws -> Muster_V1_Snapshot { try await coordinator.snapshot(id) }

    func newest(node: String, database: String, until: Timestamp?) async throws -> Muster_V1_Snapshot? {
        var filter = SnapshotFilter()
        (filter.node, filter.database, filter.limit) = (node, database, 1)
        filter.at = until?.description ?? ""
        return try await coordinator.snapshots(filter).snapshots.first
    }

    func keyRecord(of node: NodeID) async throws -> [UInt8] { try await coordinator.keyRecord(of: node) }

    func snapshots(needing pack: PackID) async -> PackUsers {
        var users = PackUsers()
        var filter = SnapshotFilter()
        (filter.pack, filter.limit) = (pack.description, 1000)
        for _ in 0..<Self.mostPages {
            // Best effort: the damage is reported even where the coordinator cannot say who else is hit.
            guard let page = try? await coordinator.snapshots(filter) else { break }
            users.snapshots += page.snapshots.map(\.id)
            filter.after = page.next
            if page.next.isEmpty { return users }
        }
        users.isComplete = false
        return users
    }
}
