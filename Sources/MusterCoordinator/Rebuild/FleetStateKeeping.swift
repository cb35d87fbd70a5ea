import Foundation
import HTTPTypes
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle
import Synchronization

/// Which record of the fleet's state each store has, as far as this process knows.
final class KeptStates: Sendable {
    private let numbers = Mutex<[Int64: UInt64]>([:])

    subscript(store: Int64) -> UInt64? {
        get { numbers.withLock { $0[store] } }
        set { numbers.withLock { $0[store] = newValue } }
    }
}

/// Writes the fleet's state into every store whenever it has changed, before the change is answered.
extension Coordinator {
    /// What was written last: its number and the hash of its content.
    private struct Written: Codable {
        var number: UInt64
        var content: String
        /// The newest row of the audit then, and when that was.
        var auditRow: Int64?
        var at: Int64?
    }

    private static let writtenSetting = "fleet-state"
    private static let mostTries: UInt64 = 100
    /// In each store; the one before the newest is for the day when the newest is damaged.
    private static let keptRecords = 2
    /// A new row of the audit alone, such as a denied request, is worth a record that often.
    private static let auditPeriod = Duration.seconds(3600)

    /// Brings the state as it is now to every store that answers and has it not.
    ///
    /// - Throws: where no store that is on no node has it then.
    func keepFleetState() async throws {
        guard succession.successor == nil else { return }
        try await stateLanes.pass(true) {
            var state = try await FleetState(
                catalog, settings: settingsText, s3: opening.reach.s3, random: random, now: clock.now())
            let content = try state.contentHash()
            let written = try await catalog.setting(Self.writtenSetting).flatMap {
                // One that cannot be read is as none: the next number that is free is taken.
                try? JSONDecoder().decode(Written.self, from: Data($0))
            }
            state.epoch = epoch
            state.number = written?.number ?? 0
            let isNew = written?.content != content || isAuditDue(written, state)
            if isNew { state.number += 1 }
            let first = state.number
            while try await !spread(&state, isNew: isNew) {
                guard state.number < first + Self.mostTries else { throw Refusal.noStore }
                state.number += 1
            }
            let entry = Written(
                number: state.number, content: content, auditRow: state.audit?.row, at: clock.now().microseconds)
            if isNew { try await catalog.set(Self.writtenSetting, to: Array(try JSONEncoder().encode(entry))) }
        }
    }

    /// Writes the state anew, under the next number: the record that a store has is not what was put there.
    func renewFleetState() async throws {
        try await stateLanes.pass(true) { try await catalog.set(Self.writtenSetting, to: try await unsaid()) }
        try await keepFleetState()
    }

    /// What was written last, as if it had said something else.
    private func unsaid() async throws -> [UInt8] {
        guard let bytes = try await catalog.setting(Self.writtenSetting) else { return [] }
        // One that cannot be read is as none: the next number that is free is taken.
        guard var written = try? JSONDecoder().decode(Written.self, from: Data(bytes)) else { return [] }
        written.content = ""
        return Array(try JSONEncoder().encode(written))
    }

    private func isAuditDue(_ written: Written?, _ state: FleetState) -> Bool {
        guard let row = written?.auditRow, let at = written?.at else { return true }
        // A clock that was set back must not put it off.
        let age = clock.now() - Timestamp(microseconds: at)
        return row != state.audit?.row && (age < .zero || age >= Self.auditPeriod)
    }

    /// Puts the record into the stores that lack it.
    ///
    /// - Returns: false where its number is taken, which is by a state that a crash kept from being noted.
    private func spread(_ state: inout FleetState, isNew: Bool) async throws -> Bool {
        let item = StoredItem.coordinatorState(epoch: state.epoch, number: state.number)
        let lacking = stores.all.filter { isNew || kept[$0.number] != state.number }
        guard !lacking.isEmpty else { return true }
        let bytes = try state.sealed(to: recoveryKeys, by: receiptKey, random: random)
        var failure: StoreError?
        for store in lacking {
            let own = Catalog.OwnObject(
                store: store.number, object: item.name.description, kind: .state, byteCount: bytes.count)
            try await catalog.begin(own)
            do {
                try await store.store.put(item.name, bytes)
            } catch StoreError.alreadyExists {
                if isNew { return false }
            } catch {
                failure = failure ?? error
                continue
            }
            try await catalog.complete(own)
            // What the new record replaces is gc's.
            try await catalog.discardStates(keeping: Self.keptRecords, in: store.number, now: clock.now())
            kept[store.number] = state.number
        }
        let isKept = stores.all.contains { !$0.isOnNode && kept[$0.number] == state.number }
        guard isKept else { throw failure.map { Refusal($0) } ?? Refusal.noStore }
        return true
    }

    /// After a change that stands: whoever asked hears whether a rebuild would know of it.
    func keepChange() async throws {
        do {
            try await keepFleetState()
        } catch {
            throw Refusal(
                .serviceUnavailable, "not_kept",
                "the change was made, but no store took the record that keeps it: \(reasonText(error))",
                hint: "Bring a store back: the record follows by itself, and until then a rebuild would not know.",
                isTransient: true)
        }
    }

    /// After a change that a rebuild finds out without the record, too.
    func keepChangeSoon() async {
        do {
            try await keepFleetState()
        } catch {
            logger.warning("fleet state not kept", metadata: ["reason": "\(reasonText(error))"])
        }
    }
}

/// Brings the fleet's state to stores that were away when it changed.
struct FleetStateService: Service {
    private static let interval = Duration.seconds(30)

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await rounds.wait(true, after: 0, atMost: Self.interval)
            guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
            await coordinator.keepChangeSoon()
        }
    }
}
