import Foundation
import MusterFormat
import MusterModel

/// A node and its signing key, as the coordinator names them, beside what was asked for.
struct ToldNode {
    let id: NodeID
    let name: String
    let key: VerifyingKey
    /// As it was typed: a name or an id; nil where nobody named it.
    let asked: String?
    /// What the person gave for it on the command line: it counts above all else.
    let fingerprint: String?

    /// What a person meant; nil where they gave its id, or nothing.
    var askedName: String? { asked == id.description ? nil : asked }
    var shownName: String { askedName ?? name }
}

/// Which signing key a node has, as the holder of the recovery key once found out by other means than the coordinator.
///
/// The coordinator says which key a node has; one that lies could have the secrets of the whole fleet sealed to a key
/// of its own, or to another known node. So nothing is sealed to a node whose fingerprint nobody compared with what the
/// node itself prints. What was compared once stands, by id and name, in a file beside the admin context; so does what
/// was only seen, of nodes whose snapshots were restored elsewhere: that counts for nothing but to notice a change.
struct KnownNodes {
    /// What is known of a key.
    enum Standing { case compared, seen, new }

    private struct Entry: Codable, Equatable {
        var name, fingerprint: String
        /// A person compared it with what the node prints.
        var isCompared: Bool
    }

    private let path: String

    /// - Parameter context: the file of the admin context.
    init(besideContext context: String) { path = context + ".known-nodes" }

    /// - Throws: where it is another key than the one that was given, or than the one that is remembered.
    func standing(of node: ToldNode) throws -> Standing {
        let fingerprint = node.key.id.description
        if let given = node.fingerprint {
            guard fingerprint.hasPrefix(given) else { throw FingerprintDiffers(node: node, given: given) }
            return .compared
        }
        guard let entry = try known()[node.id.description] else { return .new }
        guard entry.fingerprint == fingerprint else {
            throw FingerprintDiffers(node: node, remembered: entry.fingerprint)
        }
        // Another known node under the name that was typed is not what the person meant.
        if let asked = node.askedName, entry.name != asked { return .new }
        return entry.isCompared ? .compared : .seen
    }

    /// Of a node that gets another one's secret: asks the person at the terminal where nobody compared it yet.
    func require(target node: ToldNode) throws {
        if try standing(of: node) != .compared {
            let fingerprint = node.key.id.description
            guard isatty(STDIN_FILENO) == 1, Console.errorIsTerminal else { throw NodeNotKnown(node: node) }
            Console.note(
                """
                Node '\(node.shownName)' is to get the secret of another node. The coordinator says that its \
                fingerprint is
                  \(fingerprint)
                Compare it with what 'muster agent show --dir DIR' prints on that node.
                """)
            Console.redraw("Is it the same? Type yes: ")
            guard readLine() == "yes" else { throw NodeNotKnown(node: node) }
        }
        if let entries = try known(with: node, isCompared: true) { try write(entries) }
    }

    /// Of a node whose snapshot goes elsewhere. It may be gone, and nobody can ask it then: the first key is taken, said
    /// loudly, and held to from then on; under a name that another node had, it has to be given. That it cannot be
    /// remembered, as on a bare machine, keeps nothing from being restored.
    ///
    /// - Parameter origin: who says which key it has, as "the coordinator".
    func accept(source node: ToldNode, saidBy origin: String = "the coordinator") throws {
        switch try standing(ofSource: node) {
        case .compared: try remember(node, isCompared: true)
        case .seen: break
        case .new:
            guard try !known().contains(where: { $0.key == node.id.description || $0.value.name == node.shownName })
            else { throw SourceNameTaken(node: node) }
            Console.note(
                """
                warning: nobody has compared the signing key of node '\(node.shownName)', whose snapshot this is. \
                \(origin.prefix(1).uppercased() + origin.dropFirst()) says that its fingerprint is
                  \(node.key.id)
                It is taken for now, and held to from now on. Whoever lies there could have made the content up: \
                compare it with a note of your own, or with 'muster agent show --dir DIR' there, and give it with \
                --source-fingerprint.
                """)
            try remember(node, isCompared: false)
        }
    }

    /// The first version kept no names: a source whose key it knew is compared under any name that no other node has.
    /// A target is asked about again there, as it gets a secret.
    private func standing(ofSource node: ToldNode) throws -> Standing {
        let found = try standing(of: node)
        let known = try known()
        guard found == .new, let entry = known[node.id.description], entry.name.isEmpty, entry.isCompared,
            !known.values.contains(where: { $0.name == node.shownName })
        else { return found }
        return .compared
    }

    // MARK: - The file

    private func remember(_ node: ToldNode, isCompared: Bool) throws {
        guard let entries = try known(with: node, isCompared: isCompared) else { return }
        // On a bare machine there is no context, and nothing to remember it beside.
        let folder = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        guard FileManager.default.fileExists(atPath: folder) else { return }
        do {
            try write(entries)
        } catch {
            Console.note(
                "warning: fingerprint of node '\(node.shownName)' not remembered in '\(path)': "
                    + error.localizedDescription)
        }
    }

    private func write(_ entries: [String: Entry]) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        // No secret: it is not to be changed by others, which the folder's owner sees to.
        try encoder.encode(entries).write(to: URL(filePath: path), options: .atomic)
    }

    /// - Returns: what is to be remembered; nil where that is no change.
    private func known(with node: ToldNode, isCompared: Bool) throws -> [String: Entry]? {
        var known = try known()
        let old = known[node.id.description]
        // A name that only the coordinator says must not come to stand beside a key that a person compared.
        let told = isCompared ? old.flatMap { $0.isCompared ? $0.name : nil } ?? "" : node.name
        let entry = Entry(
            name: node.askedName ?? told, fingerprint: node.key.id.description, isCompared: isCompared)
        let before = known
        known[node.id.description] = entry
        // The name is that of this one from now on: another one that had it is asked about again.
        if isCompared, let asked = node.askedName {
            for (id, other) in known where id != node.id.description && other.name == asked { known[id]?.name = "" }
        }
        return known == before ? nil : known
    }

    private func known() throws -> [String: Entry] {
        guard FileManager.default.fileExists(atPath: path) else { return [:] }
        // One that cannot be read must not count as empty.
        guard let json = FileManager.default.contents(atPath: path) else { throw KnownNodesDamaged(path: path) }
        // Where it is another format, that is tried next.
        if let entries = try? JSONDecoder().decode([String: Entry].self, from: json) { return entries }
        do {
            // As the first version wrote it: what was compared, by id; the name that was typed was not kept.
            return try JSONDecoder().decode([String: String].self, from: json)
                .mapValues { Entry(name: "", fingerprint: $0, isCompared: true) }
        } catch {
            throw KnownNodesDamaged(path: path)
        }
    }
}

private struct NodeNotKnown: ActionableError {
    let node: ToldNode
    var summary: String { "nobody has compared the fingerprint of node '\(node.shownName)' yet" }
    var hint: String {
        "Run 'muster agent show --dir DIR' on that node and give what it prints with --fingerprint. "
            + "The coordinator says \(node.key.id)."
    }
    var isTransient: Bool { false }
}

private struct FingerprintDiffers: ActionableError {
    let node: ToldNode
    var given: String?
    var remembered: String?
    var summary: String {
        if let given {
            return "node '\(node.shownName)' has fingerprint \(node.key.id), by what is stored of it, not \(given)"
        }
        return "node '\(node.shownName)' has another signing key than before: fingerprint \(node.key.id), not "
            + (remembered ?? "")
    }
    var hint: String {
        "Find out on the node, with 'muster agent show --dir DIR', which one is right. If it is not the coordinator's, "
            + "the coordinator is not to be trusted."
    }
    var isTransient: Bool { false }
}

private struct SourceNameTaken: ActionableError {
    let node: ToldNode
    var summary: String { "node \(node.id) as '\(node.shownName)' does not fit what was known of the two before" }
    var hint: String {
        "If a node was renamed or joined anew, give its fingerprint with --source-fingerprint; the coordinator says "
            + "\(node.key.id)."
    }
    var isTransient: Bool { false }
}

private struct KnownNodesDamaged: ActionableError {
    let path: String
    var summary: String { "'\(path)' does not hold the fingerprints of known nodes" }
    var hint: String { "Move it away, and compare the fingerprints again." }
    var isTransient: Bool { false }
}
