import Foundation
import MusterAPI
import MusterAgent
import MusterModel
import MusterSQLite
import MusterTransfer

/// Looks at one node: its directory, its way to the coordinator, and every database that it protects.
struct NodeExamination {
    let directory: AgentDirectory

    func findings() async -> [DoctorFinding] {
        let configuration: AgentConfiguration
        let databases: [ProtectedDatabase]
        do {
            configuration = try directory.configuration(overrides: Surroundings.agentOverrides)
            _ = try NodeIdentity(directory: directory, node: configuration.nodeID)
            databases = try directory.databases().map(\.database)
        } catch {
            return [DoctorFinding(error, "agent directory")]
        }
        var findings = [
            DoctorFinding(
                .ok, "agent directory", "node '\(configuration.nodeName)', \(databases.count) databases")
        ]
        findings.append(await coordinator(configuration))
        if !directory.searchNotes.isEmpty {
            let hint = "Give the agent's user the right to read the folders, or narrow the patterns of agent.yaml."
            findings.append(DoctorFinding(.warning, "search", directory.searchNotes, hint: hint))
        }
        for database in databases { findings += examine(database) }
        return findings
    }

    private func coordinator(_ configuration: AgentConfiguration) async -> DoctorFinding {
        do {
            let tls = TLSFiles(
                authority: directory.authorityFile,
                identity: .init(certificate: directory.certificateFile, key: directory.certificateKeyFile))
            let client = CoordinatorClient(
                http: try HTTPClient(tls: tls), url: configuration.coordinatorURL, retry: Surroundings.retry)
            var filter = SnapshotFilter()
            filter.limit = 1
            _ = try await client.snapshots(filter)
            return DoctorFinding(.ok, "coordinator", "\(configuration.coordinatorURL) answers")
        } catch {
            return DoctorFinding(error, "coordinator")
        }
    }

    /// Opens the database as a snapshot would, reads its inventory and lets go.
    private func examine(_ database: ProtectedDatabase) -> [DoctorFinding] {
        let what = "database \(database.name)"
        if database.isPaused {
            let hint = "Let it go on with 'muster database resume --dir DIR \(database.name)'."
            return [DoctorFinding(.warning, what, "it is paused: no snapshots are taken", hint: hint)]
        }
        if let since = database.vanishedAt {
            let hint = "If it was deleted for good, run 'muster database remove --dir DIR \(database.name)'."
            return [DoctorFinding(.warning, what, "its file has been missing since \(since)", hint: hint)]
        }
        let inventory: SQLiteInventory
        do {
            let capture = try PinnedCapture.begin(path: database.path, elapsed: Surroundings.monotonic)
            defer { capture.abandon() }
            inventory = try capture.inventory()
            try capture.finish()
        } catch {
            return [DoctorFinding(error, what)]
        }
        let size = Quantity.bytes(inventory.pageCount * UInt64(inventory.pageSize))
        var findings = [DoctorFinding(.ok, what, "\(size), journal mode \(inventory.journalMode)")]
        if inventory.journalMode != "wal" {
            findings.append(
                DoctorFinding(
                    .warning, what, "its writers wait while a snapshot reads it",
                    hint: "Let the application set PRAGMA journal_mode=WAL if it can."))
        }
        if inventory.canonicalSchema == nil {
            findings.append(
                DoctorFinding(
                    .warning, what, "its schema is so large that snapshots say nothing of its tables",
                    hint: "It is backed up as a whole all the same; look at who wrote such a schema."))
        }
        if let version = inventory.lastWriterVersion.map(SQLiteRelease.init), version.hasWALResetBug,
            inventory.journalMode == "wal"
        {
            findings.append(
                DoctorFinding(
                    .warning, what,
                    "last written by SQLite \(version), which can corrupt a WAL database",
                    hint: "Update the application's SQLite to 3.51.3 or later (sqlite.org/wal.html, the WAL-reset bug)."
                ))
        }
        return findings
    }
}
