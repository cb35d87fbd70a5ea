package import MusterModel

/// Which snapshots a list shows; "" and 0 mean any.
package struct SnapshotFilter: Sendable {
    package var node = ""
    package var database = ""
    /// `key=value`.
    package var label = ""
    /// Only members of this one.
    package var fleetSnapshot = ""
    /// RFC 3339, by receipt time.
    package var since = ""
    package var until = ""
    /// RFC 3339, with a database: only the newest whose state is of that time or an earlier one.
    package var at = ""
    /// Only snapshots that need this pack.
    package var pack = ""
    /// Those that were given up, and no others.
    package var isExpired = false
    package var limit = 0
    package var after = ""

    package init() {}

    fileprivate var query: [(String, String)] {
        [
            ("node", node), ("database", database), ("label", label), ("fleet_snapshot", fleetSnapshot),
            ("since", since), ("until", until),
            ("at", at), ("expired", isExpired ? "true" : ""), ("pack", pack),
            ("limit", limit == 0 ? "" : String(limit)), ("after", after),
        ]
    }
}

/// Both planes: a node sees its own, an admin everything.
extension CoordinatorClient {
    /// The largest manifest that the format allows.
    private static let manifestLimit = 64 << 20

    package func snapshots(_ filter: SnapshotFilter) async throws(CoordinatorError) -> Muster_V1_SnapshotList {
        try await get("/v1/snapshots", filter.query)
    }

    /// - Parameter id: the whole id, or an unambiguous prefix of 6 digits or more.
    package func snapshot(_ id: String) async throws(CoordinatorError) -> Muster_V1_Snapshot {
        try await get("/v1/snapshots/\(escaped(id))")
    }

    /// - Parameters:
    ///   - refused: stores whose replica was read and found wanting: they are asked last, and looked at.
    ///   - grant: of an open restore, under which a node reads what is another's.
    package func manifest(
        of snapshot: SnapshotID, after refused: Set<String> = [], grant: GrantID? = nil
    ) async throws(CoordinatorError) -> StoredBytes {
        try await bytes(
            "/v1/snapshots/\(snapshot)/manifest" + queryText(ReplicaWords.query(refused, grant)),
            limit: Self.manifestLimit)
    }

    /// The parameters are those of a manifest.
    package func bytes(
        of pack: PackID, in range: Range<UInt64>, after refused: Set<String> = [], grant: GrantID? = nil
    ) async throws(CoordinatorError) -> StoredBytes {
        try await bytes(
            "/v1/packs/\(pack)" + queryText(ReplicaWords.query(refused, grant)), range: range, limit: range.count)
    }

    package func keyRecord(of node: NodeID) async throws(CoordinatorError) -> [UInt8] {
        try await bytes("/v1/nodes/\(node)/keys", limit: 1 << 20).bytes
    }
}

/// Bytes of a stored object, and what the answer tells of its replicas.
package struct StoredBytes: Sendable {
    package let bytes: [UInt8]
    /// That they are from; "" where the coordinator does not tell.
    package let store: String
    /// Stores that should have given them, and could not.
    package let passedOver: Set<String>
}

/// How a reader and the coordinator speak of an object's replicas.
package enum ReplicaWords {
    /// The header that names the store which the bytes of an answer are from.
    package static let storeHeader = "muster-store"
    /// The header that names, with commas between, stores that should have given the bytes and could not.
    package static let passedOverHeader = "muster-passed-over"
    /// The query's item that names, with commas between, stores whose replica the reader has refused.
    package static let refused = "refused"

    static func query(_ stores: Set<String>, _ grant: GrantID?) -> [(String, String)] {
        [("grant", grant?.description ?? ""), (refused, stores.sorted().joined(separator: ","))]
    }

    /// Those that a query's item names, as far as there may be so many stores.
    package static func stores(_ item: String?) -> Set<String> {
        Set((item ?? "").split(separator: ",").prefix(64).map(String.init))
    }
}
