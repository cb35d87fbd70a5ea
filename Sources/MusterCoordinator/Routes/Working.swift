import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// The work that a node is given.
extension Coordinator {
    static let longestWait = 60
    private static let jobsAtOnce = 32
    private static let mostSeconds = 1e9
    private static let mostBytesRead: Int64 = 1 << 44
    static let maximumTextBytes = 4096
    /// More than any agent takes at once.
    private static let mostAtWork = 1000
    private static let maximumFindings = 1000
    /// Packs of one outcome that are read again: a node must not fill what others have read with them.
    private static let maximumScrubbed = 16

    /// Answers at once when there is a job or something is wanted back, else when one comes or the time is over.
    func work(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        let request: Muster_V1_WorkRequest = try await call.message()
        guard (1...128).contains(request.bootID.utf8.count) else { throw Refusal.malformed("boot_id is missing") }
        guard request.atWork.ids.count <= Self.mostAtWork else {
            throw Refusal.malformed("at_work names too many jobs")
        }
        let now = clock.now()
        if await contacts.isDue(node, now: now) { try await catalog.touch(node, at: now) }
        let poll = polls.begin(of: node)
        try await tellTwinsApart(
            TwinBook.Sight(
                life: request.bootID, machine: request.machine, address: call.address, version: request.agentVersion),
            of: node, in: .polls, now: now)
        let clock = clock
        return try await contacts.poll(node, now: { clock.now() }) {
            try call.answer(try await nextWork(of: node, request, poll))
        }
    }

    private func nextWork(
        of node: NodeID, _ request: Muster_V1_WorkRequest, _ poll: PollBook.Poll
    ) async throws -> Muster_V1_WorkResponse {
        let ticket = await work.ticket(node)
        var jobs = try await takeJobs(of: node, request, poll)
        var restores = try await takeRestores(of: node, boot: request.bootID, poll)
        var asked = takeWanted(of: node, poll)
        if jobs.isEmpty, restores.isEmpty, asked.packs.isEmpty, !asked.keys, request.waitSeconds > 0 {
            let wait = min(Int(request.waitSeconds), Self.longestWait)
            await work.wait(node, after: ticket, atMost: .seconds(wait))
            guard try await catalog.isActive(node) else { throw Refusal.unknownCertificate }
            jobs = try await takeJobs(of: node, request, poll)
            restores = try await takeRestores(of: node, boot: request.bootID, poll)
            asked = takeWanted(of: node, poll)
        }
        var answer = Muster_V1_WorkResponse()
        answer.jobs = jobs.map(Muster_V1_Job.init) + restores
        answer.wantedPacks = asked.packs.map { .init($0.bytes) }
        answer.wantsKeys = asked.keys
        return answer
    }

    /// What the node is asked to send. A poll that another one came after has nobody who would hear the question, and it is
    /// not put again for minutes.
    private func takeWanted(of node: NodeID, _ poll: PollBook.Poll) -> (packs: [PackID], keys: Bool) {
        guard polls.isNewest(poll) else { return ([], false) }
        let now = clock.now()
        return (wanted.take(of: node, now: now), wanted.takeKeys(of: node, now: now))
    }

    private func takeJobs(
        of node: NodeID, _ request: Muster_V1_WorkRequest, _ poll: PollBook.Poll
    ) async throws -> [Catalog.Job] {
        let polls = polls
        let asking = Catalog.Asking(
            boot: request.bootID, atWork: request.hasAtWork ? Set(request.atWork.ids.compactMap(JobID.init)) : nil)
        return try await catalog.takeJobs(
            of: node, asking, limit: Self.jobsAtOnce, inspectionsAtOnce: settings.verification.nodesAtOnce,
            now: clock.now()
        ) {
            polls.isNewest(poll)
        }
    }

    func finishJob(_ call: Call) async throws -> Response {
        let (node, scope) = try Self.node(call)
        guard let id = JobID(call.parameters[0]) else { throw Refusal.notFound("job '\(call.parameters[0])'") }
        let outcome: Muster_V1_JobOutcome = try await call.message()
        guard let state = Catalog.Job.State(rawValue: outcome.state), state == .done || state == .failed else {
            throw Refusal.malformed("state must be 'done' or 'failed'")
        }
        guard let job = try await catalog.job(id), job.node == node else {
            let ended = try await finishRestore(call.parameters[0], of: node, isDone: state == .done, outcome)
            guard let ended else { throw Refusal.notFound("job \(id)", isAnothers: try await catalog.job(id) != nil) }
            var answer = Muster_V1_JobOutcomeAccepted()
            answer.id = ended.description
            return try call.answer(answer)
        }
        var answer = Muster_V1_JobOutcomeAccepted()
        answer.id = id.description
        let snapshot = try await outcomeSnapshot(outcome, of: job)
        // An outcome that comes twice, or too late, costs nothing more.
        guard !job.state.isFinal else { return try call.answer(answer) }
        let findings = job.snapshot.map { Self.findings(outcome.failed, of: $0) } ?? []
        let refused = job.snapshot.map { Self.findings(outcome.refused, of: $0) } ?? []
        try await suspect(Self.packs(named: findings), of: scope, by: call.caller.name)
        if let snapshot = job.snapshot { try await suspect(refused, of: snapshot, by: call.caller.name) }
        // A node's word is added up with that of others.
        let seconds = outcome.seconds.isFinite ? min(max(0, outcome.seconds), Self.mostSeconds) : 0
        _ = try await catalog.finish(
            id, of: node, state: state, snapshot: snapshot, findings: findings,
            effort: Catalog.Effort(
                seconds: seconds, bytesRead: min(Int64(clamping: outcome.bytesRead), Self.mostBytesRead)),
            drill: job.level == VerificationLevel.drill.rawValue && outcome.hasDrill
                ? Catalog.DrillMeasure(outcome.drill) : nil, refused: refused,
            errorSummary: outcome.errorSummary.cut(Self.maximumTextBytes),
            errorHint: outcome.errorHint.cut(Self.maximumTextBytes), now: clock.now())
        await endings.ring(node)
        if job.kind == .verify {
            await work.ring(node)
            await ringInspectors()
            await verifications.ring(true)
        }
        return try call.answer(answer)
    }

    /// Has every replica read again of packs that a node found bad, as far as the scope has them here.
    private func suspect(_ packs: Set<PackID>, of scope: ScopeID, by reader: String) async throws {
        for id in packs.sorted() {
            for replica in try await catalog.replicas(of: id, in: scope) where stores[replica.store] != nil {
                await suspect(.pack(replica.pack, replica.store), by: reader)
            }
        }
    }

    /// Has the replicas read again that a node refused; it says where to look, among what the snapshot needs.
    private func suspect(_ refused: [Failing], of snapshot: SnapshotID, by reader: String) async throws {
        for failing in refused.prefix(Self.maximumScrubbed) {
            guard let store = stores.all.first(where: { $0.name == failing.store }) else { continue }
            if let pack = Self.packs(named: [failing]).first {
                guard let scope = try await catalog.scope(of: pack, neededBy: snapshot) else { continue }
                let replicas = try await catalog.replicas(of: pack, in: scope)
                guard let replica = replicas.first(where: { $0.store == store.number }) else { continue }
                await suspect(.pack(replica.pack, store.number), by: reader)
            } else if let id = failing.object.firstMatch(of: #/[0-9a-f]{32}/#).flatMap({ SnapshotID($0.output) }),
                try await catalog.isNeeded(manifestOf: id, by: snapshot)
            {
                await suspect(.snapshot(id, store.number), by: reader)
            }
        }
    }

    /// Fails what no agent finished within an hour of its last sign of life, so that nobody waits for ever.
    func expireJobs() async throws {
        let now = clock.now()
        _ = try await catalog.expireJobs(untouchedSince: now - .seconds(3600), now: now)
    }

    private func outcomeSnapshot(_ outcome: Muster_V1_JobOutcome, of job: Catalog.Job) async throws -> SnapshotID? {
        guard !outcome.snapshotID.isEmpty else { return nil }
        guard let id = SnapshotID(outcome.snapshotID), let snapshot = try await catalog.snapshot(id),
            snapshot.node == job.node, snapshot.database == job.database
        else { throw Refusal.malformed("snapshot_id is no snapshot of the job's database") }
        return id
    }

    private static func findings(_ failed: [Muster_V1_Finding], of snapshot: SnapshotID) -> [Failing] {
        failed.prefix(maximumFindings).map { finding in
            Failing(
                snapshot: snapshot.description, store: finding.store.cut(255), object: finding.object.cut(512),
                reason: finding.reason.cut(maximumTextBytes))
        }
    }

    /// Packs that the findings name: the coordinator looks at those itself, and takes nobody's word for them.
    private static func packs(named findings: [Failing]) -> Set<PackID> {
        let ids = findings.compactMap { finding in
            finding.object.firstMatch(of: #/[0-9a-f]{64}/#).flatMap { PackID($0.output) }
        }
        return Set(ids.prefix(maximumScrubbed))
    }
}

extension String {
    /// What of the text fits into so many bytes of UTF-8; a character is not cut in two.
    func cut(_ byteCount: Int) -> String {
        guard utf8.count > byteCount else { return self }
        var end = utf8.index(startIndex, offsetBy: byteCount)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}
