import MusterCatalog
import MusterModel
import MusterStore

/// Probes a store, and says of it what the catalog keeps.
struct StoreProving: Sendable {
    let clock: any WallClock
    let random: RandomSource

    /// - Parameter begin: told of the probe before it makes anything.
    func measure(
        _ store: any Store, begin: (ProbeID) async throws -> Void = { _ in }
    ) async throws -> StoreCapabilities {
        let ticks = ContinuousClock()
        let start = ticks.now
        let probe = StoreProbe(store, random: random, clock: clock) { start.duration(to: ticks.now) }
        try await begin(probe.id)
        return try await probe.measure()
    }

    /// - Throws: `StoreCapabilityMissing` where the store does not promise what replicas need.
    func measureForReplicas(_ store: any Store, named name: String) async throws -> StoreCapabilities {
        let capabilities = try await measure(store)
        try capabilities.require(.replicas, of: name)
        return capabilities
    }

    /// The measurements are kept as findings of their own, so that a change over time can be seen.
    static func record(of capabilities: StoreCapabilities) -> [Catalog.ProbeFinding] {
        let pace = capabilities.pace
        let findings = capabilities.findings.map { finding in
            Catalog.ProbeFinding(
                capability: finding.capability.rawValue,
                isHeld: finding.outcome == .absent ? nil : finding.outcome == .held, detail: finding.detail)
        }
        return findings + [
            .init(capability: "put-bytes-per-second", isHeld: true, detail: "\(pace.putBytesPerSecond)"),
            .init(capability: "read-bytes-per-second", isHeld: true, detail: "\(pace.readBytesPerSecond)"),
            .init(capability: "put-microseconds", isHeld: true, detail: "\(pace.putMicroseconds)"),
            .init(capability: "read-microseconds", isHeld: true, detail: "\(pace.readMicroseconds)"),
        ]
    }

    /// What was recorded, read back; a word that this version does not know is left out.
    static func capabilities(_ record: Catalog.ProbeRecord) -> StoreCapabilities {
        let findings = StoreCapabilities.Capability.allCases.compactMap { capability in
            record.findings.first { $0.capability == capability.rawValue }.map { finding in
                StoreCapabilities.Finding(
                    capability, finding.isHeld.map { $0 ? .held : .broken } ?? .absent, finding.detail)
            }
        }
        func number(_ name: String) -> UInt64 {
            record.findings.first { $0.capability == name }.flatMap { UInt64($0.detail) } ?? 0
        }
        return StoreCapabilities(
            findings: findings,
            pace: .init(
                putBytesPerSecond: number("put-bytes-per-second"),
                readBytesPerSecond: number("read-bytes-per-second"), putMicroseconds: number("put-microseconds"),
                readMicroseconds: number("read-microseconds")))
    }
}
