import MusterAPI
import MusterCatalog
import MusterModel
import MusterStore

/// What is wrong with the stores, and with the disk of the coordinator itself.
extension Coordinator {
    func storeAlarms(_ stores: [Muster_V1_StoreStatus], now: Timestamp) async throws -> [FleetAlarm] {
        var alarms = stores.flatMap { storeAlarms($0) } + placementAlarms
        for store in self.stores.all {
            alarms += try await ownObjectAlarms(store)
            if let record = try await catalog.lastProbe(ofStore: store.number) {
                alarms += Self.probeAlarms(store.name, StoreProving.capabilities(record), at: record.at)
            }
            guard let since = try await catalog.oldestWant(inStore: store.number),
                now - since > settings.alarms.debtAfter
            else { continue }
            let count = stores.first { $0.name == store.name }?.wantedCopies ?? 1
            alarms.append(
                FleetAlarm(
                    .debt,
                    "store '\(store.name)' lacks \(count) cop\(count == 1 ? "y" : "ies"), the oldest since \(since)",
                    hint: "Look at 'muster store list' for what is in the way; copies go on by themselves.",
                    since: since
                ).of(store: store.name))
        }
        alarms += try await overdueStoreAlarms(now: now)
        if let free = await ownFreeBytes(), let severity = settings.alarms.severity(ofFreeBytes: free) {
            alarms.append(
                FleetAlarm(
                    .disk, severity: severity, "the coordinator's directory has \(free.mebibytes) MiB left",
                    hint: "Make room: without any no snapshot is acknowledged."))
        }
        return alarms
    }

    /// What the settings ask for and the stores cannot give, however well they are.
    private var placementAlarms: [FleetAlarm] {
        let receipts = stores.receiptShortfall.map { shortfall in
            FleetAlarm(.store, shortfall, hint: StoreSet.receiptHint).of(store: "", aspect: "receipts")
        }
        let replicas = stores.placement.shortfall(among: stores.active.map(\.candidate)).map { shortfall in
            FleetAlarm(
                .debt, shortfall,
                hint: "Add a store with 'muster store add', or ask for fewer under 'placement' in coordinator.yaml and "
                    + "restart the coordinator."
            ).of(store: "", aspect: "placement")
        }
        return [receipts, replicas].compactMap { $0 }
    }

    private func storeAlarms(_ store: Muster_V1_StoreStatus) -> [FleetAlarm] {
        guard store.state == "ok" else {
            return [
                FleetAlarm(
                    .store, "store '\(store.name)' is not well: \(store.state)",
                    hint: "Bring it back, writable and with room. If it is gone for good or its disk was replaced, "
                        + "add the new one with 'muster store add \(store.url) --name NEW', then give this one up with "
                        + "'muster store place \(store.name) lost'."
                ).of(store: store.name)
            ]
        }
        guard let severity = settings.alarms.severity(ofFreeBytes: store.freeBytes) else { return [] }
        return [
            FleetAlarm(
                .disk, severity: severity, "store '\(store.name)' has \(store.freeBytes.mebibytes) MiB left",
                hint: "Make room, shorten the retention, or add a store with 'muster store add'."
            ).of(store: store.name)
        ]
    }

    private static func probeAlarms(
        _ store: String, _ capabilities: StoreCapabilities, at probed: Timestamp
    ) -> [FleetAlarm] {
        capabilities.shortfalls.map { feature, obstacles in
            let lacks = obstacles.map(\.capability.rawValue).joined(separator: ", ")
            let (cannot, follows): (String, String) =
                switch feature {
                case .deletion: ("be relied on to delete", ", and gc deletes nothing there")
                case .rebuild: ("be rebuilt from alone", "")
                case .replicas, .signedUploads: ("keep replicas", "")
                }
            return FleetAlarm(
                .store, severity: feature == .replicas ? .critical : .warning,
                "store '\(store)' cannot \(cannot): its probe found wanting \(lacks)"
                    + (obstacles.contains { $0.outcome == .broken } ? follows : ""),
                hint: "See 'muster store probe \(store) --last'; if it stays so, let it drain and leave it.",
                since: probed
            ).of(store: store, aspect: feature == .replicas ? "probe" : "probe-\(feature.rawValue)")
        }
    }

    /// Of the directory that holds the catalog; nil where the kernel does not tell.
    func ownFreeBytes() async -> UInt64? {
        // A disk that cannot be asked shows itself in every write to the catalog.
        try? await hashing.run { [catalogCopy] in try FreeSpace.bytes(besideFile: catalogCopy) }
    }
}

extension CoordinatorSettings.Alarms {
    func severity(ofFreeBytes free: UInt64) -> AlarmSeverity? {
        let least = UInt64(diskFreeMiB) << 20
        return free >= least ? nil : free >= least / 4 ? .warning : .critical
    }
}

extension UInt64 {
    var mebibytes: UInt64 { self >> 20 }
}
