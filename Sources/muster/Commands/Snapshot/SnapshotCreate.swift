import ArgumentParser
import MusterAPI
import MusterModel

struct SnapshotCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Ask agents to take snapshots now.",
        discussion: """
            Makes one job for each database that matches; the agents take them up at once. Without --node and
            --database that is the whole fleet; with --fleet the snapshots are one fleet snapshot besides, which no policy
            gives up before 'fleet-snapshot forget'. With --wait the command ends when all have ended: 0 if all
            were taken, 2 if some, 1 if none.
            """)

    @Option(help: "Only this node, by name or id. Default: every node.")
    var node: String?

    @Option(help: "Only this database, by name or id. Default: every database of the nodes.")
    var database: String?

    @Flag(help: "Every database of every node, within one window, kept and listed as one fleet snapshot.")
    var fleet = false

    @Option(help: "With --fleet: the fleet snapshot's name. Default: made of the time.")
    var name: String?

    @Option(help: "With --fleet: what is received later than this after the call is no member. Default: 5m.")
    var window: String?

    @Option(help: "A label for the snapshots, key=value; may be given again.")
    var label: [Label] = []

    @Flag(help: "Wait until the snapshots are taken and acknowledged.")
    var wait = false

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        if !fleet, name != nil || window != nil { throw ValidationError("--name and --window go with --fleet") }
        if fleet, node != nil || database != nil {
            throw ValidationError("--fleet means every node and database: give it without --node and --database")
        }
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        if fleet { return try await takeFleet(coordinator) }
        var request = Muster_V1_SnapshotCreateRequest()
        (request.node, request.database) = (node ?? "", database ?? "")
        for label in label { request.labels[label.key] = label.value }
        var jobs = try await coordinator.createSnapshots(request).jobs
        if wait { jobs = try await finished(jobs, coordinator) }
        try admin.format.show(jobs.map(JobRow.init))
        let failed = jobs.count { $0.state == "failed" }
        if failed > 0 { throw failed == jobs.count ? Outcome.failed : Outcome.partly }
    }

    private func finished(_ jobs: [Muster_V1_Job], _ coordinator: CoordinatorClient) async throws -> [Muster_V1_Job] {
        let progress = ProgressLine("snapshots")
        defer { progress.finish() }
        var (jobs, patience) = (jobs, CoordinatorPatience())
        for index in jobs.indices {
            progress.update("\(index) of \(jobs.count) taken")
            // The coordinator ends a job that nobody takes up within an hour, so this loop ends.
            while !["done", "failed"].contains(jobs[index].state) {
                let id = jobs[index].id
                let answer = try await patience.ask { () async throws(CoordinatorError) in
                    try await coordinator.job(id, waitingSeconds: 30)
                }
                if let answer { jobs[index] = answer }
            }
        }
        return jobs
    }
}

extension SnapshotCreate {
    private func takeFleet(_ coordinator: CoordinatorClient) async throws {
        var request = Muster_V1_FleetSnapshotRequest()
        (request.name, request.window) = (name ?? "", window ?? "")
        for label in label { request.labels[label.key] = label.value }
        var taken = try await coordinator.create(fleetSnapshot: request)
        Console.note("fleet snapshot '\(taken.name)' of \(taken.total) databases")
        if wait {
            let progress = ProgressLine("snapshots")
            defer { progress.finish() }
            var patience = CoordinatorPatience()
            for item in taken.items where item.state == "open" {
                progress.update("\(taken.taken) of \(taken.total) taken")
                // The coordinator ends what does not come within the window, so this loop ends.
                var state = item.state
                while !["done", "failed"].contains(state) {
                    let answer = try await patience.ask { () async throws(CoordinatorError) in
                        try await coordinator.job(item.jobID, waitingSeconds: 30)
                    }
                    state = answer?.state ?? state
                }
            }
            taken = try await coordinator.fleetSnapshot(taken.name)
        }
        try admin.format.show(taken.items.map { FleetItemRow($0, of: taken.name) })
        if wait { try FleetItemRow.end(taken) }
    }
}

struct JobRow: Row {
    static let columns = ["job", "node", "database", "state", "snapshot", "reason"]
    let id, kind, node, database, state: String
    @Known var outcomeSnapshotId: String?
    @Known var errorSummary: String?
    @Known var errorHint: String?

    init(_ job: Muster_V1_Job) {
        (id, kind, node, database, state) = (job.id, job.kind, job.node, job.database, job.state)
        outcomeSnapshotId = known(job.outcomeSnapshotID)
        (errorSummary, errorHint) = (known(job.errorSummary), known(job.errorHint))
    }

    var cells: [String] {
        [
            String(id.prefix(12)), node, database, state, outcomeSnapshotId.map { String($0.prefix(12)) } ?? "",
            errorSummary ?? "",
        ]
    }
}
