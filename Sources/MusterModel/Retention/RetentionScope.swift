/// Whose snapshots a policy is for.
///
/// A database follows the policy of its own name; without one, those of the labels that a snapshot has; without
/// any, that of its node; and else that of the fleet. Policies of labels stand side by side: each looks at all
/// snapshots with its label, and one that several match is kept if any of them keeps it.
package enum RetentionScope: Hashable, Sendable, CustomStringConvertible {
    case fleet
    case node(NodeID)
    case label(key: String, value: String)
    case database(DatabaseID)

    /// Its one text: `fleet`, `node:ID`, `label:KEY=VALUE` or `database:ID`.
    package var description: String {
        switch self {
        case .fleet: "fleet"
        case .node(let id): "node:\(id)"
        case .label(let key, let value): "label:\(key)=\(value)"
        case .database(let id): "database:\(id)"
        }
    }

    package init?(_ text: String) {
        if text == "fleet" {
            self = .fleet
            return
        }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "node":
            guard let id = NodeID(parts[1]) else { return nil }
            self = .node(id)
        case "database":
            guard let id = DatabaseID(parts[1]) else { return nil }
            self = .database(id)
        case "label":
            let pair = parts[1].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2, !pair[0].isEmpty else { return nil }
            self = .label(key: pair[0], value: pair[1])
        default: return nil
        }
    }
}
