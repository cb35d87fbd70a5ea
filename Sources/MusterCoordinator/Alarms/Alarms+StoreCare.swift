import MusterCatalog
import MusterModel

/// What should have been done for the stores by now, and was not.
extension Coordinator {
    /// So many periods of the catalog's backup may go by without one.
    private static let missedBackups = 3

    func overdueStoreAlarms(now: Timestamp) async throws -> [FleetAlarm] {
        var alarms: [FleetAlarm] = []
        for store in stores.all {
            if let alarm = try await scrubAlarm(of: store, now: now) { alarms.append(alarm) }
            if let alarm = try await backupAlarm(of: store, now: now) { alarms.append(alarm) }
        }
        return alarms
    }

    /// A round that takes half as long again as it should does not keep up, or passes something over.
    private func scrubAlarm(of store: OpenStore, now: Timestamp) async throws -> FleetAlarm? {
        guard let oldest = try await catalog.oldestHash(inStore: store.number) else { return nil }
        // A rebuild believes nothing, and so begins anew.
        let (since, period) = (max(oldest, rebuiltAt ?? oldest), settings.scrub.everySeconds)
        guard now - since > .seconds(period + period / 2) else { return nil }
        return FleetAlarm(
            .scrubOverdue,
            "store '\(store.name)' has replicas that nobody has read since \(since), where each is to be read every "
                + "\(Duration.seconds(period).text)",
            hint: "If the store is well, raise 'mib_per_second' or the period under 'scrub' in coordinator.yaml; the "
                + "coordinator's log tells of objects that it passes over.",
            since: since
        ).of(store: store.name)
    }

    /// A store that drains gets none.
    private func backupAlarm(of store: OpenStore, now: Timestamp) async throws -> FleetAlarm? {
        guard let period = settings.catalogBackupEvery, store.entry.state == .active else { return nil }
        let last = try await lastCatalogBackup(in: store)
        let since = last ?? startedAt
        guard now - since > period * Self.missedBackups else { return nil }
        return FleetAlarm(
            .backupOverdue,
            "store '\(store.name)' has no backup of the catalog "
                + (last.map { "newer than \($0)" } ?? "since the coordinator was started"),
            hint: "See that the store is well and has room; the coordinator's log says why it gets none.", since: since
        ).of(store: store.name)
    }
}
