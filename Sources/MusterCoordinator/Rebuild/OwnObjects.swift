import Foundation
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// What is wrong with an object of the coordinator's own in a store.
struct OwnFault: Codable, Hashable, Sendable {
    enum Part: String, Codable { case authorityKey, receiptKey, epoch, state, backup, format }

    let part: Part
    let object: String
    let reason: String
}

/// What a look at a store's own objects came to.
struct OwnLook: Sendable {
    fileprivate(set) var count = 0
    fileprivate(set) var bytesRead: Int64 = 0
    fileprivate(set) var faults: [OwnFault] = []
    /// What the catalog's notes have of those that are bad.
    fileprivate var bad: [Catalog.OwnObject] = []
    /// Bad records beside which a good one stands.
    fileprivate var replaced: [(object: ObjectName, byteCount: UInt64)] = []
}

/// Reads again what a rebuild needs and nothing else reads: the coordinator's keys, its epoch, the newest state of the
/// fleet, and the newest backup of the catalog with its packs.
///
/// As replicas are, it is read once within the scrub's period, and in `store check`. What is wrong is put again, under
/// another name: a record of a key under a new generation, the state and the backup under the next number. Only where
/// nothing stands any more, the epoch goes under its own name.
extension Coordinator {
    struct OwnNote: Codable {
        /// When it was looked at last; both in microseconds.
        var at: Int64
        /// Since when there has been anything wrong.
        var since: Int64?
        var faults: [OwnFault]
    }

    /// What could not be put again is tried again so soon.
    private static let triedAgainAfter = Duration.seconds(600)

    private static func setting(_ store: OpenStore) -> String { "own-objects-read-\(store.number)" }

    func ownNote(of store: OpenStore) async throws -> OwnNote? {
        try await catalog.setting(Self.setting(store)).flatMap {
            // One that cannot be read is as none: it is looked at anew.
            try? JSONDecoder().decode(OwnNote.self, from: Data($0))
        }
    }

    /// Looks where a period has gone by since the last look. What keeps it from that says nothing of the replicas there.
    func careForOwnObjectsIfDue(in store: OpenStore, _ pace: CopyPace) async {
        do {
            try await ownObjectLanes.pass(store.number) {
                guard try await isLookDue(in: store), try await mayWrite() else { return }
                _ = try await careInTurn(store, isHashed: true, pace)
            }
        } catch {
            logger.warning(
                "the coordinator's own objects not read",
                metadata: ["store": "\(store.name)", "reason": "\(reasonText(error))"])
        }
    }

    private func isLookDue(in store: OpenStore) async throws -> Bool {
        guard let last = try await ownNote(of: store) else {
            // What is there was put or read a moment ago, when the store was founded or the coordinator rebuilt.
            try await note([], of: store)
            return false
        }
        let period: Duration = last.faults.isEmpty ? .seconds(settings.scrub.everySeconds) : Self.triedAgainAfter
        let age = clock.now() - Timestamp(microseconds: last.at)
        // A clock that was set back must not put it off.
        return age < .zero || age >= period
    }

    /// Looks, puts again what is wrong, and notes what is wrong still: for that an alarm stands.
    ///
    /// - Returns: what was wrong before.
    func careForOwnObjects(in store: OpenStore, isHashed: Bool, _ pace: CopyPace) async throws -> OwnLook {
        try await ownObjectLanes.pass(store.number) { try await careInTurn(store, isHashed: isHashed, pace) }
    }

    private func careInTurn(_ store: OpenStore, isHashed: Bool, _ pace: CopyPace) async throws -> OwnLook {
        let found = try await lookAtOwnObjects(in: store, isHashed: isHashed, pace)
        for replaced in found.replaced {
            try await catalog.discard(
                replaced.object.description, in: store.number, byteCount: Int64(clamping: replaced.byteCount),
                now: clock.now() + Self.quarantine, reason: "damaged")
        }
        try await note(found.faults, of: store)
        guard !found.faults.isEmpty else { return found }
        for fault in found.faults {
            logger.error(
                "object is damaged",
                metadata: ["store": "\(store.name)", "object": "\(fault.object)", "reason": "\(fault.reason)"])
        }
        await heal(found, in: store)
        try await note(try await lookAtOwnObjects(in: store, isHashed: isHashed, pace).faults, of: store)
        return found
    }

    private func note(_ faults: [OwnFault], of store: OpenStore) async throws {
        let now = clock.now().microseconds
        let since = try await faults.isEmpty ? nil : (ownNote(of: store)?.since ?? now)
        let noted = OwnNote(at: now, since: since, faults: faults)
        try await catalog.set(Self.setting(store), to: Array(try JSONEncoder().encode(noted)))
    }

    func ownObjectAlarms(_ store: OpenStore) async throws -> [FleetAlarm] {
        guard let note = try await ownNote(of: store) else { return [] }
        return note.faults.map { fault in
            FleetAlarm(
                .damaged, "\(fault.object) in store '\(store.name)' is not what it was: \(fault.reason)",
                hint: Self.hint(fault.part, store.name), since: note.since.map(Timestamp.init(microseconds:))
            ).of(store: store.name, aspect: fault.object)
        }
    }

    private static func hint(_ part: OwnFault.Part, _ store: String) -> String {
        switch part {
        case .format, .epoch:
            "Nothing can be put in its place. Let the store drain, 'muster store place \(store) draining', and add an empty "
                + "one: a rebuild from this one alone would not do."
        case .authorityKey, .receiptKey, .state, .backup:
            "A rebuild from this store alone would miss it. It is put again by itself where the store takes it; "
                + "'muster store check \(store) --wait' tries at once."
        }
    }

    // MARK: - The look

    private func lookAtOwnObjects(in store: OpenStore, isHashed: Bool, _ pace: CopyPace) async throws -> OwnLook {
        var look = OwnLook()
        try await lookAtFormat(of: store, &look)
        try await lookAtKeys(in: store, &look)
        try await lookAtEpoch(in: store, &look)
        // Beside those that replace them: what is older may go at any moment.
        look = try await stateLanes.pass(true) { [look] in
            var look = look
            try await lookAtState(in: store, &look)
            return look
        }
        guard store.entry.state == .active else { return look }
        return try await stateLanes.pass(false) { [look] in
            var look = look
            try await lookAtBackup(in: store, isHashed: isHashed, pace, &look)
            return look
        }
    }

    private func lookAtFormat(of store: OpenStore, _ look: inout OwnLook) async throws {
        look.count += 1
        guard let reason = try await reason({ _ = try await store.store.identity(at: store.entry.url) }) else { return }
        look.faults.append(OwnFault(part: .format, object: "\(ObjectName.format)", reason: reason))
    }

    private func lookAtKeys(in store: OpenStore, _ look: inout OwnLook) async throws {
        let keys = CoordinatorKeys(authority: authority, receiptKey: receiptKey, recoveryKeys: recoveryKeys)
        var good: Set<CoordinatorRecord> = []
        var bad: [(record: CoordinatorRecord, object: StoredObject, reason: String)] = []
        for object in try await store.store.objects(.coordinator, maximumCount: 100_000) {
            guard case .coordinatorRecord(let record, _) = StoredItem(object.name) else { continue }
            let reason = try await reason {
                let bytes = try await store.store.read(
                    object.name, maximumBytes: Format.maximumRecordBytes, fresh: true)
                let parsed = try SealedRecord.parse(bytes)
                // What a stranger put there and signed is not damaged: a rebuild knows it for what it is.
                if keys.matches(try parsed.verified(by: parsed.claimed.signingKey), as: record) { good.insert(record) }
            }
            if let reason { bad.append((record, object, reason)) }
        }
        for (record, part) in zip(CoordinatorKeys.kept, [OwnFault.Part.authorityKey, .receiptKey]) {
            look.count += 1
            let damaged = bad.filter { $0.record == record }
            if good.contains(record) {
                look.replaced += damaged.map { ($0.object.name, $0.object.byteCount) }
            } else {
                look.faults.append(
                    OwnFault(
                        part: part, object: damaged.first?.object.name.description ?? "coordinator/\(record.rawValue)",
                        reason: damaged.first?.reason ?? "the object is missing"))
            }
        }
    }

    private func lookAtEpoch(in store: OpenStore, _ look: inout OwnLook) async throws {
        look.count += 1
        let name = ObjectName.coordinatorEpoch(epoch)
        let reason = try await reason {
            let bytes = try await store.store.read(name, maximumBytes: Format.maximumRecordBytes, fresh: true)
            try check(try SealedRecord.parse(bytes), as: EpochRecord.name)
        }
        if let reason { look.faults.append(OwnFault(part: .epoch, object: name.description, reason: reason)) }
    }

    private func lookAtState(in store: OpenStore, _ look: inout OwnLook) async throws {
        guard let own = try await catalog.newestOwn(.state, in: store.number), let name = ObjectName(own.object) else {
            return
        }
        look.count += 1
        let reason = try await reason {
            let bytes = try await store.store.read(name, maximumBytes: Format.maximumSealedRecordBytes, fresh: true)
            try check(try SealedRecord.parse(bytes), as: FleetState.recordName)
        }
        guard let reason else { return }
        look.faults.append(OwnFault(part: .state, object: own.object, reason: reason))
        look.bad.append(own)
    }

    private func check(_ record: Unverified<SealedRecord>, as name: String) throws {
        let record = try record.verified(by: receiptKey.verifyingKey)
        guard record.name == name, record.coordinatorEpoch == epoch else {
            throw FormatError("sealed record", .malformed("it is another one than its name says"))
        }
    }

    private func lookAtBackup(
        in store: OpenStore, isHashed: Bool, _ pace: CopyPace, _ look: inout OwnLook
    ) async throws {
        guard let own = try await catalog.newestOwn(.backup, in: store.number), let name = ObjectName(own.object),
            case .catalogBackup(let epoch, let number) = StoredItem(name)
        else { return }
        look.count += 1
        var needed: Set<PackID> = []
        let reason = try await reason {
            let bytes = try await store.store.read(name, maximumBytes: Format.maximumManifestBytes, fresh: true)
            let part = try Manifest.parse(bytes).verified(by: receiptKey.verifyingKey).publicPart
            guard part.labels[CatalogShelf.label] == CatalogShelf.mark(epoch, number) else {
                throw FormatError("manifest", .malformed("it is another backup than its name says"))
            }
            needed = part.packs.added
        }
        if let reason {
            look.faults.append(OwnFault(part: .backup, object: own.object, reason: reason))
            look.bad.append(own)
        }
        let noted = try await catalog.packs(ofNewest: 1, backupsIn: store.number)
        for pack in needed.sorted() {
            look.count += 1
            guard let own = noted.first(where: { $0.id == pack })?.own, let name = ObjectName(own.object) else {
                look.faults.append(
                    OwnFault(part: .backup, object: "catalog/packs/\(pack)", reason: "the object is missing"))
                continue
            }
            await pace.spend(isHashed ? Int(own.byteCount) : 0)
            let (fault, bytesRead) = try await fault(
                in: name, of: store, size: UInt64(own.byteCount), hash: pack, isHashed: isHashed)
            look.bytesRead += bytesRead
            guard let fault else { continue }
            look.faults.append(OwnFault(part: .backup, object: own.object, reason: fault.reason))
            look.bad.append(own)
        }
    }

    /// - Returns: what is wrong with an object; nil where nothing is. A store that is away, or will do later, throws.
    private func reason(_ look: () async throws -> Void) async throws -> String? {
        do {
            try await look()
            return nil
        } catch let error as StoreError {
            return try Self.reason(of: error)
        } catch let error as FormatError {
            return error.summary
        }
    }

    // MARK: - Putting it again

    /// What cannot be put again now is so later: the next look tells.
    private func heal(_ found: OwnLook, in store: OpenStore) async {
        for part in Set(found.faults.map(\.part)) {
            do {
                guard await mayChange(store) else { return }
                try await heal(part, found, in: store)
            } catch {
                logger.warning(
                    "not put again",
                    metadata: [
                        "store": "\(store.name)", "object": "\(part.rawValue)", "reason": "\(reasonText(error))",
                    ])
            }
        }
    }

    private func heal(_ part: OwnFault.Part, _ found: OwnLook, in store: OpenStore) async throws {
        switch part {
        case .authorityKey: try await put(.authorityKey, in: store)
        case .receiptKey: try await put(.receiptKey, in: store)
        case .epoch:
            try await EpochRecord(receiptKey: receiptKey, recoveryKeys: recoveryKeys, random: random)
                .keep(epoch, in: store.store, at: clock.now())
        case .state:
            // In this order: a crash in between must not let a name be put again that is given up.
            try await renewFleetState()
            try await strikeOut(found.bad.filter { $0.kind == .state })
        case .backup:
            try await strikeOut(found.bad.filter { $0.kind != .state })
            try await backUpCatalog()
        // Which store it is nobody but that object says: the store counts as away as soon as it is gone.
        case .format: break
        }
    }

    private func put(_ record: CoordinatorRecord, in store: OpenStore) async throws {
        let keys = CoordinatorKeys(authority: authority, receiptKey: receiptKey, recoveryKeys: recoveryKeys)
        try await store.store.put(
            .coordinatorRecord(record, Generation(from: random)),
            try keys.sealed(record, epoch: epoch, random: random))
    }

    private func strikeOut(_ bad: [Catalog.OwnObject]) async throws {
        for own in bad { try await catalog.strikeOut(own, notBefore: clock.now() + Self.quarantine) }
    }
}
