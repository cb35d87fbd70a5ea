import MusterModel
import Yams

extension CoordinatorSettings {
    /// How much of the stores a node may take, so that a bad one cannot fill them for all.
    ///
    /// What counts is the bytes of its packs, each once, in however many stores it is.
    package struct Quota: Hashable, Sendable {
        /// Of every node that has none of its own.
        package var nodeGiB: Int64 = 1024
        /// By the names of nodes.
        package var nodes: [String: Int64] = [:]

        package init() {}

        init(_ node: Node) throws(CoordinatorSetupError) {
            guard let mapping = node.mapping else {
                throw .badSettings(reason: "'quota' must hold 'node_gib: NUMBER' and 'nodes: {NAME: NUMBER}'")
            }
            self.init()
            for (key, value) in mapping {
                switch key.string {
                case "node_gib": nodeGiB = try Self.number(value, "node_gib")
                case "nodes":
                    guard let named = value.mapping else {
                        throw .badSettings(reason: "quota 'nodes' must hold 'NAME: NUMBER' lines")
                    }
                    for (name, value) in named { nodes[name.string ?? ""] = try Self.number(value, name.string ?? "?") }
                default: throw .badSettings(reason: "unknown quota key '\(key.string ?? "?")'")
                }
            }
        }

        func bytes(ofNode name: String) -> Int64 { (nodes[name] ?? nodeGiB) << 30 }

        private static func number(_ node: Node, _ key: String) throws(CoordinatorSetupError) -> Int64 {
            guard let number = node.int, (1...1_000_000).contains(number) else {
                throw .badSettings(reason: "quota '\(key)' must be a number of GiB from 1 to 1000000")
            }
            return Int64(number)
        }
    }
}
