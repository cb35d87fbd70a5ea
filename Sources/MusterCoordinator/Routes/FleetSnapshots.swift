import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Snapshots of the whole fleet that stand together.
extension Coordinator {
    private static let windows = Duration.seconds(10)...Duration.seconds(24 * 3600)
    private static let usualWindow = Duration.seconds(300)
    private static let mostListed = 1000
    /// A reason is up to 4 KiB long, and a client takes 8 MiB.
    private static let itemsAtOnce = 1000
    private static let addedAtOnce = 500

    /// Makes one job for each database of each active node, and remembers that they belong together.
    func createFleetSnapshot(_ call: Call) async throws -> Response {
        let request: Muster_V1_FleetSnapshotRequest = try await call.message()
        let now = clock.now()
        let name = request.name.isEmpty ? Self.fleetName(at: now) : try Self.checked(fleetName: request.name)
        try Self.check(labels: request.labels)
        let window = try Self.window(request.window)
        let active = Set(try await catalog.nodeOutlines().filter { $0.state == .active }.map(\.id))
        let databases = try await catalog.databases().filter {
            $0.state != Catalog.removedState && active.contains($0.node)
        }
        guard !databases.isEmpty else { throw Refusal.notFound("database in the fleet") }
        let fleet = Catalog.FleetSnapshot(
            name: name, createdAt: now, until: now + window, labels: request.labels, actor: call.caller.name,
            total: databases.count)
        let row = row(call, "fleet-snapshot", "\(name) of \(databases.count) databases")
        try await fill(fleet, with: databases, audit: row)
        try await keepChange()
        return try call.answer(try await fleetMessage(name))
    }

    /// In steps: each is one short transaction, and its nodes begin at once.
    private func fill(
        _ fleet: Catalog.FleetSnapshot, with databases: [Catalog.Database], audit row: Catalog.AuditRow
    ) async throws {
        var rest = databases[...]
        while !rest.isEmpty {
            let isFirst = rest.count == databases.count
            let part = rest.prefix(Self.addedAtOnce)
            rest = rest.dropFirst(part.count)
            let absent = part.filter { $0.capture == "paused" }.map {
                Catalog.Absentee(database: $0.id, reason: "it is paused on its node")
            }
            let jobs = part.filter { $0.capture != "paused" }.map { job(for: $0, of: fleet) }
            if !isFirst {
                try await catalog.add(jobs, absent: absent, to: fleet, isLast: rest.isEmpty)
            } else if try await !catalog.begin(
                fleet, jobs: jobs, absent: absent, isWhole: rest.isEmpty, audit: row)
            {
                throw Refusal(
                    .conflict, "fleet_snapshot_exists", "there is a fleet snapshot '\(fleet.name)'",
                    hint: "Choose another name, or forget that one first.")
            }
            for node in Set(jobs.map(\.node)) { await work.ring(node) }
        }
    }

    private func job(for database: Catalog.Database, of fleet: Catalog.FleetSnapshot) -> Catalog.Job {
        var job = Catalog.Job(
            id: JobID(from: random), kind: .snapshot, node: database.node, database: database.id,
            createdAt: fleet.createdAt)
        job.labels = fleet.labels.merging([Catalog.fleetLabel: fleet.name]) { $1 }
        return job
    }

    func listFleetSnapshots(_ call: Call) async throws -> Response {
        var answer = Muster_V1_FleetSnapshotList()
        answer.fleetSnapshots = try await catalog.fleetSnapshots(limit: Self.mostListed).map(
            Muster_V1_FleetSnapshot.init)
        return try call.answer(answer)
    }

    func showFleetSnapshot(_ call: Call) async throws -> Response {
        let after = try call.query("items_after").map { text in
            guard let id = DatabaseID(text) else {
                throw Refusal.invalid("'items_after' is no database", hint: "Pass 'next_item' of the page before.")
            }
            return id
        }
        return try call.answer(try await fleetMessage(call.parameters[0], itemsAfter: after))
    }

    func forgetFleetSnapshot(_ call: Call) async throws -> Response {
        let name = call.parameters[0]
        var answer = Muster_V1_FleetSnapshotForgotten()
        guard
            let released = try await catalog.forget(
                fleetSnapshot: name, now: clock.now(), audit: row(call, "fleet-snapshot-forget", name))
        else {
            throw Refusal.notFound("fleet snapshot '\(name.prefix(80))'")
        }
        (answer.name, answer.released) = (name, UInt32(clamping: released))
        try await keepChange()
        return try call.answer(answer)
    }

    /// Ends what did not come in time; a commit that did, and is under way, is waited for.
    func closeFleetWindows() async throws {
        let settled = commitMoments.settledUntil
        while try await catalog.closeFleetWindows(now: settled) {}
    }

    private func fleetMessage(
        _ name: String, itemsAfter: DatabaseID? = nil
    ) async throws -> Muster_V1_FleetSnapshot {
        guard let fleet = try await catalog.fleetSnapshot(name) else {
            throw Refusal.notFound("fleet snapshot '\(name.prefix(80))'")
        }
        var message = Muster_V1_FleetSnapshot(fleet)
        let items = try await catalog.items(ofFleetSnapshot: name, after: itemsAfter, limit: Self.itemsAtOnce + 1)
        message.items = items.prefix(Self.itemsAtOnce).map(Muster_V1_FleetItem.init)
        if items.count > Self.itemsAtOnce { message.nextItem = items[Self.itemsAtOnce - 1].database.description }
        return message
    }

    /// Digits that sort as time does.
    private static func fleetName(at now: Timestamp) -> String {
        "fleet-" + now.description.filter { $0.isNumber || $0 == "T" }.prefix(15)
    }

    private static func checked(fleetName name: String) throws -> String {
        guard name.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil else {
            throw Refusal.invalid(
                "'\(name.prefix(80))' is no name of a fleet snapshot",
                hint: "Use 1 to 63 letters, digits, dots, dashes and underscores.")
        }
        return name
    }

    private static func window(_ text: String) throws -> Duration {
        guard !text.isEmpty else { return usualWindow }
        guard let window = Duration(text: text), windows.contains(window) else {
            throw Refusal.invalid("'\(text.prefix(40))' is no window", hint: "Give a span from 10s to 24h, as in 5m.")
        }
        return window
    }

    static func check(labels: [String: String]) throws {
        guard labels.count <= 64,
            labels.allSatisfy({ (1...64).contains($0.key.utf8.count) && $0.value.utf8.count <= 256 })
        else {
            throw Refusal.invalid(
                "the labels are too many or too long", hint: "At most 64, keys 64 and values 256 bytes.")
        }
        guard labels[Catalog.fleetLabel] == nil else {
            throw Refusal.invalid(
                "label '\(Catalog.fleetLabel)' belongs to fleet snapshots", hint: "Choose another key.")
        }
    }
}

extension Muster_V1_FleetSnapshot {
    init(_ fleet: Catalog.FleetSnapshot) {
        self.init()
        (name, createdAt, until) = (fleet.name, fleet.createdAt.description, fleet.until.description)
        (labels, actor) = (fleet.labels, fleet.actor)
        state = fleet.isFinished ? "finished" : "taking"
        (taken, total) = (UInt32(fleet.members), UInt32(fleet.total))
    }
}

extension Muster_V1_FleetItem {
    init(_ item: Catalog.FleetItem) {
        self.init()
        (node, nodeID) = (item.nodeName, item.node.description)
        (database, databaseID) = (item.databaseName, item.database.description)
        jobID = item.job?.description ?? ""
        (snapshotID, sizeBytes) = (item.snapshot?.description ?? "", UInt64(item.sizeBytes))
        reason = item.reason
        state = item.snapshot != nil ? "done" : item.reason.isEmpty ? "open" : "missing"
    }
}
