import ArgumentParser
import MusterAPI

struct FleetSnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fleet-snapshot", abstract: "Look at snapshots of the whole fleet, and let them go.",
        discussion: "'muster snapshot create --fleet' takes one, 'muster restore --fleet-snapshot' brings one back.",
        subcommands: [FleetSnapshotList.self, FleetSnapshotShow.self, FleetSnapshotForget.self])
}

struct FleetSnapshotList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the fleet snapshots, newest first.")

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try admin.format.show(try await admin.coordinator().fleetSnapshots().fleetSnapshots.map(FleetSnapshotRow.init))
    }
}

struct FleetSnapshotShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one fleet snapshot: what is in it, and what is missing and why.",
        discussion: "Exit status: 0 if it is complete, 2 if something is missing or to come, 1 if nothing is there.")

    @Argument(help: "The fleet snapshot's name.")
    var name: String

    @OptionGroup var admin: AdminOptions

    private struct Shown: Encodable {
        let fleetSnapshot: FleetSnapshotRow
        let items: [FleetItemRow]
    }

    func run() async throws {
        let shown = try await admin.coordinator().fleetSnapshot(name)
        let (row, items) = (FleetSnapshotRow(shown), shown.items.map { FleetItemRow($0, of: shown.name) })
        try admin.format.show(
            Shown(fleetSnapshot: row, items: items),
            lines: [
                ("name", row.name), ("state", row.state), ("taken", "\(row.taken) of \(row.total)"),
                ("asked for", "\(row.createdAt) by \(row.actor)"), ("window until", row.until),
            ] + row.labels.sorted { $0.key < $1.key }.map { ("label", "\($0.key)=\($0.value)") })
        if admin.format == .table {
            Console.result("")
            try admin.format.show(items)
        }
        try FleetItemRow.end(shown)
    }
}

struct FleetSnapshotForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Release the members of a fleet snapshot.",
        discussion: "They stay as single snapshots; from then on the policies decide about them.")

    @Argument(help: "The fleet snapshot's name.")
    var name: String

    @OptionGroup var confirmation: Confirmation
    @OptionGroup var admin: AdminOptions

    private struct Forgotten: Encodable {
        let name: String
        let released: UInt32
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        guard confirmation.confirm else {
            try admin.format.show([FleetSnapshotRow(try await coordinator.fleetSnapshot(name))])
            return try confirmation.require()
        }
        let answer = try await coordinator.forget(fleetSnapshot: name)
        try admin.format.show(
            Forgotten(name: answer.name, released: answer.released),
            lines: [("forgotten", answer.name), ("snapshots released", String(answer.released))])
    }
}

struct FleetSnapshotRow: Row {
    static let columns = ["name", "asked for", "state", "taken", "by"]
    let name, createdAt, until, state, actor: String
    let taken, total: UInt32
    let labels: [String: String]

    init(_ fleet: Muster_V1_FleetSnapshot) {
        (name, createdAt, until) = (fleet.name, fleet.createdAt, fleet.until)
        (state, actor, labels) = (fleet.state, fleet.actor, fleet.labels)
        (taken, total) = (fleet.taken, fleet.total)
    }

    var cells: [String] { [name, createdAt, state, "\(taken) of \(total)", actor] }
}

/// As a row of 'snapshot create', with the fleet snapshot that it is of.
struct FleetItemRow: Row {
    static let columns = ["node", "database", "state", "snapshot", "reason"]
    let fleetSnapshot, id, kind, node, database, state: String
    @Known var outcomeSnapshotId: String?
    @Known var errorSummary: String?

    init(_ item: Muster_V1_FleetItem, of name: String) {
        (fleetSnapshot, id, kind) = (name, item.jobID, "snapshot")
        (node, database) = (item.node, item.database)
        state = item.state == "missing" ? "failed" : item.state
        outcomeSnapshotId = known(item.snapshotID)
        errorSummary = known(item.reason)
    }

    var cells: [String] {
        [node, database, state, outcomeSnapshotId.map { String($0.prefix(12)) } ?? "", errorSummary ?? ""]
    }

    /// Ends the command by how complete it is.
    static func end(_ fleet: Muster_V1_FleetSnapshot) throws {
        guard fleet.taken < fleet.total else { return }
        Console.note("\(fleet.taken) of \(fleet.total) databases are in fleet snapshot '\(fleet.name)'")
        throw fleet.taken > 0 ? Outcome.partly : Outcome.failed
    }
}
