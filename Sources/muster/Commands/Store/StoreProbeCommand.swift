import ArgumentParser
import MusterAPI

struct StoreProbeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe", abstract: "Measure what a store really promises.",
        discussion: """
            The coordinator puts, reads, lists and deletes a few MiB under names of its own in the store, and
            records what it found. What needs more of a store than it proved is not done with it.
            Exit status: 1 if the store cannot keep replicas.
            """)

    @Argument(help: "The store's name.")
    var store: String

    @Flag(help: "Show what the last probe found, and measure nothing.")
    var last = false

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        let probe = last ? try await coordinator.lastProbe(ofStore: store) : try await coordinator.probe(store: store)
        try admin.format.show(ProbeDocument(probe), lines: lines(of: probe))
        guard let replicas = probe.features.first(where: { $0.name == "replicas" }), replicas.lacks.isEmpty else {
            throw Outcome.failed
        }
    }

    private func lines(of probe: Muster_V1_StoreProbe) -> [(String, String)] {
        var lines = [("store", probe.store), ("at", probe.at)]
        lines += probe.findings.map { ($0.capability, "\($0.outcome): \($0.detail)") }
        lines += [
            ("put", "\(Quantity.bytes(probe.putBytesPerSecond))/s, \(Self.milliseconds(probe.putMicroseconds))"),
            ("read", "\(Quantity.bytes(probe.readBytesPerSecond))/s, \(Self.milliseconds(probe.readMicroseconds))"),
        ]
        lines += probe.features.map { feature in
            (
                "for \(feature.name)",
                feature.lacks.isEmpty ? "yes" : "no: lacks \(feature.lacks.joined(separator: ", "))"
            )
        }
        return lines
    }

    private static func milliseconds(_ microseconds: UInt64) -> String {
        "\(microseconds / 1000).\(microseconds / 100 % 10) ms for a small object"
    }
}

/// Names as in `api.proto`.
private struct ProbeDocument: Encodable {
    struct Finding: Encodable {
        let capability, outcome, detail: String
    }

    struct Feature: Encodable {
        let name: String
        let lacks: [String]
    }

    let store, at: String
    let findings: [Finding]
    let features: [Feature]
    let putBytesPerSecond, readBytesPerSecond, putMicroseconds, readMicroseconds: UInt64

    init(_ probe: Muster_V1_StoreProbe) {
        (store, at) = (probe.store, probe.at)
        findings = probe.findings.map { Finding(capability: $0.capability, outcome: $0.outcome, detail: $0.detail) }
        features = probe.features.map { Feature(name: $0.name, lacks: $0.lacks) }
        (putBytesPerSecond, readBytesPerSecond) = (probe.putBytesPerSecond, probe.readBytesPerSecond)
        (putMicroseconds, readMicroseconds) = (probe.putMicroseconds, probe.readMicroseconds)
    }
}
