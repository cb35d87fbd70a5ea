import Foundation
import Logging
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle

/// A look at every object that the catalog expects in one store, and how far it is.
///
/// It is kept in the catalog, so it goes on after a restart. What came meanwhile is looked at too, as far as its number
/// is not passed yet.
struct StoreCheck: Codable, Hashable, Sendable {
    struct Failed: Codable, Hashable, Sendable {
        let snapshot: String
        let object: String
        let reason: String
    }

    private enum Stage: String, Codable { case packs, snapshots, keys, done }

    static let mostNamed = 1000

    let run: String
    let level: String
    let startedAt: String
    private(set) var finishedAt = ""
    private(set) var passed = 0
    private(set) var failedCount = 0
    private(set) var failed: [Failed] = []
    private(set) var bytesRead: Int64 = 0
    /// As expected at the beginning; not less than was looked at.
    private var expected: Int
    private var stage = Stage.packs
    private var after: Int64 = 0

    init(run: RunID, level: VerificationLevel, expected: Int, now: Timestamp) {
        (self.run, self.level) = (run.description, level.rawValue)
        (self.expected, startedAt) = (expected, now.description)
    }

    var isFinished: Bool { stage == .done }
    var isHashed: Bool { level != VerificationLevel.check.rawValue }
    var total: Int { max(expected, passed + failedCount) }

    /// Ends before its time: what was not looked at did not pass.
    mutating func breakOff(because reason: String, now: Timestamp) {
        failed.append(Failed(snapshot: "", object: "", reason: reason))
        end(now)
        expected = max(expected, passed + failedCount + 1)
    }

    fileprivate mutating func end(_ now: Timestamp) { (stage, finishedAt) = (.done, now.description) }

    fileprivate mutating func note(_ looked: Looked) {
        passed += looked.count - looked.failed.count
        failedCount += looked.failed.count
        failed += looked.failed.prefix(max(0, Self.mostNamed - failed.count))
        bytesRead += looked.bytesRead
    }

    fileprivate struct Looked: Sendable {
        var count = 0
        var failed: [Failed] = []
        var bytesRead: Int64 = 0

        mutating func add(_ other: Looked) {
            count += other.count
            failed += other.failed
            bytesRead += other.bytesRead
        }
    }
}

/// Does the checks that were asked for, each store by itself.
struct StoreCheckService: Service {
    private static let patience = Duration.seconds(60)

    let coordinator: Coordinator
    private let busy = BusyStores()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                let ticket = await coordinator.storeChecks.ticket(true)
                for store in coordinator.stores.all where busy.begin(store.number) {
                    group.addTask {
                        let didWork = await check(store)
                        busy.end(store.number)
                        // Another may have been asked for since its end.
                        if didWork { await coordinator.storeChecks.ring(true) }
                    }
                }
                await coordinator.storeChecks.wait(true, after: ticket, atMost: Self.patience)
            }
        }
    }

    /// - Returns: false where none was asked for, or it is put off.
    private func check(_ store: OpenStore) async -> Bool {
        do {
            guard var check = try await coordinator.storeCheck(of: store), !check.isFinished else { return false }
            let pace = CopyPace(
                bytesPerSecond: coordinator.settings.scrub.mibPerSecond << 20, clock: coordinator.clock)
            while !check.isFinished, !Task.isShuttingDownGracefully, !Task.isCancelled {
                do {
                    try await coordinator.step(&check, in: store, pace)
                } catch let error as StoreError where error.meansAbsence {
                    check.breakOff(because: error.summary, now: coordinator.clock.now())
                }
                try await coordinator.keep(check, of: store)
            }
            return check.isFinished
        } catch {
            coordinator.logger.warning(
                "check of a store postponed", metadata: ["store": "\(store.name)", "reason": "\(error)"])
            return false
        }
    }
}

extension Coordinator {
    private static let lookedAtOnce = 128
    /// So many objects are asked for beside each other.
    private static let lanes = 8
    private static let mostKeys = 100_000

    func storeCheck(of store: OpenStore) async throws -> StoreCheck? {
        guard let bytes = try await catalog.setting(Self.setting(store)), !bytes.isEmpty else { return nil }
        return try JSONDecoder().decode(StoreCheck.self, from: Data(bytes))
    }

    func keep(_ check: StoreCheck, of store: OpenStore, audit row: Catalog.AuditRow? = nil) async throws {
        try await catalog.set(Self.setting(store), to: Array(try JSONEncoder().encode(check)), audit: row)
    }

    private static func setting(_ store: OpenStore) -> String { "store-check-\(store.number)" }

    /// Looks at the next objects.
    ///
    /// - Throws: `StoreError` where the store is away: that says nothing of its objects.
    func step(_ check: inout StoreCheck, in store: OpenStore, _ pace: CopyPace) async throws {
        if let absence = store.store.absence { throw absence }
        let isHashed = check.isHashed
        try await check.advance(
            packs: { after in
                let packs = try await catalog.packReplicas(
                    inStore: store.number, after: after, limit: Self.lookedAtOnce)
                return (packs.last?.pack, try await look(at: packs, in: store, isHashed, pace))
            },
            snapshots: { after in
                let snapshots = try await catalog.snapshots(
                    inStore: store.number, after: after, limit: Self.lookedAtOnce)
                return (snapshots.last?.number, try await look(at: snapshots, in: store, isHashed))
            },
            keys: {
                var looked = try await lookAtKeys(in: store)
                looked.add(try await lookAtOwn(in: store, isHashed, pace))
                return looked
            }, now: clock.now())
    }

    private func look(
        at packs: [Catalog.PackReplica], in store: OpenStore, _ isHashed: Bool, _ pace: CopyPace
    ) async throws -> StoreCheck.Looked {
        try await lookedAtAll(packs) { pack in
            // A size does not make good what was found bad.
            let readsAll = isHashed || pack.state != .present
            if readsAll { await pace.spend(Int(pack.sizeBytes)) }
            let (reason, bytesRead) = try await reasoned {
                try await inspect(pack, in: store, isHashed: readsAll)
            }
            var looked = StoreCheck.Looked(count: 1, bytesRead: bytesRead)
            if !reason.isEmpty {
                let needing = try await catalog.snapshots(needing: pack.pack, limit: 1)
                looked.failed = [
                    StoreCheck.Failed(
                        snapshot: needing.first.map { "\($0)" } ?? "",
                        object: pack.objectName?.description ?? "\(pack.id)", reason: reason)
                ]
            }
            return looked
        }
    }

    private func look(
        at snapshots: [Catalog.Snapshot], in store: OpenStore, _ isHashed: Bool
    ) async throws -> StoreCheck.Looked {
        try await lookedAtAll(snapshots) { snapshot in
            var looked = StoreCheck.Looked(count: 2)
            let (reason, bytesRead) = try await reasoned {
                let found = try await inspectRecords(of: snapshot, in: store, isHashed: isHashed)
                looked.failed = found.faults.map {
                    StoreCheck.Failed(
                        snapshot: snapshot.id.description, object: $0.object.description, reason: $0.reason)
                }
                return ("", found.bytesRead)
            }
            looked.bytesRead = bytesRead
            if !reason.isEmpty {
                looked.failed = [StoreCheck.Failed(snapshot: snapshot.id.description, object: "", reason: reason)]
            }
            return looked
        }
    }

    /// What keeps an object from being looked at did not pass, and must not keep the check from the others.
    private func reasoned(
        _ look: () async throws -> (reason: String, bytesRead: Int64)
    ) async throws -> (reason: String, bytesRead: Int64) {
        do {
            return try await look()
        } catch let error as StoreError where !error.meansAbsence {
            return ("not looked at: \(error.summary)", 0)
        }
    }

    /// They are so small that they are read, whatever the level is.
    private func lookAtKeys(in store: OpenStore) async throws -> StoreCheck.Looked {
        var looked = StoreCheck.Looked()
        for id in try await catalog.nodesWithKeys(inStore: store.number, limit: Self.mostKeys) {
            guard let node = try await catalog.node(id), let key = VerifyingKey(bytes: node.signingKey),
                let replica = try await catalog.keyReplicas(of: id).first(where: { $0.store == store.number })
            else { continue }
            looked.count += 1
            do {
                looked.bytesRead += Int64(try await readKeys(replica, of: id, key, in: store).count)
            } catch let error as FormatError {
                looked.failed.append(.init(snapshot: "", object: replica.object, reason: error.summary))
            } catch let error as StoreError where !error.meansAbsence {
                let reason = error.isTransient ? "not looked at: \(error.summary)" : try Self.reason(of: error)
                looked.failed.append(.init(snapshot: "", object: replica.object, reason: reason))
            }
        }
        return looked
    }

    /// What a rebuild needs and no snapshot does.
    private func lookAtOwn(in store: OpenStore, _ isHashed: Bool, _ pace: CopyPace) async throws -> StoreCheck.Looked {
        do {
            let own = try await careForOwnObjects(in: store, isHashed: isHashed, pace)
            let failed = own.faults.map { StoreCheck.Failed(snapshot: "", object: $0.object, reason: $0.reason) }
            return StoreCheck.Looked(count: own.count, failed: failed, bytesRead: own.bytesRead)
        } catch let error as StoreError where !error.meansAbsence {
            let failed = StoreCheck.Failed(
                snapshot: "", object: "coordinator/", reason: "not looked at: \(error.summary)")
            return StoreCheck.Looked(count: 1, failed: [failed])
        }
    }

    private func lookedAtAll<Item: Sendable>(
        _ items: [Item], _ look: @escaping @Sendable (Item) async throws -> StoreCheck.Looked
    ) async throws -> StoreCheck.Looked {
        var all = StoreCheck.Looked()
        try await inLanes(items, width: Self.lanes, look) { one in
            all.add(one)
            return true
        }
        return all
    }
}

extension StoreCheck {
    fileprivate typealias Look = (Int64) async throws -> (last: Int64?, looked: Looked)

    fileprivate mutating func advance(
        packs: Look, snapshots: Look, keys: () async throws -> Looked, now: Timestamp
    ) async throws {
        switch stage {
        case .packs: try await go(packs, then: .snapshots)
        case .snapshots: try await go(snapshots, then: .keys)
        case .keys:
            note(try await keys())
            end(now)
        case .done: break
        }
    }

    private mutating func go(_ look: Look, then next: Stage) async throws {
        let (last, looked) = try await look(after)
        note(looked)
        (stage, after) = last.map { (stage, $0) } ?? (next, 0)
    }
}
