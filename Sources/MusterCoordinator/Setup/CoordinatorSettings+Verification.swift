package import MusterModel
import Yams

extension CoordinatorSettings {
    /// How often agents are to rebuild and inspect each database by themselves.
    package struct Verification: Hashable, Sendable {
        /// The newest passed verify, or drill, is not to be older; nil for never.
        package var verifyEvery: Duration? = .seconds(7 * 86_400)
        /// The same of drills.
        package var drillEvery: Duration? = .seconds(30 * 86_400)
        /// So many nodes of the fleet inspect at the same time, whoever asked for it.
        package var nodesAtOnce = 16

        package init() {}

        /// nil where nobody wants that level by itself.
        package func every(_ level: VerificationLevel) -> Duration? {
            switch level {
            case .check, .scrub: nil
            case .verify: verifyEvery
            case .drill: drillEvery
            }
        }
    }
}

extension CoordinatorSettings.Verification {
    init(_ node: Node) throws(CoordinatorSetupError) {
        guard let mapping = node.mapping else {
            throw .badSettings(reason: "'verification' must hold 'key: value' lines")
        }
        self.init()
        for (key, value) in mapping {
            switch key.string {
            case "verify_every": verifyEvery = try CoordinatorSettings.period(value, "verify_every")
            case "drill_every": drillEvery = try CoordinatorSettings.period(value, "drill_every")
            case "nodes_at_once":
                guard let number = value.int, (1...100_000).contains(number) else {
                    throw .badSettings(reason: "'nodes_at_once' must be a number from 1 to 100000")
                }
                nodesAtOnce = number
            default: throw .badSettings(reason: "unknown verification key '\(key.string ?? "?")'")
            }
        }
    }
}
