import Foundation
import MusterFormat
import MusterModel

/// Which signing key a node has, as the holder of the recovery key once found out by other means than the coordinator.
///
/// The coordinator says which key a node has; one that lies could have the secrets of the whole fleet sealed to a key
/// of its own. So nothing is sealed to a node whose fingerprint nobody compared with what the node itself prints. What
/// was compared once stands in a file beside the admin context.
struct KnownNodes {
    private static let shortestFingerprint = 32
    private let path: String
    private let given: [String]

    /// - Parameters:
    ///   - context: the file of the admin context.
    ///   - fingerprints: that were given on the command line.
    init(besideContext context: String, fingerprints: [String]) throws {
        path = context + ".known-nodes"
        given = fingerprints
    }

    /// The beginning of one is enough where it is long enough.
    static func isFingerprint(_ text: String) -> Bool {
        (shortestFingerprint...64).contains(text.utf8.count) && text.allSatisfy { $0.isHexDigit && !$0.isUppercase }
    }

    func isKnown(_ node: NodeID, _ key: VerifyingKey) throws -> Bool {
        let fingerprint = key.id.description
        return try given.contains { fingerprint.hasPrefix($0) } || known()[node.description] == fingerprint
    }

    /// Asks the person at the terminal where it is not known yet, and remembers what was compared.
    func require(_ node: NodeID, named name: String, _ key: VerifyingKey) throws {
        let fingerprint = key.id.description
        var known = try known()
        let remembered = known[node.description]
        if remembered == fingerprint { return }
        if !given.contains(where: { fingerprint.hasPrefix($0) }) {
            guard remembered == nil, given.isEmpty, isatty(STDIN_FILENO) == 1, Console.errorIsTerminal else {
                throw NodeNotKnown(name: name, fingerprint: fingerprint, remembered: remembered)
            }
            Console.note(
                """
                Node '\(name)' is to get the secret of another node. The coordinator says that its fingerprint is
                  \(fingerprint)
                Compare it with what 'muster agent show --dir DIR' prints on that node.
                """)
            Console.redraw("Is it the same? Type yes: ")
            guard readLine() == "yes" else {
                throw NodeNotKnown(name: name, fingerprint: fingerprint, remembered: nil)
            }
        }
        known[node.description] = fingerprint
        try write(known)
    }

    private func known() throws -> [String: String] {
        guard let json = FileManager.default.contents(atPath: path) else { return [:] }
        do {
            return try JSONDecoder().decode([String: String].self, from: json)
        } catch {
            throw KnownNodesDamaged(path: path)
        }
    }

    private func write(_ known: [String: String]) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        // No secret: it is not to be changed by others, which the folder's owner sees to.
        try encoder.encode(known).write(to: URL(filePath: path), options: .atomic)
    }
}

private struct NodeNotKnown: ActionableError {
    let name, fingerprint: String
    let remembered: String?
    var summary: String {
        guard let remembered else { return "nobody has compared the fingerprint of node '\(name)' yet" }
        return "node '\(name)' has another signing key than before: \(fingerprint), not \(remembered)"
    }
    var hint: String {
        guard remembered == nil else {
            return "Find out on the node, with 'muster agent show --dir DIR', which one is right; give that with "
                + "--fingerprint. If the node has the old one, the coordinator is not to be trusted."
        }
        return "Run 'muster agent show --dir DIR' on that node and give what it prints with --fingerprint. "
            + "The coordinator says \(fingerprint)."
    }
    var isTransient: Bool { false }
}

private struct KnownNodesDamaged: ActionableError {
    let path: String
    var summary: String { "'\(path)' does not hold the fingerprints of known nodes" }
    var hint: String { "Move it away, and compare the fingerprints again." }
    var isTransient: Bool { false }
}
