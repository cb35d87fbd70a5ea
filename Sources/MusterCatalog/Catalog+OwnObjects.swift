import GRDB
package import MusterModel

/// What the coordinator keeps of itself in the stores, and which of it may go.
///
/// That follows from what is noted here alone. What a store lists, or what reads well in it today, decides nothing: the
/// newest backup may read badly once, and is needed all the same.
extension Catalog {
    package enum OwnKind: String, Sendable { case state, backup, pack }

    package struct OwnObject: Hashable, Sendable {
        package let store: Int64
        /// Names of states and of backups sort as their age does.
        package let object: String
        package let kind: OwnKind
        /// Of a pack.
        package let pack: PackID?
        package let byteCount: Int64

        package init(store: Int64, object: String, kind: OwnKind, pack: PackID? = nil, byteCount: Int) {
            (self.store, self.object, self.kind) = (store, object, kind)
            (self.pack, self.byteCount) = (pack, Int64(byteCount))
        }
    }

    /// Notes an object that is about to be put.
    package func begin(_ own: OwnObject) async throws(CatalogError) {
        try await write { database in try Self.insert(own, isAdopted: false, into: database) }
    }

    /// Notes that it is there.
    package func complete(_ own: OwnObject) async throws(CatalogError) {
        try await write { database in try Self.complete(own, in: database) }
    }

    /// Notes that a backup of the catalog is there, and which packs it needs.
    package func complete(_ backup: OwnObject, needing packs: [PackID]) async throws(CatalogError) {
        try await write { database in
            for pack in packs {
                try database.run(
                    "INSERT INTO backup_pack(backup, pack) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    [backup.object, pack.blob])
            }
            try Self.complete(backup, in: database)
        }
    }

    /// Compares the notes with what a store lists: what it lacks is not there, and what nobody noted is taken up.
    package func adopt(_ listed: [OwnObject], in store: Int64) async throws(CatalogError) {
        try await write { database in
            let names = Set(listed.map(\.object))
            let noted: [String] = try database.rows(
                "SELECT object FROM own_object WHERE store = ? AND is_whole", [store]
            ).map { $0["object"] }
            for object in noted where !names.contains(object) {
                try database.run(
                    "UPDATE own_object SET is_whole = 0 WHERE store = ? AND object = ?", [store, object])
            }
            for own in listed { try Self.insert(own, isAdopted: true, into: database) }
        }
    }

    /// The newest state or backup that this very catalog noted in a store; nil before there is one.
    package func newestOwn(_ kind: OwnKind, in store: Int64) async throws(CatalogError) -> OwnObject? {
        try await read { database in
            try database.row(Self.newestOwnQuery, [store, kind.rawValue]).map { row in
                let byteCount: Int64 = row["byte_count"]
                return OwnObject(store: store, object: row["object"], kind: kind, byteCount: Int(byteCount))
            }
        }
    }

    /// Strikes out an object that is not there, or not what was put: it counts for nothing, and gc deletes what is under
    /// its name, if anything is. What takes its place has another name.
    package func strikeOut(_ own: OwnObject, notBefore: Timestamp) async throws(CatalogError) {
        try await write { database in
            try Self.discard(
                own.object, in: own.store, byteCount: own.byteCount, notBefore: notBefore, reason: "damaged", database)
            try database.run("DELETE FROM own_object WHERE store = ? AND object = ?", [own.store, own.object])
        }
    }

    /// Packs in a store that the newest of its backups need.
    package func packs(
        ofNewest limit: Int, backupsIn store: Int64
    ) async throws(CatalogError) -> [(id: PackID, own: OwnObject)] {
        try await read { database in
            try database.rows(Self.backupPacksQuery, [store, limit]).map { row in
                let id: PackID = try row.digest("pack")
                let byteCount: Int64 = row["byte_count"]
                return (
                    id,
                    OwnObject(
                        store: store, object: row["object"], kind: .pack, pack: id, byteCount: Int(byteCount))
                )
            }
        }
    }

    /// Gives up states that are older than the newest ones.
    package func discardStates(keeping count: Int, in store: Int64, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            let kept = try Self.newest(.state, count, in: store, database)
            guard kept.count == count, let oldest = kept.last else { return }
            try Self.giveUp(
                "kind = 'state' AND object < ?", [oldest], in: store, notBefore: now,
                reason: "an older state of the fleet", database)
        }
    }

    /// Gives up backups that are older than the newest ones, and packs that those do not need.
    package func discardBackups(
        keeping count: Int, in store: Int64, notBefore: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            let kept = try Self.newest(.backup, count, in: store, database)
            guard kept.count == count, let oldest = kept.last else { return }
            let reason = "an older backup of the catalog"
            try Self.giveUp(
                "kind = 'backup' AND object < ?", [oldest], in: store, notBefore: notBefore, reason: reason, database)
            try Self.giveUp(
                Self.unneededPack, [oldest, store, oldest], in: store, notBefore: notBefore, reason: reason, database)
            try database.run(
                "DELETE FROM backup_pack WHERE backup NOT IN (SELECT object FROM own_object WHERE kind = 'backup')", [])
        }
    }

    private static let unneededPack = """
        kind = 'pack' AND pack NOT IN (SELECT pack FROM backup_pack WHERE backup >= ?)
        AND (NOT is_adopted OR NOT EXISTS (SELECT 1 FROM own_object b
            WHERE b.store = ? AND b.kind = 'backup' AND b.object >= ? AND b.is_adopted))
        """
    static let newestOwnQuery = """
        SELECT object, byte_count FROM own_object WHERE store = ? AND kind = ? AND is_whole AND NOT is_adopted
        ORDER BY object DESC LIMIT 1
        """
    static let backupPacksQuery = """
        SELECT o.* FROM own_object o WHERE o.store = ?1 AND o.kind = 'pack' AND o.is_whole
            AND o.pack IN (SELECT p.pack FROM backup_pack p WHERE p.backup IN (
                SELECT b.object FROM own_object b WHERE b.store = ?1 AND b.kind = 'backup' AND b.is_whole
                ORDER BY b.object DESC LIMIT ?2))
        ORDER BY o.object
        """

    private static func insert(_ own: OwnObject, isAdopted: Bool, into database: GRDB.Database) throws {
        // Which chunks are in an adopted pack nobody asked yet: it counts for nothing but its deletion.
        let isWhole = isAdopted && own.kind != .pack
        try database.run(
            """
            INSERT INTO own_object(store, object, kind, pack, byte_count, is_whole, is_adopted)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
            WHERE NOT EXISTS (SELECT 1 FROM discarded_object WHERE store = ?1 AND object = ?2)
            ON CONFLICT DO NOTHING
            """,
            [own.store, own.object, own.kind.rawValue, own.pack?.blob, own.byteCount, isWhole, isAdopted])
    }

    private static func complete(_ own: OwnObject, in database: GRDB.Database) throws {
        try database.run(
            "UPDATE own_object SET is_whole = 1 WHERE store = ? AND object = ?", [own.store, own.object])
    }

    private static func newest(
        _ kind: OwnKind, _ count: Int, in store: Int64, _ database: GRDB.Database
    ) throws -> [String] {
        try database.rows(
            """
            SELECT object FROM own_object WHERE store = ? AND kind = ? AND is_whole ORDER BY object DESC LIMIT ?
            """, [store, kind.rawValue, count]
        ).map { $0["object"] }
    }

    private static func giveUp(
        _ condition: String, _ arguments: StatementArguments, in store: Int64, notBefore: Timestamp, reason: String,
        _ database: GRDB.Database
    ) throws {
        for row in try database.rows(
            "SELECT number, object, byte_count FROM own_object WHERE \(condition) AND store = ?",
            arguments + [store])
        {
            try discard(
                row["object"], in: store, byteCount: row["byte_count"], notBefore: notBefore, reason: reason, database)
            let number: Int64 = row["number"]
            try database.run("DELETE FROM own_object WHERE number = ?", [number])
        }
    }
}
