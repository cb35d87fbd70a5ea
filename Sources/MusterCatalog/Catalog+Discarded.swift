import GRDB
package import MusterModel

/// Objects that nothing refers to any more, by their exact names.
extension Catalog {
    package struct DiscardedObject: Hashable, Sendable {
        package let number: Int64
        package let store: Int64
        package let object: String
        package let byteCount: Int64

        package init(number: Int64, store: Int64, object: String, byteCount: Int64) {
            (self.number, self.store, self.object, self.byteCount) = (number, store, object, byteCount)
        }
    }

    /// An object that was put before the catalog was told of it.
    package struct PutObject: Hashable, Sendable {
        /// What would refer to it.
        package enum Subject: Hashable, Sendable {
            case pack(PackID)
            /// A snapshot's manifest or receipt.
            case snapshot(SnapshotID)
            case keys(NodeID)
        }

        package let subject: Subject
        package let store: Int64
        package let object: String
        package let generation: String
        package let byteCount: Int64
        /// False where the store did not say how the put ended: the object may be there, or come yet.
        package let isThere: Bool

        package init(
            _ subject: Subject, store: Int64, object: String, generation: String, byteCount: Int64, isThere: Bool
        ) {
            (self.subject, self.store, self.object) = (subject, store, object)
            (self.generation, self.byteCount, self.isThere) = (generation, byteCount, isThere)
        }
    }

    /// Notes those of these objects that nothing refers to, so that gc deletes them. What the catalog has taken up stays,
    /// whatever the caller believes.
    package func discardUnreferenced(_ objects: [PutObject], now: Timestamp) async throws(CatalogError) {
        try await write { database in
            for object in objects where try !Self.refers(to: object, database) {
                try Self.discard(
                    object.object, in: object.store, byteCount: object.byteCount,
                    notBefore: object.isThere ? now : now + Self.replacedObjectStays, reason: "never recorded", database
                )
            }
        }
    }

    private static func refers(to object: PutObject, _ database: GRDB.Database) throws -> Bool {
        let row =
            switch object.subject {
            case .pack(let id):
                try database.row(
                    """
                    SELECT 1 FROM pack p JOIN pack_replica r ON r.pack = p.number
                    WHERE p.id = ? AND r.store = ? AND r.generation = ?
                    """, [id.blob, object.store, object.generation])
            case .snapshot(let id):
                try database.row(
                    """
                    SELECT 1 FROM snapshot s JOIN manifest_replica r ON r.snapshot = s.number
                    WHERE s.id = ? AND r.store = ? AND ? IN (r.generation, r.receipt_generation)
                    """, [id.blob, object.store, object.generation])
            case .keys(let node):
                try database.row(
                    """
                    SELECT 1 FROM key_replica WHERE node = ?1 AND store = ?2 AND object = ?3
                    UNION ALL SELECT 1 FROM node WHERE id = ?1 AND key_object = ?3
                    """, [node.blob, object.store, object.object])
            }
        return row != nil
    }

    /// A reader may be in the middle of a copy that a better one replaced.
    static let replacedObjectStays = Duration.seconds(3600)
    /// A bad copy is kept for a look at what befell it.
    static let badObjectStays = Duration.seconds(7 * 86_400)

    /// Stores that have objects to delete now.
    package func storesWithDiscarded(now: Timestamp) async throws(CatalogError) -> [Int64] {
        try await read { database in
            try database.rows(Self.discardingStoresQuery, [now.microseconds]).map { $0["number"] }
        }
    }

    /// Objects of a store that may be deleted, oldest first.
    package func discardedObjects(
        in store: Int64, limit: Int, now: Timestamp
    ) async throws(CatalogError) -> [DiscardedObject] {
        try await read { database in
            try database.rows(Self.discardedQuery, [store, now.microseconds, limit]).map {
                DiscardedObject(
                    number: $0["number"], store: $0["store"], object: $0["object"], byteCount: $0["byte_count"])
            }
        }
    }

    /// Notes that these are gone from their store.
    package func removeDiscarded(_ objects: [DiscardedObject]) async throws(CatalogError) {
        try await write { database in
            for object in objects {
                try database.run("DELETE FROM discarded_object WHERE number = ?", [object.number])
            }
        }
    }

    /// Notes that this one could not be deleted: it is tried again later and later.
    package func putOff(
        _ object: DiscardedObject, because reason: String, now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            let tried: Int64? = try database.value(
                "SELECT attempts FROM discarded_object WHERE number = ?", [object.number])
            let pause = min(Self.firstDelay * (1 << min(tried ?? 0, 16)), Self.longestDelay)
            try database.run(
                "UPDATE discarded_object SET attempts = attempts + 1, failure = ?, not_before = ? WHERE number = ?",
                [reason, (now + pause).microseconds, object.number])
        }
    }

    /// What cannot be deleted in a store, and why not.
    package struct Undeletable: Hashable, Sendable {
        package let store: Int64
        package let count: Int
        package let reason: String
    }

    package func undeletable() async throws(CatalogError) -> [Undeletable] {
        try await read { database in
            try database.rows(Self.undeletableQuery, []).map {
                Undeletable(store: $0["store"], count: $0["count"], reason: $0["reason"])
            }
        }
    }

    /// How many objects wait to be deleted, whether their time has come or not.
    package func discardedCount() async throws(CatalogError) -> Int {
        try await read { try $0.value("SELECT count(*) FROM discarded_object", []) ?? 0 }
    }

    private static let firstDelay = Duration.seconds(60)
    private static let longestDelay = Duration.seconds(86_400)

    static let undeletableQuery = """
        SELECT store, count(*) AS count, min(failure) AS reason FROM discarded_object WHERE attempts > 0
        GROUP BY store ORDER BY store
        """
    static let discardingStoresQuery = """
        SELECT s.number FROM store s
        WHERE EXISTS (SELECT 1 FROM discarded_object d WHERE d.store = s.number AND d.not_before <= ?)
        ORDER BY s.number
        """
    static let discardedQuery = """
        SELECT * FROM discarded_object WHERE store = ? AND not_before <= ? ORDER BY not_before LIMIT ?
        """
}
