import MusterAPI
import MusterCatalog
import MusterModel

/// Inspections as the contract's messages.

extension Muster_V1_Verification {
    init(_ verification: Catalog.Verification) {
        self.init()
        run = verification.run.description
        level = verification.level.rawValue
        state = verification.isFinished ? "finished" : "running"
        (scope, actor, filling) = (verification.scope, verification.actor, verification.isFilling)
        patienceSeconds = UInt32(clamping: verification.patience.microseconds / 1_000_000)
        passed = UInt32(verification.passed)
        failedCount = UInt32(verification.failedCount)
        unfinished = UInt32(verification.unfinished)
        waitingCount = UInt32(verification.waitingCount)
        total = UInt32(verification.total)
        failed = verification.failed.map(Muster_V1_Finding.init)
        refused = verification.refused.map(Muster_V1_Finding.init)
        nextFinding = UInt64(verification.nextFinding)
        startedAt = verification.startedAt.description
        finishedAt = verification.finishedAt?.description ?? ""
        bytesRead = UInt64(verification.bytesRead)
        waiting = verification.waiting.map(\.description)
    }
}

extension Muster_V1_Finding {
    init(_ finding: Catalog.Finding) {
        self.init()
        (snapshot, store) = (finding.failing.snapshot, finding.failing.store)
        (object, reason) = (finding.failing.object, finding.failing.reason)
        (node, database) = (finding.nodeName, finding.databaseName)
    }
}

extension Muster_V1_VerificationNode {
    /// - Parameter silentBefore: a node that was not heard of since then is away.
    init(_ part: Catalog.VerificationNode, silentBefore: Timestamp) {
        self.init()
        (node, nodeID) = (part.name, part.node.description)
        (total, passed) = (UInt32(part.total), UInt32(part.passed))
        (failed, unfinished) = (UInt32(part.failed), UInt32(part.unfinished))
        waiting = UInt32(max(0, part.total - part.passed - part.failed - part.unfinished))
        (bytesRead, seconds) = (UInt64(part.bytesRead), part.seconds)
        if let heard = part.lastContactAt, heard < silentBefore { awaySince = heard.description }
    }
}

extension Muster_V1_VerificationItem {
    init(_ item: Catalog.VerificationItem) {
        self.init()
        (snapshotID, node) = (item.snapshot.description, item.nodeName)
        (database, databaseID) = (item.databaseName, item.database.description)
        (state, at) = (item.state, item.at?.description ?? "")
        (seconds, bytesRead) = (item.seconds, UInt64(item.bytesRead))
    }
}

extension Muster_V1_Drill {
    init(_ drill: Catalog.Drill) {
        self.init()
        (run, snapshotID) = (drill.run.description, drill.snapshot.description)
        (at, passed, reason) = (drill.at.description, drill.passed, drill.reason)
        outcome = Muster_V1_DrillOutcome(drill.measure)
    }
}

extension Muster_V1_DrillOutcome {
    init(_ measure: Catalog.DrillMeasure) {
        self.init()
        (restoreSeconds, checkSeconds) = (measure.restoreSeconds, measure.checkSeconds)
        restoredBytes = UInt64(measure.restoredBytes)
        (tableCount, rowCount) = (UInt32(clamping: measure.tableCount), UInt64(measure.rowCount))
        (tablesPresent, integrity) = (UInt32(clamping: measure.tablesPresent), measure.integrity)
        (compared, largestDrop) = (measure.isCompared, measure.largestDrop)
        comparedWith = measure.comparedWith?.description ?? ""
        (shrunkTables, vanishedTables) = (
            UInt32(clamping: measure.shrunkTables), UInt32(clamping: measure.vanishedTables)
        )
        foreignKeyViolations = UInt64(measure.foreignKeyViolations)
        assertions = measure.assertions.map { assertion in
            var message = Muster_V1_AssertionOutcome()
            (message.name, message.passed, message.reason) = (assertion.name, assertion.passed, assertion.reason)
            if let value = assertion.value { message.value = value }
            return message
        }
    }
}

extension Catalog.DrillMeasure {
    private static let mostAssertions = 64
    private static let nameBytes = 128
    private static let reasonBytes = 512

    /// What a node says: nothing in it may grow beyond its bounds.
    init(_ message: Muster_V1_DrillOutcome) {
        self.init()
        restoreSeconds = Self.bounded(message.restoreSeconds)
        restoredBytes = Int64(clamping: message.restoredBytes)
        checkSeconds = Self.bounded(message.checkSeconds)
        (tableCount, rowCount) = (Int64(message.tableCount), Int64(clamping: message.rowCount))
        // An older agent counts all that it names.
        tablesPresent = Int64(max(message.tablesPresent, message.tableCount))
        integrity = ["ok", "failed"].contains(message.integrity) ? message.integrity : ""
        (isCompared, comparedWith) = (message.compared, SnapshotID(message.comparedWith))
        (shrunkTables, vanishedTables) = (Int64(message.shrunkTables), Int64(message.vanishedTables))
        largestDrop = min(1, Self.bounded(message.largestDrop))
        foreignKeyViolations = Int64(clamping: message.foreignKeyViolations)
        assertions = message.assertions.prefix(Self.mostAssertions).map { assertion in
            Assertion(
                name: assertion.name.cut(Self.nameBytes), passed: assertion.passed,
                value: assertion.hasValue && assertion.value.isFinite ? assertion.value : nil,
                reason: assertion.reason.cut(Self.reasonBytes))
        }
    }

    private static func bounded(_ value: Double) -> Double { value.isFinite ? min(max(0, value), 1e9) : 0 }
}

extension Muster_V1_Database {
    mutating func setInspections(of database: Catalog.Database) {
        checkedAt = database.checkedAt?.description ?? ""
        scrubbedAt = database.scrubbedAt?.description ?? ""
        verifiedAt = database.verifiedAt?.description ?? ""
        drilledAt = database.drilledAt?.description ?? ""
        if let seconds = database.restoreSeconds { rtoSeconds = seconds }
        drilledBytes = UInt64(database.restoredBytes)
    }
}
