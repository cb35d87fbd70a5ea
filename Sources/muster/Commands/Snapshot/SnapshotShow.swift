import ArgumentParser
import MusterAPI

struct SnapshotShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show snapshots, whole.",
        discussion: "An id may be cut to any unambiguous beginning of 6 digits or more.")

    @Argument(help: "Snapshot ids.")
    var ids: [String]

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        var rows: [SnapshotRow] = []
        for id in ids {
            let snapshot = try await coordinator.snapshot(id)
            let row = SnapshotRow(snapshot)
            rows.append(row)
            guard admin.format == .table else { continue }
            try admin.format.show(
                row,
                lines: [
                    ("id", row.id), ("node", row.node), ("database", row.database), ("lineage", row.lineage),
                    ("sequence", String(row.sequence)),
                    ("parent", snapshot.parentID.isEmpty ? "none" : snapshot.parentID),
                    ("forked from", row.forkedFrom ?? "nothing"), ("created", row.createdAt ?? "unknown"),
                    ("received", row.receivedAt ?? "unknown"), ("size", Quantity.bytes(row.sizeBytes)),
                    ("stored", Quantity.bytes(row.storedBytes)),
                    ("pages", "\(snapshot.pageCount) of \(snapshot.pageSize) bytes"),
                    ("packs", String(snapshot.packCount)), ("checksum", row.checksum),
                    ("manifest", snapshot.manifestHash), ("method", snapshot.method),
                    (
                        "labels",
                        row.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
                    ),
                    ("replicas", row.replicas.map(\.text).joined(separator: ", ")),
                    ("given up", row.expiredAt.map { "\($0), for good after \(row.graceUntil ?? "")" } ?? "no"),
                    ("holds", row.holds.map { "\($0.name) by \($0.actor)" }.joined(separator: ", ")),
                    ("verified", row.verifiedAt ?? "never"), ("verdict", row.verdict ?? "never inspected"),
                ])
        }
        if admin.format == .json { try admin.format.show(rows) }
    }
}
