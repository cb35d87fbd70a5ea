import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// What a node says of itself, and the work it is given.
extension Coordinator {
    private static let maximumDatabases = 20_000
    private static let longestWait = 60
    private static let jobsAtOnce = 32
    private static let maximumTextBytes = 4096
    private static let states: Set<String> = ["ok", "waiting", "failing", "unsupported"]

    func report(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        let request: Muster_V1_ReportRequest = try await bodies.pass(weight: call.declaredLength ?? call.rule.bodyLimit)
        {
            try await call.message()
        }
        let now = clock.now()
        guard request.databases.count <= Self.maximumDatabases else {
            throw Refusal.tooLarge("the list of databases", limitBytes: Self.maximumDatabases)
        }
        guard let nodeClock = Timestamp(request.clock) else { throw Refusal.malformed("clock is no RFC 3339 time") }
        let databases = try request.databases.map { try Self.database($0, of: node) }
        let foreign = try await catalog.report(
            from: node, agentVersion: String(request.agentVersion.prefix(64)), clockOffset: nodeClock - now,
            databases: databases, now: now)
        guard foreign.isEmpty else {
            throw Refusal(
                .forbidden, "not_yours", "database \(foreign[0]) belongs to another node",
                hint: "Look for two agents that share a state directory.")
        }
        var answer = Muster_V1_ReportResponse()
        answer.clock = now.description
        return try call.answer(answer)
    }

    /// Answers at once when there is a job, else when one comes or the time is over.
    func work(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        let request: Muster_V1_WorkRequest = try await call.message()
        guard (1...128).contains(request.bootID.utf8.count) else { throw Refusal.malformed("boot_id is missing") }
        let now = clock.now()
        if await contacts.isDue(node, now: now) { try await catalog.touch(node, at: now) }
        lives.begin(request.bootID, of: node)
        let ticket = await work.ticket(node)
        var jobs = try await takeJobs(of: node, boot: request.bootID)
        if jobs.isEmpty, request.waitSeconds > 0 {
            let wait = min(Int(request.waitSeconds), Self.longestWait)
            await work.wait(node, after: ticket, atMost: .seconds(wait))
            jobs = try await takeJobs(of: node, boot: request.bootID)
        }
        var answer = Muster_V1_WorkResponse()
        answer.jobs = jobs.map(Muster_V1_Job.init)
        return try call.answer(answer)
    }

    private func takeJobs(of node: NodeID, boot: String) async throws -> [Catalog.Job] {
        let lives = lives
        return try await catalog.takeJobs(of: node, boot: boot, limit: Self.jobsAtOnce) {
            lives.isNewest(boot, of: node)
        }
    }

    func finishJob(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        guard let id = JobID(call.parameters[0]) else { throw Refusal.notFound("job '\(call.parameters[0])'") }
        let outcome: Muster_V1_JobOutcome = try await call.message()
        guard let state = Catalog.Job.State(rawValue: outcome.state), state == .done || state == .failed else {
            throw Refusal.malformed("state must be 'done' or 'failed'")
        }
        let finished = try await catalog.finish(
            id, of: node, state: state, snapshot: SnapshotID(outcome.snapshotID),
            errorSummary: String(outcome.errorSummary.prefix(Self.maximumTextBytes)),
            errorHint: String(outcome.errorHint.prefix(Self.maximumTextBytes)), now: clock.now())
        guard let job = finished else { throw Refusal.notFound("job \(id)") }
        try await conclude(job, outcome.failed)
        var answer = Muster_V1_JobOutcomeAccepted()
        answer.id = id.description
        return try call.answer(answer)
    }

    /// Fails what no agent finished within an hour, so that nobody waits for ever.
    func expireJobs() async throws {
        let now = clock.now()
        for job in try await catalog.expireJobs(madeBefore: now - .seconds(3600), now: now) {
            try await conclude(job, [])
        }
    }

    /// Brings a verify job's outcome into its run.
    private func conclude(_ job: Catalog.Job, _ failed: [Muster_V1_Finding]) async throws {
        guard job.kind == .verify, let run = job.run, let snapshot = job.snapshot else { return }
        var findings = failed.prefix(1000).map { finding in
            Failing(
                snapshot: snapshot.description, store: String(finding.store.prefix(255)),
                object: String(finding.object.prefix(512)),
                reason: String(finding.reason.prefix(Self.maximumTextBytes)))
        }
        if findings.isEmpty, job.state == .failed {
            findings = [Failing(snapshot: snapshot.description, store: "", object: "", reason: job.errorSummary)]
        }
        try await catalog.conclude(snapshot, in: run, findings: findings, bytesRead: 0, now: clock.now())
    }

    private static func database(
        _ report: Muster_V1_DatabaseReport, of node: NodeID
    ) throws -> Catalog.Database {
        guard let id = DatabaseID(report.databaseID), (1...255).contains(report.name.utf8.count),
            states.contains(report.state)
        else { throw Refusal.malformed("a database of the report has no valid id, name or state") }
        var database = Catalog.Database(id: id, node: node, nodeName: "", name: report.name)
        database.path = String(report.path.prefix(maximumTextBytes))
        database.schedule = String(report.schedule.prefix(255))
        database.state = report.state
        database.errorSummary = String(report.errorSummary.prefix(maximumTextBytes))
        database.errorHint = String(report.errorHint.prefix(maximumTextBytes))
        database.attemptedAt = Timestamp(report.attemptedAt)
        database.hasChanged = report.changedSinceReceipt
        return database
    }
}
