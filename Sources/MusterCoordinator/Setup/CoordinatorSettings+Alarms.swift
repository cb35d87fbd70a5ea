import MusterModel
import MusterServing
import Yams

extension CoordinatorSettings {
    /// When something becomes an alarm.
    package struct Alarms: Hashable, Sendable {
        /// How long a wanted copy may be missing.
        package var debtAfter = Duration.seconds(6 * 3600)
        /// A disk or store with less than this is a warning, with less than a quarter of it critical.
        package var diskFreeMiB = 2048

        package init() {}

        init(_ node: Node) throws(CoordinatorSetupError) {
            guard let mapping = node.mapping else {
                throw .badSettings(reason: "'alarms' must hold 'key: value' lines")
            }
            self.init()
            for (key, value) in mapping {
                switch key.string {
                case "debt_after": debtAfter = try CoordinatorSettings.span(value, "debt_after")
                case "disk_free_mib":
                    guard let number = value.int, (0...1 << 30).contains(number) else {
                        throw .badSettings(reason: "'disk_free_mib' must be a number from 0 to 1073741824")
                    }
                    diskFreeMiB = number
                default: throw .badSettings(reason: "unknown alarms key '\(key.string ?? "?")'")
                }
            }
        }
    }

    static func loopback(_ node: Node) throws(CoordinatorSetupError) -> LoopbackAddress {
        guard let text = node.string, let address = LoopbackAddress(text) else {
            throw .badSettings(
                reason: "'metrics_listen' must be 127.0.0.1:PORT or [::1]:PORT: it has neither TLS nor a password")
        }
        return address
    }

    static func span(_ node: Node, _ key: String) throws(CoordinatorSetupError) -> Duration {
        guard let text = node.string, let span = Duration(text: text), span > .zero, span <= .seconds(366 * 86_400)
        else { throw .badSettings(reason: "'\(key)' must be a span of time, such as 15m") }
        return span
    }
}
