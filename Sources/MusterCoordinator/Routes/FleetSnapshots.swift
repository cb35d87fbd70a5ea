import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Snapshots of the whole fleet that stand together.
extension Coordinator {
    private static let windows = Duration.seconds(10)...Duration.seconds(24 * 3600)
    private static let usualWindow = Duration.seconds(300)
    private static let mostListed = 1000

    /// Makes one job for each database of each active node, and remembers that they belong together.
    func createFleetSnapshot(_ call: Call) async throws -> Response {
        let request: Muster_V1_FleetSnapshotRequest = try await call.message()
        let now = clock.now()
        let name = request.name.isEmpty ? Self.fleetName(at: now) : try Self.checked(fleetName: request.name)
        try Self.check(labels: request.labels)
        let window = try Self.window(request.window)
        let active = Set(try await catalog.nodes().filter { $0.state == .active }.map(\.id))
        let databases = try await catalog.databases().filter {
            $0.state != Catalog.removedState && active.contains($0.node)
        }
        guard !databases.isEmpty else { throw Refusal.notFound("database in the fleet") }
        let labels = request.labels.merging([Catalog.fleetLabel: name]) { $1 }
        var (jobs, absent): ([Catalog.Job], [Catalog.Absentee]) = ([], [])
        for database in databases {
            if database.capture == "paused" {
                absent.append(Catalog.Absentee(database: database.id, reason: "it is paused on its node"))
                continue
            }
            var job = Catalog.Job(
                id: JobID(from: random), kind: .snapshot, node: database.node, database: database.id, createdAt: now)
            job.labels = labels
            jobs.append(job)
        }
        let fleet = Catalog.FleetSnapshot(
            name: name, createdAt: now, until: now + window, labels: request.labels, actor: call.caller.name,
            total: databases.count)
        let row = row(call, "fleet-snapshot", "\(name) of \(databases.count) databases")
        guard try await catalog.begin(fleet, jobs: jobs, absent: absent, audit: row) else {
            throw Refusal(
                .conflict, "fleet_snapshot_exists", "there is a fleet snapshot '\(name)'",
                hint: "Choose another name, or forget that one first.")
        }
        for node in Set(jobs.map(\.node)) { await work.ring(node) }
        try await keepChange()
        return try call.answer(try await fleetMessage(name))
    }

    func listFleetSnapshots(_ call: Call) async throws -> Response {
        var answer = Muster_V1_FleetSnapshotList()
        answer.fleetSnapshots = try await catalog.fleetSnapshots(limit: Self.mostListed).map(
            Muster_V1_FleetSnapshot.init)
        return try call.answer(answer)
    }

    func showFleetSnapshot(_ call: Call) async throws -> Response {
        try call.answer(try await fleetMessage(call.parameters[0]))
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

    /// Ends what did not come in time.
    func closeFleetWindows() async throws {
        let now = clock.now()
        while try await catalog.closeFleetWindows(now: now) {}
    }

    private func fleetMessage(_ name: String) async throws -> Muster_V1_FleetSnapshot {
        guard let fleet = try await catalog.fleetSnapshot(name) else {
            throw Refusal.notFound("fleet snapshot '\(name.prefix(80))'")
        }
        var message = Muster_V1_FleetSnapshot(fleet)
        message.items = try await catalog.items(ofFleetSnapshot: name).map(Muster_V1_FleetItem.init)
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
