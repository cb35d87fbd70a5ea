import MusterAPI

/// Fields that every program may rely on stand here: names as in `api.proto`, always present, null where unknown.
struct SnapshotRow: Row {
    static let columns = ["id", "node", "database", "seq", "received", "size", "stored", "replicas", "verdict"]
    let id, node, database, lineage: String
    let sequence: UInt64
    let createdAt, receivedAt: String?
    let sizeBytes, storedBytes: UInt64
    let checksum: String
    let labels: [String: String]
    let replicas: [ReplicaRow]
    /// At least those that are named.
    let wantedReplicas: Int
    let verifiedAt, verdict: String?
    let forkedFrom: String?
    let expiredAt, expiredBy, graceUntil: String?
    let holds: [HoldRow]

    init(_ snapshot: Muster_V1_Snapshot) {
        (id, node, database, lineage) = (snapshot.id, snapshot.node, snapshot.database, snapshot.lineage)
        sequence = snapshot.sequence
        (createdAt, receivedAt) = (known(snapshot.createdAt), known(snapshot.receivedAt))
        (sizeBytes, storedBytes) = (snapshot.sizeBytes, snapshot.storedBytes)
        checksum = snapshot.checksum
        labels = snapshot.labels
        replicas = snapshot.replicas.map(ReplicaRow.init)
        wantedReplicas = max(Int(snapshot.wantedReplicas), replicas.count { !$0.surplus })
        (verifiedAt, verdict) = (known(snapshot.verifiedAt), known(snapshot.verdict))
        forkedFrom = known(snapshot.forkedFrom)
        (expiredAt, expiredBy) = (known(snapshot.expiredAt), known(snapshot.expiredBy))
        graceUntil = known(snapshot.graceUntil)
        holds = snapshot.holds.map { HoldRow(name: $0.name, reason: $0.reason, actor: $0.actor, at: $0.at) }
    }

    var cells: [String] {
        [
            String(id.prefix(12)), node, database, String(sequence), receivedAt ?? "", Quantity.bytes(sizeBytes),
            Quantity.bytes(storedBytes), shownReplicas, verdict ?? "never inspected",
        ]
    }

    /// How many of those that the placement wants are there, and how many are there besides.
    private var shownReplicas: String {
        let wanted = replicas.filter { !$0.surplus }
        let extra = replicas.count - wanted.count
        return "\(wanted.count { $0.state == "present" }) of \(wantedReplicas)" + (extra > 0 ? " +\(extra)" : "")
    }

    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: FieldName.self)
        try fields.encode(id, forKey: "id")
        try fields.encode(node, forKey: "node")
        try fields.encode(database, forKey: "database")
        try fields.encode(lineage, forKey: "lineage")
        try fields.encode(sequence, forKey: "sequence")
        try fields.encode(createdAt, forKey: "created_at")
        try fields.encode(receivedAt, forKey: "received_at")
        try fields.encode(sizeBytes, forKey: "size_bytes")
        try fields.encode(storedBytes, forKey: "stored_bytes")
        try fields.encode(checksum, forKey: "checksum")
        try fields.encode(labels, forKey: "labels")
        try fields.encode(replicas, forKey: "replicas")
        try fields.encode(wantedReplicas, forKey: "wanted_replicas")
        try fields.encode(verifiedAt, forKey: "verified_at")
        try fields.encode(verdict, forKey: "verdict")
        try fields.encode(forkedFrom, forKey: "forked_from")
        try fields.encode(expiredAt, forKey: "expired_at")
        try fields.encode(expiredBy, forKey: "expired_by")
        try fields.encode(graceUntil, forKey: "grace_until")
        try fields.encode(holds, forKey: "holds")
    }
}

struct HoldRow: Encodable {
    let name, reason, actor, at: String
}

struct ReplicaRow: Encodable {
    let store, state: String
    @Known var checkedAt: String?
    /// The placement does not want it there: it goes once it is everywhere else.
    let surplus: Bool

    init(_ replica: Muster_V1_Replica) {
        (store, state, checkedAt) = (replica.store, replica.state, known(replica.checkedAt))
        surplus = replica.surplus
    }

    var text: String { "\(store) \(state)" + (surplus ? ", surplus" : "") }
}

struct NodeRow: Row {
    static let columns = [
        "name", "id", "state", "last contact", "clock", "certificate until", "databases", "snapshots", "version",
    ]
    let id, name, state: String
    @Known var joinedAt: String?
    @Known var endedAt: String?
    @Known var lastContactAt: String?
    @Known var certificateExpiresAt: String?
    let agentVersion: String
    let clockOffsetSeconds: Double
    let databaseCount: UInt32
    let snapshotCount: UInt64

    init(_ node: Muster_V1_Node) {
        (id, name, state, agentVersion) = (node.id, node.name, node.state, node.agentVersion)
        (joinedAt, lastContactAt) = (known(node.joinedAt), known(node.lastContactAt))
        endedAt = known(node.endedAt)
        certificateExpiresAt = known(node.certificateExpiresAt)
        clockOffsetSeconds = node.clockOffsetSeconds
        (databaseCount, snapshotCount) = (node.databaseCount, node.snapshotCount)
    }

    var cells: [String] {
        [
            name, String(id.prefix(12)), state, lastContactAt ?? "never",
            lastContactAt == nil ? "" : Quantity.seconds(clockOffsetSeconds), certificateExpiresAt ?? "",
            String(databaseCount), String(snapshotCount), agentVersion,
        ]
    }
}

struct DatabaseRow: Row {
    static let columns = [
        "node", "database", "state", "rpo", "newest receipt", "snapshots", "verified", "drilled", "rto", "schedule",
        "path",
    ]
    let id, name, node, path, schedule, state: String
    @Known var errorSummary: String?
    @Known var errorHint: String?
    @Known var newestSnapshotId: String?
    @Known var newestReceivedAt: String?
    @Known var checkedAt: String?
    @Known var scrubbedAt: String?
    @Known var verifiedAt: String?
    @Known var drilledAt: String?
    /// How long the newest passed drill took to restore it, and how much that was.
    @Known var rtoSeconds: Double?
    let drilledBytes: UInt64
    @Known var reportedAt: String?
    @Known var silentSince: String?
    /// How much would be lost now; null without a snapshot.
    @Known var rpoSeconds: Double?
    @Known var newestCreatedAt: String?
    @Known var unprotectedSince: String?
    let capture: String
    let changeCounter, receiptChangeCounter, intervalMilliseconds: UInt64
    let snapshotCount, expiredCount: UInt64
    let lineageCount: UInt32
    let changedSinceReceipt, forked: Bool
    let sizeBytes: UInt64

    init(_ database: Muster_V1_Database) {
        (id, name, node, path) = (database.id, database.name, database.node, database.path)
        (schedule, state) = (database.schedule, database.state)
        (errorSummary, errorHint) = (known(database.errorSummary), known(database.errorHint))
        newestSnapshotId = known(database.newestSnapshotID)
        newestReceivedAt = known(database.newestReceivedAt)
        (verifiedAt, reportedAt) = (known(database.verifiedAt), known(database.reportedAt))
        (checkedAt, scrubbedAt) = (known(database.checkedAt), known(database.scrubbedAt))
        drilledAt = known(database.drilledAt)
        rtoSeconds = database.hasRtoSeconds ? database.rtoSeconds : nil
        drilledBytes = database.drilledBytes
        silentSince = known(database.silentSince)
        rpoSeconds = database.hasRpoSeconds ? database.rpoSeconds : nil
        newestCreatedAt = known(database.newestCreatedAt)
        unprotectedSince = known(database.unprotectedSince)
        capture = database.capture
        (changeCounter, receiptChangeCounter) = (database.changeCounter, database.receiptChangeCounter)
        intervalMilliseconds = database.intervalMilliseconds
        (snapshotCount, lineageCount) = (database.snapshotCount, database.lineageCount)
        expiredCount = database.expiredCount
        (changedSinceReceipt, forked) = (database.changedSinceReceipt, database.forked)
        sizeBytes = database.sizeBytes
    }

    var cells: [String] {
        [
            node, name, condition, rpoSeconds.map(Quantity.age) ?? "", newestReceivedAt ?? "never",
            String(snapshotCount), verifiedAt ?? "never", drilledAt ?? "never", rtoSeconds.map(Quantity.seconds) ?? "",
            schedule, path,
        ]
    }

    private var condition: String {
        var words = [capture == "paused" ? capture : state]
        if forked { words.append("forked") }
        if let silentSince { words.append("silent since \(silentSince)") }
        return words.joined(separator: ", ")
    }
}

/// `verify`, `verify show` and `restore` print this.
struct InspectionReport: Encodable {
    let run: String
    let passed, total: Int
    let failed: [Failed]
    /// For people; programs find the reasons in `failed`.
    var unfinished = 0
    /// Replicas that were refused while another one served: they count against nothing here.
    var refused: [Failed] = []

    private enum CodingKeys: CodingKey { case run, passed, total, failed, refused }

    struct Failed: Encodable {
        let snapshot, store, object, reason: String
        @Known var node: String?
        @Known var database: String?

        init(
            snapshot: String, store: String, object: String, reason: String, node: String? = nil,
            database: String? = nil
        ) {
            (self.snapshot, self.store, self.object, self.reason) = (snapshot, store, object, reason)
            (self.node, self.database) = (node, database)
        }
    }

    var outcome: Outcome? {
        if failed.isEmpty, passed == total { return nil }
        return passed > 0 ? .partly : .failed
    }

    /// Of a run over snapshots: where there was none, nothing is proven.
    var inspectionOutcome: Outcome? { total == 0 ? .failed : outcome }
}

struct FieldName: CodingKey, ExpressibleByStringLiteral {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringLiteral value: String) { stringValue = value }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// "" in a message means unknown; programs get null.
func known(_ text: String) -> String? { text.isEmpty ? nil : text }

/// A field that stands in the JSON even where nothing is known of it: null then.
@propertyWrapper
struct Known<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    func encode(to encoder: any Encoder) throws {
        var field = encoder.singleValueContainer()
        try field.encode(wrappedValue)
    }
}
