import MusterAPI
import MusterCatalog
import MusterModel

/// The catalog's values as the contract's messages.

extension Muster_V1_Snapshot {
    init(_ snapshot: Catalog.Snapshot) {
        self.init()
        id = snapshot.id.description
        node = snapshot.nodeName
        nodeID = snapshot.node.description
        database = snapshot.databaseName
        databaseID = snapshot.database.description
        lineage = snapshot.lineage.description
        sequence = snapshot.sequence
        createdAt = snapshot.createdAt.description
        receivedAt = snapshot.receivedAt.description
        sizeBytes = UInt64(snapshot.sizeBytes)
        storedBytes = UInt64(snapshot.storedBytes)
        checksum = snapshot.contentRoot.description
        labels = snapshot.labels
        replicas = snapshot.replicas.map(Muster_V1_Replica.init)
        verifiedAt = snapshot.verifiedAt?.description ?? ""
        verdict = snapshot.verdict
        manifestHash = snapshot.manifestHash.description
        manifestBytes = UInt64(snapshot.manifestBytes)
        parentID = snapshot.parent?.description ?? ""
        baseID = snapshot.base?.description ?? ""
        pageSize = UInt32(snapshot.pageSize)
        pageCount = UInt64(snapshot.pageCount)
        packCount = UInt32(snapshot.packCount)
        forkedFrom = snapshot.forkedFrom
        method = snapshot.method
        if let mark = snapshot.mark {
            (expiredAt, expiredBy) = (mark.at.description, mark.run.description)
            graceUntil = mark.graceUntil.description
        }
        holds = snapshot.holds.map { hold in
            var message = Muster_V1_SnapshotHold()
            (message.name, message.reason) = (hold.name, hold.reason)
            (message.actor, message.at) = (hold.actor, hold.at.description)
            return message
        }
    }
}

extension Muster_V1_Replica {
    init(_ replica: Catalog.ManifestReplica) {
        self.init()
        (store, state) = (replica.storeName, replica.wholeState.rawValue)
        checkedAt = replica.checkedAt?.description ?? ""
    }
}

extension Muster_V1_Node {
    init(_ node: Catalog.Node) {
        self.init()
        id = node.id.description
        name = node.name
        state = node.state.rawValue
        joinedAt = node.joinedAt.description
        endedAt = node.endedAt?.description ?? ""
        lastContactAt = node.lastContactAt?.description ?? ""
        agentVersion = node.agentVersion
        clockOffsetSeconds = node.clockOffset?.inSeconds ?? 0
        certificateExpiresAt = node.certificateExpiresAt?.description ?? ""
        databaseCount = UInt32(node.databaseCount)
        snapshotCount = UInt64(node.snapshotCount)
        signingKey = Hex.encode(node.signingKey)
        scopeID = node.scope.description
    }
}

extension Muster_V1_Database {
    init(_ database: Catalog.Database, _ freshness: Freshness, silentSince: Timestamp?) {
        self.init()
        id = database.id.description
        name = database.name
        node = database.nodeName
        path = database.path
        schedule = database.schedule
        state = database.state
        errorSummary = database.errorSummary
        errorHint = database.errorHint
        newestSnapshotID = database.newestSnapshot?.description ?? ""
        newestReceivedAt = database.newestReceivedAt?.description ?? ""
        newestCreatedAt = database.newestCreatedAt?.description ?? ""
        setInspections(of: database)
        snapshotCount = UInt64(database.snapshotCount)
        expiredCount = UInt64(database.expiredCount)
        lineageCount = UInt32(database.lineageCount)
        sizeBytes = UInt64(database.sizeBytes)
        forked = database.isForked
        reportedAt = freshness.vouchedAt?.description ?? ""
        if let recoveryPoint = freshness.recoveryPoint { rpoSeconds = recoveryPoint.inSeconds }
        self.silentSince = silentSince?.description ?? ""
        setReport(of: database)
    }

    /// As the node said it.
    private mutating func setReport(of database: Catalog.Database) {
        changedSinceReceipt = database.hasChanged
        changeCounter = database.changeCounter
        receiptChangeCounter = database.receiptChangeCounter
        unprotectedSince = database.unprotectedSince?.description ?? ""
        capture = database.capture
        intervalMilliseconds = UInt64(database.intervalMilliseconds)
    }
}

extension Muster_V1_Job {
    init(_ job: Catalog.Job) {
        self.init()
        id = job.id.description
        kind = job.kind.rawValue
        node = job.nodeName
        databaseID = job.database.description
        database = job.databaseName
        labels = job.labels
        snapshotID = job.snapshot?.description ?? ""
        level = job.level
        runID = job.run?.description ?? ""
        state = job.state.rawValue
        outcomeSnapshotID = job.outcomeSnapshot?.description ?? ""
        errorSummary = job.errorSummary
        errorHint = job.errorHint
        createdAt = job.createdAt.description
        finishedAt = job.finishedAt?.description ?? ""
    }
}
