import MusterFormat
import MusterModel
import Synchronization

/// What the newest capture of each database showed besides its pages; known only since this agent was started.
final class SourceMarks: Sendable {
    struct Mark: Hashable {
        /// The release of SQLite that wrote the source last; 0 where its header does not say.
        var writerVersion: UInt32 = 0
        /// "" where it is not known.
        var journalMode = ""
        /// Another one after each change of the schema. It is made with a key that never leaves the node, so that
        /// equal schemas of two scopes do not show, and no schema can be guessed.
        var schema: [UInt8] = []
    }

    private static let markBytes = 16

    private let marks = Mutex<[DatabaseID: Mark]>([:])
    private let key: [UInt8]

    init(_ identity: NodeIdentity) {
        key = KeyDerivation.hkdf(
            secret: identity.secret.bytes, salt: identity.scope.bytes, purpose: "muster/1/schema-mark")
    }

    subscript(database: DatabaseID) -> Mark { marks.withLock { $0[database] ?? Mark() } }

    func note(writerVersion: UInt32, journalMode: String, schemaHash: [UInt8], of database: DatabaseID) {
        let mark = KeyDerivation.hmac(key: key, message: database.bytes + schemaHash).prefix(Self.markBytes)
        let seen = Mark(writerVersion: writerVersion, journalMode: journalMode, schema: Array(mark))
        marks.withLock { $0[database] = seen }
    }

    func forgetAllBut(_ databases: [ProtectedDatabase]) {
        marks.withLock { marks in
            guard marks.count > databases.count else { return }
            let current = Set(databases.map(\.id))
            marks = marks.filter { current.contains($0.key) }
        }
    }
}
