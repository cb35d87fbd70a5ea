import ArgumentParser
import MusterModel

/// The command tree; what each command does stands in `Commands/<Noun>/<NounVerb>.swift`.
struct Muster: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster",
        abstract: "Fleet backup for SQLite that proves itself.",
        discussion: """
            On every node an agent snapshots the live SQLite databases and pushes them, sealed, to a
            coordinator. The coordinator keeps the catalog of the whole fleet and the replicas in its
            stores, checks them without a key, and lets you list, verify and restore.

            A first fleet, on one machine:
              muster coordinator init --dir /var/lib/muster/coordinator
              muster coordinator run  --dir /var/lib/muster/coordinator &
              muster node invite edge-1
              muster agent join    --dir /var/lib/muster/agent TOKEN
              muster database add  --dir /var/lib/muster/agent /var/lib/app/app.db --every 5m
              muster agent run     --dir /var/lib/muster/agent &
              muster snapshot create --node edge-1 --wait
              muster snapshot list

            Exit status: 0 done, 1 failed, 2 partly (n of m), 3 a named thing does not exist, 64 usage.
            'muster status --check' alone ends as plug-ins of monitors do: see its help.
            """,
        version: MusterVersion.text,
        subcommands: [
            CoordinatorCommand.self, NodeCommand.self, PersonCommand.self, AgentCommand.self, DatabaseCommand.self,
            SnapshotCommand.self,
            FleetSnapshotCommand.self,
            StoreCommand.self, VerifyCommand.self, RestoreCommand.self, RetentionCommand.self, CollectionCommand.self,
            AlarmCommand.self, AuditCommand.self,
            StatusCommand.self, Doctor.self, DrillCheck.self, DashboardCommand.self,
        ])
}

enum MusterVersion {
    static let text = "0.1.0"
}
