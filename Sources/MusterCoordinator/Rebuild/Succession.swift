import HTTPTypes
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle
import Synchronization

/// Whether another coordinator took this one's place, as its stores say.
///
/// A coordinator that sees a higher epoch than its own never writes again, neither into a store nor for a caller:
/// another one goes on with the same nodes. It still answers what it is asked.
///
/// A look is believed for `lookLasts`, and nothing that a look allowed takes longer than `longestStep`. A rebuild waits
/// for `takeover` after it took its epoch, which is more than both together: what the stores hold then is not changed
/// any more by whoever was there before. That holds while the wall clock is not set back meanwhile by the rest.
final class Succession: Sendable {
    static let lookLasts = Duration.seconds(10)
    static let longestStep = Duration.seconds(10)
    static let takeover = Duration.seconds(30)
    /// Epochs are asked for by name; a listing finds one that came before they followed each other without a gap.
    private static let listingEvery = Duration.seconds(3600)

    private struct State {
        var successor: UInt64?
        var since: Timestamp?
        /// When the last look at a store began that the store answered.
        var looks: [Int64: Timestamp] = [:]
        var listings: [Int64: Timestamp] = [:]
        /// When all stores were last looked at, whether they answered or not.
        var round: Timestamp?
        /// Stores that are being looked at.
        var underWay: Set<Int64> = []
    }

    private let state = Mutex(State())

    /// The epoch of whoever goes on; nil while that is this coordinator.
    var successor: UInt64? { state.withLock { $0.successor } }
    var since: Timestamp? { state.withLock { $0.since } }

    /// - Returns: false where it was known.
    func note(_ epoch: UInt64, at now: Timestamp) -> Bool {
        state.withLock { state in
            defer { (state.successor, state.since) = (max(state.successor ?? 0, epoch), state.since ?? now) }
            return state.successor == nil
        }
    }

    /// - Returns: false where somebody is looking at this store.
    func beginLook(at store: Int64) -> Bool { state.withLock { $0.underWay.insert(store).inserted } }
    func endLook(at store: Int64) { state.withLock { _ = $0.underWay.remove(store) } }

    func noteRound(at began: Timestamp) { state.withLock { $0.round = began } }

    func noteLook(at store: Int64, began: Timestamp, isListing: Bool) {
        state.withLock { state in
            state.looks[store] = began
            if isListing { state.listings[store] = began }
        }
    }

    /// All stores were looked at a moment ago.
    func isFresh(at now: Timestamp) -> Bool { Self.isWithin(Self.lookLasts, state.withLock { $0.round }, now) }

    /// This store was, and answered.
    func isFresh(_ store: Int64, at now: Timestamp) -> Bool {
        Self.isWithin(Self.lookLasts, state.withLock { $0.looks[store] }, now)
    }

    func isListingDue(_ store: Int64, at now: Timestamp) -> Bool {
        !Self.isWithin(Self.listingEvery, state.withLock { $0.listings[store] }, now)
    }

    /// A clock that was set back makes nothing last longer.
    private static func isWithin(_ span: Duration, _ moment: Timestamp?, _ now: Timestamp) -> Bool {
        moment.map { $0 <= now && now - $0 < span } ?? false
    }
}

extension Coordinator {
    /// The epoch of a coordinator that took over, in digits: it is remembered for the day when no store answers.
    private static let successorSetting = "successor"

    /// Looks for a higher epoch in every store that answers.
    func lookForSuccessor() async throws {
        if let bytes = try await catalog.setting(Self.successorSetting),
            let known = UInt64(String(decoding: bytes, as: UTF8.self)), known > epoch
        {
            _ = succession.note(known, at: clock.now())
        }
        let began = clock.now()
        await withDiscardingTaskGroup { group in
            for store in stores.all { group.addTask { await look(at: store) } }
        }
        succession.noteRound(at: began)
    }

    /// Looks at a store, and waits no longer for it than `lookPatience`: a call into a mount that hangs never ends. No
    /// second look is begun beside one that is under way.
    private func look(at store: OpenStore) async {
        for _ in 0..<2 {
            let ticket = await lookEnds.ticket(store.number)
            if succession.beginLook(at: store.number) {
                let tooSlow = StoreTooSlow(store: store.name, limit: lookPatience)
                // What becomes of it is noted by itself, also when nobody waits for it any more.
                try? await withPatience(lookPatience, orThrow: tooSlow) { await lookToItsEnd(at: store) }
                return
            }
            // That one may have asked before anybody took over: the next one counts.
            await lookEnds.waitOut(store.number, after: ticket, atMost: lookPatience)
        }
    }

    private func lookToItsEnd(at store: OpenStore) async {
        let record = EpochRecord(receiptKey: receiptKey, recoveryKeys: recoveryKeys, random: random)
        let began = clock.now()
        let isListing = succession.isListingDue(store.number, at: began)
        do {
            let highest =
                isListing
                ? try await record.highest(in: store.store, above: epoch)
                : try await record.successor(in: store.store, of: epoch)
            try await note(epoch: highest)
            succession.noteLook(at: store.number, began: began, isListing: isListing)
        } catch {
            logger.debug("no look for epochs", metadata: ["store": "\(store.name)", "reason": "\(error)"])
        }
        succession.endLook(at: store.number)
        await lookEnds.ring(store.number)
    }

    private func note(epoch highest: UInt64) async throws {
        guard highest > epoch, succession.note(highest, at: clock.now()) else { return }
        logger.error("another coordinator took over", metadata: ["epoch": "\(highest)"])
        try await catalog.set(Self.successorSetting, to: Array("\(highest)".utf8))
    }

    /// - Returns: false where this coordinator must not change anything any more.
    func mayWrite() async throws -> Bool {
        if succession.successor == nil, !succession.isFresh(at: clock.now()) { try await lookForSuccessor() }
        return succession.successor == nil
    }

    /// The same for what may be done in this store within `Succession.longestStep`: the store itself must have said so
    /// a moment ago.
    func mayChange(_ store: OpenStore) async -> Bool {
        guard succession.successor == nil else { return false }
        if !succession.isFresh(store.number, at: clock.now()) { await look(at: store) }
        return succession.successor == nil && succession.isFresh(store.number, at: clock.now())
    }

    /// Throws unless each of these stores says that nobody took over before this coordinator wrote a receipt into it:
    /// another one may have listed it before that, and would not know of the receipt. Where a store does not say, the
    /// node asks again.
    func requireStanding(in stores: [OpenStore]) async throws {
        var silent: OpenStore?
        for store in stores where await !mayChange(store) { silent = silent ?? store }
        try requireStanding()
        guard let silent else { return }
        throw Refusal(
            .serviceUnavailable, "no_look",
            "store '\(silent.name)' does not say whether another coordinator took over",
            hint: "Nothing is lost: it is committed again by itself. Look at 'muster store list' if this repeats.",
            isTransient: true)
    }

    func requireStanding() throws {
        guard let successor = succession.successor else { return }
        throw Refusal(
            .serviceUnavailable, "superseded",
            "this coordinator of epoch \(epoch) was replaced by one of epoch \(successor): it only reads",
            hint: "Stop this one, and let its address lead to the coordinator that was rebuilt.", isTransient: true)
    }

    /// What a coordinator that was succeeded still answers.
    func check(_ route: Route) throws {
        if !route.isReading { try requireStanding() }
    }

    /// Stores that the rebuild of this coordinator knew of and could not read, and that were not given up since: while
    /// there is one, nothing may be collected, as it may hold what nothing here names.
    func unscannedStores() async throws -> [String] {
        try await UnreadStores(catalog).names.filter { stores.store(named: $0) != nil }
    }

    /// Alarms of a coordinator that was succeeded, or that was rebuilt without all of its stores.
    func successionAlarms() async throws -> [FleetAlarm] {
        let unscanned = try await unscannedStores().map { name in
            FleetAlarm(
                .unscanned,
                "store '\(name)' did not answer when this coordinator was rebuilt: what is in it is not known",
                hint: "Bring it back and rebuild once more with all stores, or give it up with "
                    + "'muster store place \(name) lost'.",
                since: startedAt
            ).of(store: name)
        }
        return unscanned + (successionAlarm.map { [$0] } ?? [])
    }

    /// The alarm of a coordinator that was succeeded.
    private var successionAlarm: FleetAlarm? {
        guard let successor = succession.successor else { return nil }
        return FleetAlarm(
            .superseded,
            "a coordinator of epoch \(successor) has taken over the stores: this one, of epoch \(epoch), "
                + "only reads",
            hint: "Stop this one, and let its address lead to the coordinator that was rebuilt.",
            since: succession.since ?? startedAt)
    }
}

extension Route {
    /// Changes nothing, in no store and in no catalog.
    var isReading: Bool {
        switch self {
        case .listSnapshots, .showSnapshot, .readManifest, .readPack, .readKeys, .listNodes, .showNode,
            .listDatabases, .showJob, .showVerification, .status, .showRetention, .previewRetention, .listStores,
            .showProbe, .showCollection, .listVerifications, .listVerificationNodes, .listVerificationItems,
            .listDrills, .showCoverage, .showStoreCheck, .showStoreRepair, .metrics,
            .listAudit, .verifyAudit, .listFleetSnapshots, .showFleetSnapshot, .listPeople, .showRestore,
            .openDashboard, .enterDashboard, .signIn, .leaveDashboard, .dashboardAsset,
            .fleetPage, .nodesPage, .nodePage, .databasePage, .snapshotPage, .runsPage, .runPage, .storesPage,
            .alarmsPage, .jobsPage, .auditPage, .fleetSnapshotsPage, .fleetSnapshotPage:
            true
        default: false
        }
    }
}

/// Looks for a coordinator that took over, from time to time.
struct SuccessionService: Service {
    private static let interval = Succession.lookLasts / 2

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            do {
                try await coordinator.lookForSuccessor()
            } catch {
                coordinator.logger.warning("no look for epochs", metadata: ["reason": "\(error)"])
            }
            await rounds.wait(true, after: 0, atMost: Self.interval)
        }
    }
}
