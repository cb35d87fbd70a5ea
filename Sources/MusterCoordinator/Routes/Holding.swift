import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// What people say of single snapshots: that they stay, or that they may go; and that they looked at an alarm.
extension Coordinator {
    private static let mostChanged = 1000

    /// What became of a wish for one snapshot.
    enum Wish: Sendable {
        case done(String)
        case refused(String)
    }

    func holdSnapshots(_ call: Call) async throws -> Response {
        let request: Muster_V1_SnapshotHoldRequest = try await call.message()
        let name = try Self.checked(holdName: request.name)
        guard request.reason.utf8.count <= 1024 else {
            throw Refusal.invalid("the reason is too long", hint: "Give at most 1024 bytes.")
        }
        return try await change(request.snapshotIds, call, "hold '\(name)'") { snapshot, row in
            let hold = Catalog.Hold(name: name, reason: request.reason, actor: call.caller.name, at: clock.now())
            switch try await catalog.hold(snapshot.id, hold, audit: row) {
            case .held?: return .done("held")
            case .broughtBack?: return .done("held and brought back")
            case .tooLate?: return .refused("it was given up, and its grace is over")
            case .tooMany?: return .refused("it has \(Catalog.mostHolds) holds")
            case nil: return .refused("it is gone")
            }
        }
    }

    func releaseSnapshots(_ call: Call) async throws -> Response {
        let request: Muster_V1_SnapshotReleaseRequest = try await call.message()
        let name = try Self.checked(holdName: request.name)
        return try await change(request.snapshotIds, call, "release '\(name)'") { snapshot, row in
            try await catalog.release(snapshot.id, name, audit: row) == true
                ? .done("released") : .refused("it has no hold '\(name)'")
        }
    }

    func forgetSnapshots(_ call: Call) async throws -> Response {
        let request: Muster_V1_SnapshotForgetRequest = try await call.message()
        var terms = RetentionTerms()
        if !request.grace.isEmpty { terms.grace = request.grace }
        let grace: CalendarSpan
        do throws(RetentionError) {
            grace = try terms.graceSpan()
        } catch {
            throw Refusal.invalid(error.summary, hint: error.hint)
        }
        let run = RunID(from: random)
        return try await change(request.snapshotIds, call, "forget", run: run) { snapshot, row in
            let now = clock.now()
            let outcome = try await catalog.forget(
                snapshot.id, run: run, graceUntil: grace.after(now), actor: call.caller.name, now: now, audit: row)
            guard let outcome else { return .refused("it is gone") }
            return outcome == .marked ? .done("marked") : .refused("it is \(outcome.rawValue)")
        }
    }

    func clearAlarms(_ call: Call) async throws -> Response {
        let request: Muster_V1_AlarmClearRequest = try await call.message()
        if request.kind == AlarmKind.twins.rawValue { return try await clearTwins(request, call) }
        guard let kind = AlarmKind(rawValue: request.kind), AlarmKind.clearable.contains(kind) else {
            let clearable = AlarmKind.clearable.map(\.rawValue).joined(separator: ", ")
            throw Refusal.invalid(
                "alarm '\(request.kind.prefix(40))' cannot be cleared",
                hint: "Only \(clearable) can be; others end with their cause.")
        }
        let node = request.node.isEmpty ? nil : try await node(request.node, for: call.caller).id
        let found = try await databases(named: request.database, of: node)
        guard let database = found.first else { throw Refusal.notFound("database '\(request.database.prefix(80))'") }
        guard found.count == 1 else {
            throw Refusal.invalid(
                "\(found.count) databases have the name '\(request.database)'", hint: "Name the node too, or the id.")
        }
        var answer = Muster_V1_AlarmCleared()
        let row = row(call, "alarm-clear", "\(request.kind) of database \(database.id)")
        answer.count = UInt32(try await catalog.clearAlarms(kind, of: database.id, now: clock.now(), audit: row))
        guard answer.count > 0 else {
            throw Refusal.notFound("alarm '\(request.kind)' of database '\(database.name)'")
        }
        return try call.answer(answer)
    }

    /// Does `body` for each of the snapshots, with a row for the audit. All are looked up first, so that a misspelt id
    /// changes nothing.
    func change(
        _ ids: [String], _ call: Call, _ action: String, run: RunID? = nil,
        _ body: (Catalog.Snapshot, Catalog.AuditRow) async throws -> Wish
    ) async throws -> Response {
        guard (1...Self.mostChanged).contains(ids.count) else {
            throw Refusal.invalid(
                "1 to \(Self.mostChanged) snapshots can be changed at once", hint: "Name the snapshots by their ids.")
        }
        var snapshots: [Catalog.Snapshot] = []
        for id in ids { snapshots.append(try await snapshot(id, for: call.caller)) }
        var answer = Muster_V1_SnapshotOutcomeList()
        answer.run = run?.description ?? ""
        for snapshot in snapshots {
            var outcome = Muster_V1_SnapshotOutcome()
            outcome.snapshotID = snapshot.id.description
            switch try await body(snapshot, row(call, action, "snapshot \(snapshot.id)")) {
            case .done(let word): (outcome.done, outcome.outcome) = (true, word)
            case .refused(let reason): outcome.outcome = reason
            }
            answer.outcomes.append(outcome)
        }
        answer.count = UInt64(answer.outcomes.count { $0.done })
        if answer.count > 0 {
            try await keepChange()
        } else {
            try await audit(call, action, "nothing changed of \(ids.count) snapshots")
        }
        return try call.answer(answer)
    }

    private static func checked(holdName name: String) throws -> String {
        guard name.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil else {
            throw Refusal.invalid(
                "'\(name.prefix(80))' is no name of a hold", hint: "Use up to 63 letters, digits, dots and dashes.")
        }
        return name
    }
}
