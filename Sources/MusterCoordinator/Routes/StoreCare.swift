import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel
import MusterStore

/// Looking at all that a store should hold, and repairing it before all else.
extension Coordinator {
    private static let namedRepairs = 1000
    private static let mostSteps = 100_000

    /// Begins a check, or answers with the one under way.
    func checkStore(_ call: Call) async throws -> Response {
        let request: Muster_V1_StoreCheckRequest = try await call.message()
        let store = try storeToCare(call.parameters[0])
        let text = request.level.isEmpty ? VerificationLevel.check.rawValue : request.level
        guard let level = VerificationLevel(rawValue: text), level < .verify else {
            throw Refusal.invalid("level '\(text.prefix(40))' is none of a store's", hint: "Use check or scrub.")
        }
        if let absence = store.store.absence {
            throw Refusal(
                .serviceUnavailable, "store_away", absence.summary,
                hint: "Bring the store back first: nothing can be said of it while it is away.", isTransient: true)
        }
        let check = try await storeCheckLanes.pass(store.number) {
            if let check = try await storeCheck(of: store), !check.isFinished { return check }
            let check = StoreCheck(
                run: RunID(from: random), level: level,
                expected: try await catalog.expected(inStore: store.number).objects, now: clock.now())
            try await keep(
                check, of: store,
                audit: row(call, "store check", "\(store.name) \(level.rawValue) in run \(check.run)"))
            return check
        }
        guard check.level == level.rawValue else {
            throw Refusal(
                .conflict, "check_running", "a \(check.level) of store '\(store.name)' is under way",
                hint: "Wait for its end.")
        }
        await storeChecks.ring(true)
        return try call.answer(Self.message(check, of: store.name))
    }

    func showStoreCheck(_ call: Call) async throws -> Response {
        let store = try storeToCare(call.parameters[0])
        guard let check = try await storeCheck(of: store) else {
            throw Refusal.notFound("check of store '\(store.name)'")
        }
        return try call.answer(Self.message(check, of: store.name))
    }

    /// Puts all that is bad or missing in the store in front of its queue.
    func repairStore(_ call: Call) async throws -> Response {
        let store = try storeToCare(call.parameters[0])
        try await audit(call, "store repair", store.name)
        let now = clock.now()
        for _ in 0..<Self.mostSteps where try await catalog.wantRepairs(inStore: store.number, now: now) == 0 { break }
        var place: Int64? = 0
        while let after = place { place = try await catalog.hastenCopies(toStore: store.number, after: after) }
        await replications.ring(true)
        return try call.answer(try await repairMessage(of: store))
    }

    func showStoreRepair(_ call: Call) async throws -> Response {
        try call.answer(try await repairMessage(of: try storeToCare(call.parameters[0])))
    }

    private func storeToCare(_ name: String) throws -> OpenStore {
        guard let store = stores.store(named: name) else { throw Refusal.notFound("store '\(name)'") }
        return store
    }

    private func repairMessage(of store: OpenStore) async throws -> Muster_V1_StoreRepair {
        let repairs = try await catalog.repairs(inStore: store.number, named: Self.namedRepairs)
        var message = Muster_V1_StoreRepair()
        (message.store, message.state) = (store.name, store.store.absence?.summary ?? "ok")
        (message.waiting, message.failing) = (UInt64(repairs.waiting), UInt64(repairs.failing))
        message.failed = repairs.failed.map { failed in
            var finding = Muster_V1_Finding()
            (finding.store, finding.reason) = (store.name, failed.reason)
            if failed.kind == .snapshot { finding.snapshot = failed.subject }
            finding.object = failed.kind == .pack ? "pack \(failed.subject)" : failed.kind == .keys ? "keys" : ""
            return finding
        }
        return message
    }

    private static func message(_ check: StoreCheck, of store: String) -> Muster_V1_StoreCheck {
        var message = Muster_V1_StoreCheck()
        (message.run, message.store, message.level) = (check.run, store, check.level)
        message.state = check.isFinished ? "finished" : "running"
        (message.passed, message.total) = (UInt64(check.passed), UInt64(check.total))
        message.failedCount = UInt64(check.failedCount)
        message.failed = check.failed.map { failed in
            var finding = Muster_V1_Finding()
            (finding.snapshot, finding.store) = (failed.snapshot, store)
            (finding.object, finding.reason) = (failed.object, failed.reason)
            return finding
        }
        (message.startedAt, message.finishedAt) = (check.startedAt, check.finishedAt)
        message.bytesRead = UInt64(check.bytesRead)
        return message
    }
}
