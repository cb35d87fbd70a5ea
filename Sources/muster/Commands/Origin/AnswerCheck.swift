import MusterAPI
import MusterFormat
import MusterModel

/// Holds an answer to what was asked for, and to the manifest that the node signed: a catalog that is wrong, or
/// somebody else's, must not choose what is restored.
struct AnswerCheck {
    var id: String?
    var node: String?
    var database: String?
    var until: Timestamp?

    /// - Parameter nodeName: from the node's own keys.
    func check(_ answer: Muster_V1_Snapshot, _ part: ManifestPublicPart, nodeName: String) throws {
        try compare(answer, "snapshot", asked: id, found: part.snapshot.description) { asked, found in
            found.hasPrefix(asked)
        }
        let nodeID = part.node.description
        try compare(answer, "node", asked: answer.nodeID, found: nodeID)
        try compare(answer, "node", asked: node, found: nodeName) { $0 == $1 || $0 == nodeID }
        try compare(answer, "node", asked: node, found: answer.node) { $0 == $1 || $0 == nodeID }
        let databaseID = part.database.description
        try compare(answer, "database", asked: answer.databaseID, found: databaseID)
        try compare(answer, "database", asked: database, found: part.databaseName) { $0 == $1 || $0 == databaseID }
        try compare(answer, "database", asked: database, found: answer.database) { $0 == $1 || $0 == databaseID }
        try compare(answer, "checksum", asked: answer.checksum, found: part.contentRoot.description)
        guard let until else { return }
        guard let received = Timestamp(answer.receivedAt), min(received, part.capturedEnd) <= until else {
            throw WrongAnswer(
                snapshot: answer.id, what: "time", asked: "at or before \(until)", found: part.capturedEnd.description)
        }
    }

    /// The rebuilt database is the one that was announced.
    static func check(_ answer: Muster_V1_Snapshot, rebuilt: ContentRoot) throws {
        guard rebuilt.description == answer.checksum else {
            throw WrongAnswer(
                snapshot: answer.id, what: "checksum", asked: answer.checksum, found: rebuilt.description)
        }
    }

    private func compare(
        _ answer: Muster_V1_Snapshot, _ what: String, asked: String?, found: String,
        isSame: (String, String) -> Bool = { $0 == $1 }
    ) throws {
        guard let asked, !isSame(asked, found) else { return }
        throw WrongAnswer(snapshot: answer.id, what: what, asked: asked, found: found)
    }
}

private struct WrongAnswer: ActionableError {
    let snapshot, what, asked, found: String
    var summary: String { "snapshot \(snapshot) is not the one asked for: its \(what) is '\(found)', not '\(asked)'" }
    var hint: String {
        "If the database was renamed, name the snapshot by its id; otherwise do not trust this catalog until you know why."
    }
    var isTransient: Bool { false }
}
