import ArgumentParser
import MusterAPI

struct CollectionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Give up what no snapshot needs any more.",
        discussion: """
            gc runs by itself. It forgets snapshots whose grace is over, and deletes packs that no other snapshot
            needs; what is held, pinned by a reader, or frozen by an alarm stays.
            """,
        subcommands: [CollectionRunCommand.self, CollectionShow.self])
}

struct CollectionShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the newest run of gc, and what waits to be deleted.")

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try CollectionOutput(try await admin.coordinator().collection()).show(admin.format)
    }
}

struct CollectionRunCommand: AsyncParsableCommand {
    private static let pollEvery = Duration.milliseconds(200)

    static let configuration = CommandConfiguration(commandName: "run", abstract: "Run gc now, and wait for its end.")

    @Flag(help: "Only say what would be given up.")
    var dryRun = false

    @Flag(help: "Go on even where more than half of all snapshots or bytes would go.")
    var evenIfMuch = false

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        var request = Muster_V1_CollectionRunRequest()
        (request.dryRun, request.evenIfMuch) = (dryRun, evenIfMuch)
        var state = try await coordinator.collect(request)
        let id = state.run.id
        while state.run.finishedAt.isEmpty || state.run.id != id {
            try await Task.sleep(for: Self.pollEvery)
            let newest = try await coordinator.collection()
            // An earlier run may be under way.
            if newest.run.id == id { state = newest }
        }
        try CollectionOutput(state).show(admin.format)
        if !state.run.stopped.isEmpty { throw ExitCode(1) }
    }
}

/// The state of gc, as people and programs read it.
private struct CollectionOutput: Encodable {
    struct Estimate: Encodable {
        let snapshots, totalSnapshots, packs, bytes, totalBytes: UInt64
    }

    let run, by, startedAt, finishedAt, stopped, every, grace: String
    let estimate: Estimate
    let forgottenSnapshots, condemnedPacks, sweptPacks, droppedSnapshots, deletedObjects, deletedBytes: UInt64
    let waitingObjects: UInt64

    init(_ state: Muster_V1_CollectionState) {
        let last = state.run
        (run, by, startedAt, finishedAt) = (last.id, last.actor, last.startedAt, last.finishedAt)
        (stopped, every, grace) = (last.stopped, state.every, state.grace)
        estimate = Estimate(
            snapshots: last.estimate.snapshots, totalSnapshots: last.estimate.totalSnapshots,
            packs: last.estimate.packs, bytes: last.estimate.bytes, totalBytes: last.estimate.totalBytes)
        (forgottenSnapshots, droppedSnapshots) = (last.forgottenSnapshots, last.droppedSnapshots)
        (condemnedPacks, sweptPacks) = (last.condemnedPacks, last.sweptPacks)
        (deletedObjects, deletedBytes) = (last.deletedObjects, last.deletedBytes)
        waitingObjects = state.waitingObjects
    }

    func show(_ format: OutputFormat) throws {
        try format.show(
            self,
            lines: [
                ("run", run), ("by", by), ("started", startedAt), ("finished", finishedAt),
                (
                    "may go",
                    "\(estimate.snapshots) of \(estimate.totalSnapshots) snapshots, \(estimate.packs) packs, "
                        + "\(estimate.bytes) of \(estimate.totalBytes) bytes"
                ),
                ("forgotten", "\(forgottenSnapshots) snapshots"),
                ("packs", "\(condemnedPacks) condemned, \(sweptPacks) given up"),
                ("deleted", "\(deletedObjects) objects, \(deletedBytes) bytes"),
                ("waiting", "\(waitingObjects) objects"), ("stopped", stopped),
            ].filter { !$0.1.isEmpty })
    }
}
