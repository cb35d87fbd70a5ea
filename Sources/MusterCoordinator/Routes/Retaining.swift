import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// Which snapshots are kept: policies, what they would do and did, and taking it back.
extension Coordinator {
    private static let shownRuns = 100
    private static let mostAppliedAtOnce = 200
    private static let largestPage = 10_000

    func showRetention(_ call: Call) async throws -> Response { try call.answer(try await retentionState()) }

    func setRetention(_ call: Call) async throws -> Response {
        let request: Muster_V1_RetentionSetRequest = try await call.message()
        let scope = try await scope(request.scope, for: call.caller)
        var terms: RetentionTerms?
        if !request.remove {
            let policy = try Self.checked(request.terms, for: scope)
            terms = RetentionTerms(policy.policy, grace: policy.grace)
        }
        if terms != nil { try await checkRoom(for: scope) }
        let row = row(
            call, terms == nil ? "retention-remove" : "retention-set",
            terms.map { "\(scope): \(Self.text(of: $0))" } ?? scope.description)
        guard try await catalog.setPolicy(scope, to: terms, actor: call.caller.name, now: clock.now(), audit: row)
        else { throw Refusal.notFound("retention policy of '\(scope)'") }
        try await keepChange()
        return try call.answer(try await retentionState())
    }

    func previewRetention(_ call: Call) async throws -> Response {
        let request: Muster_V1_RetentionPreviewRequest = try await call.message()
        var candidate: ScopedPolicy?
        if request.hasCandidate {
            candidate = try Self.checked(
                request.candidate, for: try await scope(request.candidateScope, for: call.caller))
        }
        let now = try Self.moment(request.asOf) ?? clock.now()
        guard let id = DatabaseID(request.databaseID),
            let verdict = try await catalog.retentionVerdict(on: id, candidate: candidate, now: now)
        else { throw Refusal.notFound("database '\(request.databaseID.prefix(80))'") }
        return try call.answer(try Self.page(verdict, request, asOf: now))
    }

    /// Applies what stands to these databases; a run over more of them has more calls.
    func applyRetention(_ call: Call) async throws -> Response {
        let request: Muster_V1_RetentionApplyRequest = try await call.message()
        guard (1...Self.mostAppliedAtOnce).contains(request.databaseIds.count) else {
            throw Refusal.invalid(
                "policies are applied to 1 to \(Self.mostAppliedAtOnce) databases at once",
                hint: "Name them by their ids.")
        }
        let run = try Self.run(request.run) ?? RunID(from: random)
        var answer = Muster_V1_RetentionApplied()
        answer.run = run.description
        let row = row(call, "retention-apply", "\(request.databaseIds.count) databases in run \(run)")
        var marked = 0
        for text in request.databaseIds {
            guard let id = DatabaseID(text), let database = try await catalog.database(id),
                let applied = try await apply(
                    to: id, run: run, actor: call.caller.name, audit: marked == 0 ? row : nil)
            else { throw Refusal.notFound("database '\(text.prefix(80))'") }
            var result = Muster_V1_RetentionApplication()
            (result.databaseID, result.node, result.database) = (text, database.nodeName, database.name)
            (result.kept, result.marked) = (UInt64(applied.kept), UInt64(applied.marked))
            result.alarm = applied.alarm ?? ""
            answer.results.append(result)
            marked += applied.marked
        }
        // It was asked for, and that nothing was marked is known only now.
        if marked == 0 { try await catalog.audit(row) }
        return try call.answer(answer)
    }

    func undoRetention(_ call: Call) async throws -> Response {
        let request: Muster_V1_RetentionUndoRequest = try await call.message()
        guard let run = try Self.run(request.run) else {
            return try await change(request.snapshotIds, call, "retention-undo") { snapshot, row in
                try await catalog.undo(snapshot.id, now: clock.now(), audit: row)
                    ? .done("brought back") : .refused(Self.whyNotUndone(snapshot))
            }
        }
        guard request.snapshotIds.isEmpty else {
            throw Refusal.invalid("both a run and snapshots are named", hint: "Name one or the other.")
        }
        var answer = Muster_V1_SnapshotOutcomeList()
        answer.run = run.description
        answer.count = UInt64(
            try await catalog.undo(run, now: clock.now(), audit: row(call, "retention-undo", "run \(run)")))
        guard answer.count > 0 else { throw Refusal.notFound("mark of run '\(run)' whose grace is not over") }
        return try call.answer(answer)
    }

    // MARK: - Parts

    private func checkRoom(for scope: RetentionScope) async throws {
        let others = try await catalog.policies().map(\.scope).filter { $0 != scope }
        let labels = others.count { if case .label = $0 { true } else { false } }
        var isForLabel = false
        if case .label = scope { isForLabel = true }
        guard others.count < Catalog.mostPolicies, !isForLabel || labels < Catalog.mostLabelPolicies else {
            throw Refusal.invalid(
                "there are \(others.count) policies already, \(labels) of them for labels",
                hint: "Take some away with --remove: at most \(Catalog.mostPolicies) may be, and "
                    + "\(Catalog.mostLabelPolicies) of them for labels.")
        }
    }

    private func retentionState() async throws -> Muster_V1_RetentionState {
        var state = Muster_V1_RetentionState()
        for entry in try await catalog.policies() {
            var policy = Muster_V1_RetentionPolicy()
            switch entry.scope {
            case .fleet: policy.scope = "fleet"
            case .node(let id):
                (policy.scope, policy.node) = ("node", try await catalog.node(id)?.name ?? id.description)
            case .label(let key, let value): (policy.scope, policy.label) = ("label", "\(key)=\(value)")
            case .database(let id):
                let database = try await catalog.database(id)
                (policy.scope, policy.node) = ("database", database?.nodeName ?? "")
                policy.database = database?.name ?? id.description
            }
            policy.terms = Muster_V1_RetentionTerms(entry.terms)
            (policy.setAt, policy.setBy) = (entry.at.description, entry.actor)
            state.policies.append(policy)
        }
        for entry in try await catalog.retentionRuns(limit: Self.shownRuns) {
            var run = Muster_V1_RetentionRun()
            (run.run, run.at, run.actor) = (entry.id.description, entry.at.description, entry.actor)
            run.marked = UInt64(entry.marked)
            state.runs.append(run)
        }
        state.every = settings.retentionEvery?.text ?? "never"
        return state
    }

    private func scope(_ scope: Muster_V1_RetentionScope, for caller: Caller) async throws -> RetentionScope {
        let isNarrow = !scope.node.isEmpty || !scope.database.isEmpty
        guard [scope.fleet, isNarrow, !scope.label.isEmpty].count(where: { $0 }) == 1 else {
            throw Refusal.invalid(
                "a policy is for the fleet, a node, a label or a database", hint: "Name exactly one of them.")
        }
        if scope.fleet { return .fleet }
        if !scope.label.isEmpty {
            guard scope.label.utf8.count <= RetentionTerms.longestText,
                let label = RetentionScope("label:" + scope.label)
            else {
                throw Refusal.invalid(
                    "label '\(scope.label.prefix(80))' is not KEY=VALUE", hint: "Write it as in env=prod.")
            }
            return label
        }
        let node = scope.node.isEmpty ? nil : try await node(scope.node, for: caller)
        if scope.database.isEmpty, let node { return .node(node.id) }
        let found = try await databases(named: scope.database, of: node?.id)
        guard let database = found.first else { throw Refusal.notFound("database '\(scope.database.prefix(80))'") }
        guard found.count == 1 else {
            throw Refusal.invalid(
                "\(found.count) databases have the name '\(scope.database)'", hint: "Name the node too, or the id.")
        }
        return .database(database.id)
    }

    private static func page(
        _ verdict: Catalog.RetentionVerdict, _ request: Muster_V1_RetentionPreviewRequest, asOf now: Timestamp
    ) throws -> Muster_V1_RetentionPreview {
        var preview = Muster_V1_RetentionPreview()
        (preview.asOf, preview.alarm) = (now.description, verdict.alarm ?? "")
        (preview.kept, preview.expiring) = (UInt64(verdict.keptCount), UInt64(verdict.expiringCount))
        var start = 0
        if !request.after.isEmpty {
            guard let index = verdict.decisions.firstIndex(where: { $0.snapshot.description == request.after }) else {
                throw Refusal.invalid(
                    "snapshot '\(request.after.prefix(80))' is not in the list any more", hint: "Begin the list anew.")
            }
            start = index + 1
        }
        let limit = request.limit == 0 ? 1000 : min(Int(request.limit), largestPage)
        let end = min(start + limit, verdict.decisions.count)
        for (decision, received) in zip(verdict.decisions[start..<end], verdict.receivedAt[start..<end]) {
            var message = Muster_V1_RetentionDecision()
            (message.snapshotID, message.receivedAt) = (decision.snapshot.description, received.description)
            (message.kept, message.reasons) = (decision.isKept, decision.reasons)
            preview.decisions.append(message)
        }
        if end < verdict.decisions.count { preview.next = verdict.decisions[end - 1].snapshot.description }
        return preview
    }

    private static func whyNotUndone(_ snapshot: Catalog.Snapshot) -> String {
        snapshot.mark.map { "its grace was over at \($0.graceUntil)" } ?? "it was not given up"
    }

    private static func checked(
        _ message: Muster_V1_RetentionTerms, for scope: RetentionScope
    ) throws -> ScopedPolicy {
        let terms = RetentionTerms(message)
        do throws(RetentionError) {
            return ScopedPolicy(scope: scope, policy: try terms.policy(), grace: try terms.graceSpan())
        } catch {
            throw Refusal.invalid(error.summary, hint: error.hint)
        }
    }

    private static func text(of terms: RetentionTerms) -> String {
        let rules = terms.rules.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let tags = terms.keepTags.map { "keep-tag=\($0)" }
        return (rules + tags + ["mode=\(terms.mode)", "min-age=\(terms.minimumAge)", "grace=\(terms.grace)"])
            .joined(separator: " ")
    }

    private static func run(_ text: String) throws -> RunID? {
        guard !text.isEmpty else { return nil }
        guard let run = RunID(text) else { throw Refusal.notFound("run '\(text.prefix(80))'") }
        return run
    }

    private static func moment(_ text: String) throws -> Timestamp? {
        guard !text.isEmpty else { return nil }
        guard let moment = Timestamp(text) else { throw Refusal.malformed("'as_of' is no time") }
        return moment
    }
}

extension Muster_V1_RetentionTerms {
    init(_ terms: RetentionTerms) {
        self.init()
        (mode, rules, keepTags) = (terms.mode, terms.rules, terms.keepTags)
        (minAge, grace) = (terms.minimumAge, terms.grace)
    }
}

extension RetentionTerms {
    /// What is left out is as in new terms.
    init(_ message: Muster_V1_RetentionTerms) {
        self.init()
        if !message.mode.isEmpty { mode = message.mode }
        (rules, keepTags) = (message.rules, message.keepTags)
        if !message.minAge.isEmpty { minimumAge = message.minAge }
        if !message.grace.isEmpty { grace = message.grace }
    }
}
