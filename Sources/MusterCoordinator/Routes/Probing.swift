import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterModel
import MusterStore

/// Probes: what a store promises is measured, recorded, and asked for before it is relied on.
extension Coordinator {
    func probeStore(_ call: Call) async throws -> Response {
        let store = try knownStore(call.parameters[0])
        let (capabilities, now) = try await probing.pass {
            let (capabilities, now) = (try await measure(store), clock.now())
            try await record(capabilities, of: store, now: now, audit: row(call, "store probe", store.name))
            return (capabilities, now)
        }
        return try call.answer(Self.message(capabilities, of: store.name, at: now))
    }

    /// A store's server may be another one tomorrow.
    private static let probePeriod = Duration.seconds(7 * 86_400)
    /// What an older probe said is not relied on where that could do harm.
    static let probeLasts = Duration.seconds(30 * 86_400)
    private static let probePause = Duration.seconds(3600)
    /// A store that takes longer hangs.
    private static let longestProbe = Duration.seconds(1800)

    /// Measures stores that never were, such as those that came with `init` or with a rebuild, and each one again after
    /// a week.
    func probeDueStores() async throws {
        for store in stores.all where !store.isAway {
            guard try await isProbeDue(store), probeTries.isDue(store.number, now: clock.now(), after: Self.probePause)
            else { continue }
            do {
                try await probing.pass {
                    // A person may have been before.
                    guard try await isProbeDue(store) else { return }
                    try await record(try await measure(store), of: store, now: clock.now())
                    logger.info("store probed", metadata: ["store": "\(store.name)"])
                }
            } catch let error as StoreError {
                // One that cannot be measured now keeps no other from it.
                logger.warning("store not probed", metadata: ["store": "\(store.name)", "reason": "\(error.summary)"])
            }
        }
    }

    private func isProbeDue(_ store: OpenStore) async throws -> Bool {
        guard let record = try await catalog.lastProbe(ofStore: store.number) else { return true }
        return age(of: record) >= Self.probePeriod
    }

    /// One from the future is as one that is long over: a clock was wrong.
    private func age(of record: Catalog.ProbeRecord) -> Duration {
        let age = clock.now() - record.at
        return age < .zero - Self.probePause ? Self.probeLasts : age
    }

    /// Whether the newest probe says so, and says it of these days.
    func isProven(_ store: OpenStore, for feature: StoreFeature) async throws -> Bool {
        guard let record = try await catalog.lastProbe(ofStore: store.number), age(of: record) < Self.probeLasts else {
            return false
        }
        return StoreProving.capabilities(record).obstacles(to: feature).isEmpty
    }

    /// Whether the newest probe saw the store break that promise. Where nothing is known it did not.
    func isBroken(_ capability: StoreCapabilities.Capability, in store: OpenStore) async throws -> Bool {
        guard let record = try await catalog.lastProbe(ofStore: store.number) else { return false }
        return StoreProving.capabilities(record).finding(capability)?.outcome == .broken
    }

    private func record(
        _ capabilities: StoreCapabilities, of store: OpenStore, now: Timestamp, audit row: Catalog.AuditRow? = nil
    ) async throws {
        try await catalog.record(
            probe: StoreProving.record(of: capabilities), ofStore: store.number, at: now, audit: row)
        for finding in capabilities.broken {
            logger.error(
                "store breaks a promise",
                metadata: ["store": "\(store.name)", "reason": "\(finding.capability.rawValue): \(finding.detail)"])
        }
    }

    /// A probe that a crash cut off has left objects, which are removed by name before the next one begins.
    private func measure(_ store: OpenStore) async throws -> StoreCapabilities {
        let setting = "probe-under-way-\(store.number)"
        let last = try await catalog.setting(setting).flatMap { ProbeID(bytes: $0) }
        let capabilities = try await store.store.direct(atMost: Self.longestProbe) { [catalog, proving] direct in
            if let last { try await StoreProbe.remove(last, from: direct) }
            return try await proving.measure(direct) { try await catalog.set(setting, to: $0.bytes) }
        }
        try await catalog.set(setting, to: [])
        return capabilities
    }

    /// The newest probe that was recorded.
    func showProbe(_ call: Call) async throws -> Response {
        let store = try knownStore(call.parameters[0])
        guard let record = try await catalog.lastProbe(ofStore: store.number) else {
            throw Refusal.notFound("probe of store '\(store.name)'")
        }
        return try call.answer(Self.message(StoreProving.capabilities(record), of: store.name, at: record.at))
    }

    var proving: StoreProving { StoreProving(clock: clock, random: random) }

    private func knownStore(_ name: String) throws -> OpenStore {
        guard let store = stores.store(named: name) else { throw Refusal.notFound("store '\(name)'") }
        return store
    }

    private static func message(
        _ capabilities: StoreCapabilities, of store: String, at: Timestamp
    ) -> Muster_V1_StoreProbe {
        var message = Muster_V1_StoreProbe()
        (message.store, message.at) = (store, at.description)
        message.findings = capabilities.findings.map { finding in
            var item = Muster_V1_StoreFinding()
            (item.capability, item.outcome) = (finding.capability.rawValue, finding.outcome.rawValue)
            item.detail = finding.detail
            return item
        }
        message.features = StoreFeature.allCases.map { feature in
            var item = Muster_V1_StoreFeature()
            item.name = feature.rawValue
            item.lacks = capabilities.obstacles(to: feature).map(\.capability.rawValue)
            return item
        }
        message.putBytesPerSecond = capabilities.pace.putBytesPerSecond
        message.readBytesPerSecond = capabilities.pace.readBytesPerSecond
        message.putMicroseconds = capabilities.pace.putMicroseconds
        message.readMicroseconds = capabilities.pace.readMicroseconds
        return message
    }
}
