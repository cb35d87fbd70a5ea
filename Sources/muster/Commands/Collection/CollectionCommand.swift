import ArgumentParser
import MusterAPI
import MusterModel

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
        let state = try await finished(try await coordinator.collect(request), coordinator)
        try CollectionOutput(state).show(admin.format)
        if !state.run.stopped.isEmpty { throw ExitCode(1) }
    }

    /// The coordinator tells of the newest run only: an earlier one may be under way when ours is ordered, and a later
    /// one may have begun since we looked last.
    private func finished(
        _ ordered: Muster_V1_CollectionState, _ coordinator: CoordinatorClient
    ) async throws -> Muster_V1_CollectionState {
        var (state, patience, lastSign) = (ordered, CoordinatorPatience(), Surroundings.monotonic())
        while state.run.finishedAt.isEmpty {
            try await Surroundings.sleep(Self.pollEvery)
            let answer = try await patience.ask { () async throws(CoordinatorError) in
                try await coordinator.collection()
            }
            guard let newest = answer else { continue }
            let now = Surroundings.monotonic()
            if newest.run.id == ordered.run.id {
                (state, lastSign) = (newest, now)
            } else if newest.hasRun, newest.run.finishedAt.isEmpty, !began(newest, after: ordered) {
                lastSign = now
            } else if began(newest, after: ordered) || now - lastSign > CoordinatorPatience.limit {
                throw CollectionUnseen(run: ordered.run.id)
            }
        }
        return state
    }

    private func began(_ newest: Muster_V1_CollectionState, after ordered: Muster_V1_CollectionState) -> Bool {
        guard let other = Timestamp(newest.run.startedAt), let ours = Timestamp(ordered.run.startedAt) else {
            return false
        }
        return other > ours
    }
}

/// Its order was lost with a coordinator that was started anew, or another run came after it.
private struct CollectionUnseen: ActionableError {
    let run: String
    var summary: String { "what became of run \(run) of gc was not seen" }
    var hint: String { "'muster audit list' tells of each run that began; if this one is not there, order it again." }
    var isTransient: Bool { false }
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
