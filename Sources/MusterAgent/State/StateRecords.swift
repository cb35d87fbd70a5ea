import Foundation
import GRDB
import MusterEngine
package import MusterFormat
package import MusterModel

/// The newest acknowledged snapshot of one database.
package struct LineageHead: Equatable, Sendable {
    package let lineage: LineageID
    package let sequence: UInt64
    package let snapshot: SnapshotID
    package let manifestHash: ManifestHash
    /// Which file it was: device, inode and page size. Another one opens a new lineage.
    package let identity: String
    /// What the file looked like when the capture began; "" where that proves nothing.
    package let fingerprint: String
    package let capturedAt: Timestamp
    package let receivedAt: Timestamp
    /// False where only the coordinator knows which packs it needs.
    package let arePacksKnown: Bool
}

/// A signed manifest that no receipt has answered yet, with the small packs that travel beside it.
package struct PendingCommit: Equatable, Sendable {
    package let database: DatabaseID
    package let lineage: LineageID
    package let sequence: UInt64
    package let snapshot: SnapshotID
    package let manifest: [UInt8]
    package let manifestHash: ManifestHash
    package let inlinePacks: [[UInt8]]
    /// Since the parent.
    package let packs: PackChanges
    package let identity: String
    package let fingerprint: String
    package let capturedAt: Timestamp

    package init(
        database: DatabaseID, lineage: LineageID, sequence: UInt64, snapshot: SnapshotID, manifest: [UInt8],
        manifestHash: ManifestHash, inlinePacks: [[UInt8]], packs: PackChanges, identity: String, fingerprint: String,
        capturedAt: Timestamp
    ) {
        (self.database, self.lineage, self.sequence, self.snapshot) = (database, lineage, sequence, snapshot)
        (self.manifest, self.manifestHash) = (manifest, manifestHash)
        (self.inlinePacks, self.packs) = (inlinePacks, packs)
        (self.identity, self.fingerprint, self.capturedAt) = (identity, fingerprint, capturedAt)
    }
}

/// How the last try at a snapshot ended.
package struct Attempt: Equatable, Sendable {
    package let at: Timestamp
    /// 0 after a success.
    package let failuresInARow: Int
    package let errorSummary: String
    package let errorHint: String
}

/// `state.db` holds something this version did not write.
package struct DamagedState: ActionableError {
    package let what: String

    init(column: String) { what = "column '\(column)' does not parse" }

    /// - Returns: nil where the error says nothing about the file's content.
    init?(_ error: any Error) {
        guard let error = error as? DatabaseError,
            [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.extendedResultCode.primaryResultCode)
        else { return nil }
        what = "SQLite finds it so (code \(error.extendedResultCode.rawValue))"
    }

    package var summary: String { "the agent's state.db is damaged: \(what)" }
    package var hint: String {
        "Stop the agent, move state.db, state.db-wal and state.db-shm away and start it again: the next snapshots are full "
            + "ones. Databases that a pattern found may begin under new ids; what is stored of them stays."
    }
    package var isTransient: Bool { false }

    /// Does `body`; an error that speaks of the file's content is told as this one.
    static func told<Success>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Success
    ) async throws -> Success {
        do { return try await body() } catch { throw DamagedState(error) ?? error }
    }
}

extension LineageHead {
    init(row: Row) throws {
        lineage = try row.identifier("lineage")
        sequence = UInt64(clamping: row["sequence"] as Int64)
        snapshot = try row.identifier("snapshot")
        manifestHash = try row.digest("manifest_hash")
        identity = row["identity"]
        fingerprint = row["fingerprint"]
        capturedAt = Timestamp(microseconds: row["captured_at"])
        receivedAt = Timestamp(microseconds: row["received_at"])
        arePacksKnown = row["packs_known"]
    }
}

extension PendingCommit {
    init(row: Row, inlinePacks: [[UInt8]]) throws {
        database = try row.identifier("database")
        lineage = try row.identifier("lineage")
        sequence = UInt64(clamping: row["sequence"] as Int64)
        snapshot = try row.identifier("snapshot")
        manifest = [UInt8](row["manifest"] as Data)
        manifestHash = try row.digest("manifest_hash")
        self.inlinePacks = inlinePacks
        packs = PackChanges(
            added: try PackID.set(blob: row["packs_added"]), dropped: try PackID.set(blob: row["packs_dropped"]))
        identity = row["identity"]
        fingerprint = row["fingerprint"]
        capturedAt = Timestamp(microseconds: row["captured_at"])
    }
}

extension ForkOrigin {
    init(row: Row) throws {
        self.init(
            lineage: try row.identifier("lineage"),
            head: Ancestor(snapshot: try row.identifier("snapshot"), manifestHash: try row.digest("manifest_hash")))
    }
}

extension Attempt {
    init(row: Row) {
        self.init(
            at: Timestamp(microseconds: row["at"]), failuresInARow: row["failures"], errorSummary: row["error_summary"],
            errorHint: row["error_hint"])
    }
}

extension Row {
    func identifier<Kind>(_ column: String) throws -> Identifier<Kind> {
        guard let id = Identifier<Kind>(bytes: [UInt8](self[column] as Data)) else {
            throw DamagedState(column: column)
        }
        return id
    }

    func digest<Kind>(_ column: String) throws -> Digest<Kind> {
        guard let digest = Digest<Kind>(bytes: [UInt8](self[column] as Data)) else {
            throw DamagedState(column: column)
        }
        return digest
    }
}

extension Identifier {
    var blob: Data { Data(bytes) }
}

extension Digest {
    var blob: Data { Data(bytes) }
}

extension Set where Element == PackID {
    /// 32 bytes each, ascending.
    var blob: Data { Data(sorted().flatMap(\.bytes)) }
}

extension Digest where Kind == PackKind {
    fileprivate static func set(blob: Data) throws -> Set<PackID> {
        guard blob.count.isMultiple(of: byteCount) else { throw DamagedState(column: "packs") }
        let bytes = [UInt8](blob)
        return Set(
            stride(from: 0, to: bytes.count, by: byteCount).compactMap { PackID(bytes: bytes[$0..<$0 + byteCount]) })
    }
}
