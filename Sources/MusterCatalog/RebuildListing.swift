import Foundation
import GRDB
package import MusterModel

/// What the stores hold, as a rebuild listed it: names by snapshot and by pack, in a file of its own.
///
/// A fleet has more objects than fit in memory, and they are asked for in another order than they are listed in. The
/// file is work under way and nothing else: it is not made durable, and it goes when the rebuild has ended.
package struct RebuildListing: Sendable {
    /// Where a snapshot stands, as the names of its objects say.
    package struct Place: Hashable, Sendable {
        package let snapshot: SnapshotID
        package let database: DatabaseID
        package let lineage: LineageID
        package let sequence: UInt64

        package init(snapshot: SnapshotID, database: DatabaseID, lineage: LineageID, sequence: UInt64) {
            (self.snapshot, self.database) = (snapshot, database)
            (self.lineage, self.sequence) = (lineage, sequence)
        }
    }

    package enum Kind: Int, Sendable { case manifest, receipt }

    package struct Copy: Hashable, Sendable {
        package let store: Int64
        package let generation: String
        package let byteCount: Int64

        package init(store: Int64, generation: String, byteCount: Int64) {
            (self.store, self.generation, self.byteCount) = (store, generation, byteCount)
        }
    }

    /// A snapshot that has a receipt, with what the receipt says.
    package struct Acknowledged: Sendable {
        package let place: Place
        package let receivedAt: Timestamp
        package let epoch: UInt64
        package let manifest: ManifestHash
        package let receipt: [UInt8]

        package init(
            place: Place, receivedAt: Timestamp, epoch: UInt64, manifest: ManifestHash, receipt: [UInt8]
        ) {
            (self.place, self.receivedAt, self.epoch) = (place, receivedAt, epoch)
            (self.manifest, self.receipt) = (manifest, receipt)
        }
    }

    package struct Counts: Hashable, Sendable {
        package let packs: Int
        package let manifests: Int
        package let receipts: Int
    }

    /// Copies of packs that were not taken up.
    package struct Unreferenced: Hashable, Sendable {
        package let copies: Int
        package let bytes: Int64
    }

    private let queue: DatabaseQueue

    package init(path: String) throws(CatalogError) {
        var configuration = Configuration()
        configuration.label = "muster-rebuild"
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.writeWithoutTransaction { try $0.execute(sql: Self.schema) }
        } catch {
            throw CatalogError(error)
        }
    }

    package func close() throws(CatalogError) {
        do { try queue.close() } catch { throw CatalogError(error) }
    }

    private static let schema = """
        CREATE TABLE pack(
            id BLOB NOT NULL, store INTEGER NOT NULL, generation TEXT NOT NULL, byte_count INTEGER NOT NULL,
            PRIMARY KEY (id, store, generation)) STRICT, WITHOUT ROWID;
        CREATE TABLE referred(
            id BLOB NOT NULL, store INTEGER NOT NULL, generation TEXT NOT NULL,
            PRIMARY KEY (id, store, generation)) STRICT, WITHOUT ROWID;
        CREATE TABLE object(
            snapshot BLOB NOT NULL, database BLOB NOT NULL, lineage BLOB NOT NULL, sequence INTEGER NOT NULL,
            kind INTEGER NOT NULL, store INTEGER NOT NULL, generation TEXT NOT NULL, byte_count INTEGER NOT NULL,
            PRIMARY KEY (snapshot, database, lineage, sequence, kind, store, generation)) STRICT, WITHOUT ROWID;
        CREATE TABLE acknowledged(
            snapshot BLOB NOT NULL PRIMARY KEY, database BLOB NOT NULL, lineage BLOB NOT NULL,
            sequence INTEGER NOT NULL, received_at INTEGER NOT NULL, epoch INTEGER NOT NULL, manifest BLOB NOT NULL,
            receipt BLOB NOT NULL) STRICT;
        CREATE TABLE turn(number INTEGER PRIMARY KEY, snapshot BLOB NOT NULL) STRICT;
        CREATE INDEX acknowledged_by_lineage ON acknowledged(lineage, sequence);
        """

    // MARK: - What was listed

    package func add(packs: [(id: PackID, copy: Copy)]) async throws(CatalogError) {
        try await write { database in
            for (id, copy) in packs {
                try database.run(
                    "INSERT OR IGNORE INTO pack VALUES (?, ?, ?, ?)",
                    [id.blob, copy.store, copy.generation, copy.byteCount])
            }
        }
    }

    package func add(_ kind: Kind, _ objects: [(place: Place, copy: Copy)]) async throws(CatalogError) {
        try await write { database in
            for (place, copy) in objects {
                try database.run(
                    "INSERT OR IGNORE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        place.snapshot.blob, place.database.blob, place.lineage.blob, Int64(place.sequence),
                        kind.rawValue, copy.store, copy.generation, copy.byteCount,
                    ])
            }
        }
    }

    /// Notes which copies the catalog has.
    package func refer(to packs: [Catalog.PackEntry]) async throws(CatalogError) {
        try await write { database in
            for pack in packs {
                for replica in pack.replicas {
                    try database.run(
                        "INSERT OR IGNORE INTO referred VALUES (?, ?, ?)",
                        [pack.id.blob, replica.store, replica.generation])
                }
            }
        }
    }

    /// What was listed and nobody referred to.
    package func unreferenced() async throws(CatalogError) -> Unreferenced {
        try await read { database in
            let row = try database.row(
                """
                SELECT count(*) AS copies, coalesce(sum(byte_count), 0) AS bytes FROM pack p
                WHERE NOT EXISTS (SELECT 1 FROM referred r
                    WHERE r.id = p.id AND r.store = p.store AND r.generation = p.generation)
                """, [])
            return Unreferenced(copies: row?["copies"] ?? 0, bytes: row?["bytes"] ?? 0)
        }
    }

    package func counts() async throws(CatalogError) -> Counts {
        try await read { database in
            func count(_ sql: String) throws -> Int { try Int.fetchOne(database, sql: sql) ?? 0 }
            return Counts(
                packs: try count("SELECT count(*) FROM (SELECT DISTINCT id FROM pack)"),
                manifests: try count("SELECT count(*) FROM (SELECT DISTINCT snapshot FROM object WHERE kind = 0)"),
                receipts: try count("SELECT count(*) FROM (SELECT DISTINCT snapshot FROM object WHERE kind = 1)"))
        }
    }

    package func copies(of pack: PackID) async throws(CatalogError) -> [Copy] {
        try await read { database in
            try database.rows("SELECT * FROM pack WHERE id = ? ORDER BY store, generation", [pack.blob])
                .map(Self.copy)
        }
    }

    package func copies(_ kind: Kind, of place: Place) async throws(CatalogError) -> [Copy] {
        try await read { database in
            try database.rows(
                """
                SELECT * FROM object WHERE snapshot = ? AND database = ? AND lineage = ? AND sequence = ?
                    AND kind = ? ORDER BY store, generation
                """,
                [
                    place.snapshot.blob, place.database.blob, place.lineage.blob, Int64(place.sequence),
                    kind.rawValue,
                ]
            ).map(Self.copy)
        }
    }

    /// Takes out a copy that was found bad: it is no replica.
    package func remove(_ kind: Kind, of place: Place, _ copy: Copy) async throws(CatalogError) {
        try await write { database in
            try database.run(
                """
                DELETE FROM object WHERE snapshot = ? AND database = ? AND lineage = ? AND sequence = ?
                    AND kind = ? AND store = ? AND generation = ?
                """,
                [
                    place.snapshot.blob, place.database.blob, place.lineage.blob, Int64(place.sequence),
                    kind.rawValue, copy.store, copy.generation,
                ])
        }
    }

    /// Every copy of a snapshot's manifest, wherever its names say that it stands.
    package func manifests(of snapshot: SnapshotID) async throws(CatalogError) -> [(place: Place, copy: Copy)] {
        try await read { database in
            try database.rows(
                "SELECT * FROM object WHERE snapshot = ? AND kind = 0 ORDER BY store, generation LIMIT 64",
                [snapshot.blob]
            ).map { (try Self.place($0), Self.copy($0)) }
        }
    }

    /// Places with a receipt under them, in an order of their own.
    ///
    /// - Parameter last: the last one of the page before.
    package func receipted(after last: Place?, limit: Int) async throws(CatalogError) -> [Place] {
        try await read { database in
            try database.rows(
                """
                SELECT DISTINCT snapshot, database, lineage, sequence FROM object
                WHERE kind = 1 AND (snapshot, database, lineage, sequence) > (?, ?, ?, ?)
                ORDER BY snapshot, database, lineage, sequence LIMIT ?
                """,
                [
                    last?.snapshot.blob ?? Data(), last?.database.blob ?? Data(), last?.lineage.blob ?? Data(),
                    Int64(last?.sequence ?? 0), limit,
                ]
            ).map(Self.place)
        }
    }

    // MARK: - What the receipts say

    /// - Returns: those whose snapshot has another receipt already.
    package func add(acknowledged: [Acknowledged]) async throws(CatalogError) -> [Place] {
        try await write { database in
            var refused: [Place] = []
            for entry in acknowledged {
                try database.run(
                    "INSERT INTO acknowledged VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    [
                        entry.place.snapshot.blob, entry.place.database.blob, entry.place.lineage.blob,
                        Int64(entry.place.sequence), entry.receivedAt.microseconds, Int64(entry.epoch),
                        entry.manifest.blob, Data(entry.receipt),
                    ])
                if database.changesCount == 0 { refused.append(entry.place) }
            }
            return refused
        }
    }

    /// Puts the snapshots into the order in which they are put back: of their receipts, and never before one that is
    /// earlier in the same lineage, whatever the clock did.
    ///
    /// - Returns: those that stand where another one does: of two coordinators that went on beside each other, the
    ///   word of the newer one counts.
    package func arrange() async throws(CatalogError) -> [Place] {
        try await write { database in
            try database.execute(sql: Self.arrangement)
            return try database.rows("SELECT * FROM acknowledged a WHERE \(Self.contested) LIMIT 10000", [])
                .map(Self.place)
        }
    }

    /// In their order, from the first on.
    package func acknowledged(
        after turn: Int64, limit: Int
    ) async throws(CatalogError) -> [(turn: Int64, entry: Acknowledged)] {
        try await read { database in
            try database.rows(
                """
                SELECT t.number, a.* FROM turn t JOIN acknowledged a ON a.snapshot = t.snapshot
                WHERE t.number > ? ORDER BY t.number LIMIT ?
                """, [turn, limit]
            ).map { ($0["number"], try Self.acknowledged($0)) }
        }
    }

    private static let contested = """
        EXISTS (SELECT 1 FROM acknowledged b WHERE b.lineage = a.lineage AND b.sequence = a.sequence
            AND (b.epoch, b.received_at, b.snapshot) > (a.epoch, a.received_at, a.snapshot))
        """
    private static let arrangement = """
        DELETE FROM turn;
        INSERT INTO turn(snapshot) SELECT snapshot FROM (
            SELECT a.snapshot, a.lineage, a.sequence,
                max(a.received_at) OVER (PARTITION BY a.lineage ORDER BY a.sequence) AS moment
            FROM acknowledged a WHERE NOT \(contested))
        ORDER BY moment, lineage, sequence;
        """

    // MARK: - Rows

    private static func place(_ row: Row) throws -> Place {
        let sequence: Int64 = row["sequence"]
        return Place(
            snapshot: try row.identifier("snapshot"), database: try row.identifier("database"),
            lineage: try row.identifier("lineage"), sequence: UInt64(sequence))
    }

    private static func copy(_ row: Row) -> Copy {
        Copy(store: row["store"], generation: row["generation"], byteCount: row["byte_count"])
    }

    private static func acknowledged(_ row: Row) throws -> Acknowledged {
        let epoch: Int64 = row["epoch"]
        return Acknowledged(
            place: try place(row), receivedAt: row.time("received_at"), epoch: UInt64(epoch),
            manifest: try row.digest("manifest"), receipt: row.byteArray("receipt"))
    }

    private func write<Value: Sendable>(
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        do { return try await queue.write(body) } catch { throw CatalogError(error) }
    }

    private func read<Value: Sendable>(
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        do { return try await queue.read(body) } catch { throw CatalogError(error) }
    }
}
