import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Verification runs, and how much of the fleet they cover.
extension Coordinator {
    private static let maximumVerified = 100_000
    private static let addedAtOnce = 500
    private static let patienceSeconds: ClosedRange<UInt32> = 5...604_800
    private static let pageLimit = 1000

    /// Begins a run: check and scrub are done here, verify and drill by the agents, which hold the keys.
    func verify(_ call: Call) async throws -> Response {
        let request: Muster_V1_VerificationRequest = try await call.message()
        return try call.answer(try await verification(try await begin(request, for: call)))
    }

    /// Begins what the request asks for.
    func begin(_ request: Muster_V1_VerificationRequest, for call: Call) async throws -> RunID {
        guard let level = VerificationLevel(rawValue: request.level) else {
            throw Refusal.invalid(
                "level '\(request.level.prefix(40))' is none", hint: "Use check, scrub, verify or drill.")
        }
        var new = Catalog.NewVerification(run: RunID(from: random), level: level, actor: call.caller.name)
        new.patience = try Self.patience(request)
        let isWide = request.fleet || !request.node.isEmpty && request.database.isEmpty
        guard [isWide, !request.snapshotIds.isEmpty, !request.database.isEmpty].count(where: { $0 }) == 1,
            !request.fleet || request.node.isEmpty
        else {
            throw Refusal.invalid(
                "a run is over snapshots, a node, a database or the fleet", hint: "Name exactly one of them.")
        }
        if isWide { try await beginWide(&new, request, call) } else { try await beginNamed(&new, request, call) }
        return new.run
    }

    private static func patience(_ request: Muster_V1_VerificationRequest) throws -> Duration {
        guard request.patienceSeconds > 0 else { return Catalog.usualPatience }
        guard patienceSeconds.contains(request.patienceSeconds) else {
            throw Refusal.invalid(
                "a patience of \(request.patienceSeconds) seconds is none",
                hint: "Give one from \(patienceSeconds.lowerBound) seconds to 7 days.")
        }
        return .seconds(Int64(request.patienceSeconds))
    }

    /// Over the fleet or a node: the run is filled in the background, also after a restart.
    private func beginWide(
        _ new: inout Catalog.NewVerification, _ request: Muster_V1_VerificationRequest, _ call: Call
    ) async throws {
        new.scope = VerificationScope.fleet
        if !request.fleet {
            let node = try await node(request.node, for: .person(.admin, subject: new.actor))
            (new.node, new.scope) = (node.id, VerificationScope.node(node.name))
        }
        try await catalog.begin(new, now: clock.now(), audit: row(call, of: new.scope, new))
        await verifications.ring(true)
    }

    /// Over snapshots that the request names, or the newest of databases that it names.
    private func beginNamed(
        _ new: inout Catalog.NewVerification, _ request: Muster_V1_VerificationRequest, _ call: Call
    ) async throws {
        var snapshots: [Catalog.Snapshot] = []
        if request.database.isEmpty {
            guard (1...Self.maximumVerified).contains(request.snapshotIds.count) else {
                throw Refusal.invalid(
                    "a run is over 1 to \(Self.maximumVerified) snapshots", hint: "Name the snapshots to verify.")
            }
            var known: Set<SnapshotID> = []
            for text in request.snapshotIds {
                let snapshot = try await snapshot(text, for: call.caller)
                if known.insert(snapshot.id).inserted { snapshots.append(snapshot) }
            }
        } else {
            let node = request.node.isEmpty ? nil : try await node(request.node, for: call.caller).id
            let named = try await databases(named: request.database, of: node)
            new.scope = VerificationScope.database(named.first?.name ?? request.database)
            for id in named.compactMap(\.newestSnapshot) {
                if let snapshot = try await catalog.snapshot(id) { snapshots.append(snapshot) }
            }
            guard !snapshots.isEmpty else {
                throw Refusal.notFound("snapshot of database '\(request.database.cut(255))'")
            }
        }
        let subject = new.scope == VerificationScope.snapshots ? "\(snapshots.count) snapshots" : new.scope
        let audit = row(call, of: subject, new)
        try await fillings.fill(new.run) {
            try await catalog.begin(new, now: clock.now(), audit: audit)
            var rest = snapshots[...]
            while !rest.isEmpty {
                let part = rest.prefix(Self.addedAtOnce)
                rest = rest.dropFirst(part.count)
                let candidates = part.map { Catalog.Candidate(database: $0.database, node: $0.node, snapshot: $0.id) }
                try await add(candidates, to: new.run, new.level, filledTo: nil, isLast: rest.isEmpty)
            }
        }
    }

    private func row(_ call: Call, of subject: String, _ new: Catalog.NewVerification) -> Catalog.AuditRow {
        row(call, "verify", "\(new.level.rawValue) of \(subject) in run \(new.run)")
    }

    func showVerification(_ call: Call) async throws -> Response {
        let run = try Self.run(call)
        guard let after = Int64(call.query("findings_after") ?? "0"), after >= 0 else {
            throw Refusal.invalid("'findings_after' is no number", hint: "Pass 'next_finding' of the page before.")
        }
        return try call.answer(try await verification(run, findingsAfter: after))
    }

    func listVerifications(_ call: Call) async throws -> Response {
        let limit = try Self.pageLimit(call)
        let after = try call.query("after").map { text in
            guard let run = RunID(text) else {
                throw Refusal.invalid("'after' is no run", hint: "Pass 'next' of the page before.")
            }
            return run
        }
        let found = try await catalog.verifications(after: after, limit: limit + 1)
        var answer = Muster_V1_VerificationList()
        answer.verifications = found.prefix(limit).map(Muster_V1_Verification.init)
        if found.count > limit { answer.next = found[limit - 1].run.description }
        return try call.answer(answer)
    }

    func listVerificationNodes(_ call: Call) async throws -> Response {
        let (run, limit) = (try Self.run(call), try Self.pageLimit(call))
        let found = try await catalog.nodes(in: run, after: call.query("after") ?? "", limit: limit + 1)
        let silentBefore = clock.now() - Self.pollPatience
        var answer = Muster_V1_VerificationNodeList()
        answer.nodes = found.prefix(limit).map { Muster_V1_VerificationNode($0, silentBefore: silentBefore) }
        if found.count > limit { answer.next = found[limit - 1].name }
        return try call.answer(answer)
    }

    func listVerificationItems(_ call: Call) async throws -> Response {
        let (run, limit) = (try Self.run(call), try Self.pageLimit(call))
        let node: NodeID? =
            if let text = call.query("node") { try await self.node(text, for: call.caller).id } else { nil }
        guard let after = Int64(call.query("after") ?? "-1") else {
            throw Refusal.invalid("'after' is no number", hint: "Pass 'next' of the page before.")
        }
        let found = try await catalog.items(
            in: run, node: node, state: call.query("state"), after: after, limit: limit + 1)
        var answer = Muster_V1_VerificationItemList()
        answer.items = found.prefix(limit).map(Muster_V1_VerificationItem.init)
        if found.count > limit { answer.next = String(found[limit - 1].position) }
        return try call.answer(answer)
    }

    func listDrills(_ call: Call) async throws -> Response {
        let (text, limit) = (call.parameters[0], try Self.pageLimit(call))
        let node: NodeID? =
            if let name = call.query("node") { try await self.node(name, for: call.caller).id } else { nil }
        let named = try await databases(named: text, of: node)
        guard let database = named.first else { throw Refusal.notFound("database '\(text.cut(255))'") }
        guard named.count == 1 else {
            throw Refusal.invalid(
                "\(named.count) databases have the name '\(text.cut(255))'", hint: "Name the node too, or the id.")
        }
        var answer = Muster_V1_DrillList()
        answer.drills = try await catalog.drills(of: database.id, limit: limit).map(Muster_V1_Drill.init)
        return try call.answer(answer)
    }

    func showCoverage(_ call: Call) async throws -> Response { try call.answer(try await coverage()) }

    func coverage() async throws -> Muster_V1_Coverage {
        let now = clock.now()
        var since: [VerificationLevel: Timestamp] = [:]
        for level in VerificationLevel.allCases {
            if let every = settings.verification.every(level) { since[level] = now - every }
        }
        let found = try await catalog.coverage(since: since)
        var coverage = Muster_V1_Coverage()
        coverage.databases = UInt64(found.databases)
        coverage.levels = found.levels.map { entry in
            var message = Muster_V1_LevelCoverage()
            (message.level, message.within) = (entry.level.rawValue, UInt64(entry.within))
            message.every = settings.verification.every(entry.level)?.text ?? "never"
            (message.never, message.oldestAt) = (UInt64(entry.never), entry.oldestAt?.description ?? "")
            return message
        }
        return coverage
    }

    private func verification(_ run: RunID, findingsAfter: Int64 = 0) async throws -> Muster_V1_Verification {
        guard let verification = try await catalog.verification(run, findingsAfter: findingsAfter) else {
            throw Refusal.notFound("run '\(run)'")
        }
        return Muster_V1_Verification(verification)
    }

    private static func run(_ call: Call) throws -> RunID {
        guard let run = RunID(call.parameters[0]) else {
            throw Refusal.notFound("run '\(call.parameters[0].cut(255))'")
        }
        return run
    }

    private static func pageLimit(_ call: Call) throws -> Int {
        guard let text = call.query("limit") else { return 100 }
        guard let limit = Int(text), limit > 0 else {
            throw Refusal.invalid("limit '\(text.cut(40))' is no number above 0", hint: "Give a number such as 100.")
        }
        return min(limit, pageLimit)
    }
}
