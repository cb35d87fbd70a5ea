import ArgumentParser
import MusterAPI
import MusterModel

struct SnapshotList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the fleet's snapshots, newest first.",
        discussion: "An empty list prints nothing but its header, or [], and is no error.")

    @Option(help: "Only this node, by name or id.")
    var node: String?

    @Option(help: "Only this database, by name or id.")
    var database: String?

    @Option(help: "Only snapshots that carry this label, key=value.")
    var label: Label?

    @Option(help: "Only the members of this fleet snapshot.")
    var fleetSnapshot: String?

    @Option(help: "Only snapshots received at or after this time, RFC 3339.")
    var since: String?

    @Option(help: "At most this many.")
    var limit: Int?

    @Flag(help: "Those that were given up and can still be restored by their ids, and no others.")
    var expired = false

    @OptionGroup var stores: StoreOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        if stores.places.count > 1 { throw ValidationError("give one --store: each has a list of its own") }
        if expired, stores.store != nil {
            throw ValidationError("--expired asks the coordinator: a store does not know what was given up")
        }
        if fleetSnapshot != nil, stores.store != nil {
            throw ValidationError("--fleet-snapshot asks the coordinator; with --store use --label fleet-snapshot=NAME")
        }
        if let since, Timestamp(since) == nil {
            throw ValidationError("--since wants a time such as 2026-11-23T10:00:00Z")
        }
        if let limit, limit < 1 { throw ValidationError("--limit wants a number from 1 up") }
    }

    func run() async throws {
        if let store = stores.store { return try await listStore(try await StoreOrigin(store, stores.s3)) }
        var filter = SnapshotFilter()
        (filter.node, filter.database, filter.since) = (node ?? "", database ?? "", since ?? "")
        filter.label = label.map { "\($0.key)=\($0.value)" } ?? ""
        filter.fleetSnapshot = fleetSnapshot ?? ""
        filter.isExpired = expired
        let coordinator = try admin.coordinator()
        var rows: [SnapshotRow] = []
        repeat {
            filter.limit = limit.map { min(1000, $0 - rows.count) } ?? 1000
            let page = try await coordinator.snapshots(filter)
            rows += page.snapshots.map(SnapshotRow.init)
            filter.after = page.next
        } while !filter.after.isEmpty && rows.count < limit ?? .max
        try admin.format.show(rows)
    }

    /// Needs no key. What cannot be read is said, and the rest is listed.
    private func listStore(_ origin: StoreOrigin) async throws {
        var unreadable = 0
        let earliest = since.flatMap { Timestamp($0) }
        let found = await origin.snapshots { snapshot in
            let isLabelled = label.map { snapshot.labels[$0.key] == $0.value } ?? true
            let isRecent = earliest.map { since in Timestamp(snapshot.receivedAt).map { $0 >= since } ?? false } ?? true
            return isLabelled && isRecent && StoreOrigin.matches(snapshot, node, database)
        } onError: { error in
            unreadable += 1
            Console.error(error as? any ActionableError ?? UnforeseenError(error))
        }
        try admin.format.show(found.prefix(limit ?? .max).map(SnapshotRow.init))
        if unreadable > 0 { throw found.isEmpty ? Outcome.failed : Outcome.partly }
    }
}
