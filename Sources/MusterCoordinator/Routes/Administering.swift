import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// What people ask of the whole fleet.
extension Coordinator {
    private static let maximumJobs = 20_000

    /// Makes one job for each database that matches.
    func createSnapshots(_ call: Call) async throws -> Response {
        let request: Muster_V1_SnapshotCreateRequest = try await call.message()
        try Self.check(labels: request.labels)
        let node = request.node.isEmpty ? nil : try await node(request.node, for: call.caller).id
        let named =
            request.database.isEmpty
            ? try await catalog.databases(of: node) : try await self.databases(named: request.database, of: node)
        let databases = named.filter { $0.state != Catalog.removedState }
        guard !databases.isEmpty else {
            throw Refusal.notFound(
                request.database.isEmpty ? "database that matches" : "database '\(request.database)'")
        }
        guard databases.count <= Self.maximumJobs else {
            throw Refusal.tooLarge("the list of jobs", limitBytes: Self.maximumJobs)
        }
        let jobs = try await orderSnapshots(of: databases, labels: request.labels, for: call)
        var answer = Muster_V1_JobList()
        answer.jobs = jobs.map(Muster_V1_Job.init)
        return try call.answer(answer)
    }

    /// Asks the nodes for one snapshot of each of these databases.
    func orderSnapshots(
        of databases: [Catalog.Database], labels: [String: String], for call: Call
    ) async throws -> [Catalog.Job] {
        let jobs = databases.map { database in
            var job = Catalog.Job(
                id: JobID(from: random), kind: .snapshot, node: database.node, database: database.id,
                createdAt: clock.now())
            (job.nodeName, job.databaseName, job.labels) = (database.nodeName, database.name, labels)
            return job
        }
        try await catalog.add(jobs, audit: row(call, "snapshot", "\(jobs.count) databases"))
        for node in Set(jobs.map(\.node)) { await work.ring(node) }
        return jobs
    }

    func showJob(_ call: Call) async throws -> Response {
        let text = call.parameters[0]
        guard let id = JobID(text), var job = try await catalog.job(id) else { throw Refusal.notFound("job '\(text)'") }
        if let wait = call.query("wait") {
            guard let seconds = Int(wait), (0...Self.longestWait).contains(seconds) else {
                throw Refusal.invalid("'wait' is no number of seconds up to \(Self.longestWait)", hint: "Give 30.")
            }
            job = try await ended(job, within: .seconds(seconds))
        }
        return try call.answer(Muster_V1_Job(job))
    }

    /// - Returns: the job when it has ended, or as it is when the time is over.
    private func ended(_ job: Catalog.Job, within limit: Duration) async throws -> Catalog.Job {
        // The time being over is one of the ways to end; anything else shows in the look that follows.
        try? await withDeadline(limit) {
            while !Task.isCancelled, !Task.isShuttingDownGracefully {
                let ticket = await endings.ticket(job.node)
                if try await catalog.job(job.id)?.state.isFinal ?? true { return }
                // Another job of the node may be what rings.
                await endings.wait(job.node, after: ticket, atMost: limit)
            }
        }
        return try await catalog.job(job.id) ?? job
    }
}
