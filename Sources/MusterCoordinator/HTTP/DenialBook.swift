import Logging
import MusterCatalog
import MusterModel
import MusterServing
import ServiceLifecycle
import Synchronization

/// Denied requests, summed up until they are written to the audit.
///
/// Whoever sends a million of them must not grow the catalog by a million rows: each kind is one row with a count, each
/// writing has a bounded number of rows, and while it goes on they are written at longer and longer intervals. Callers
/// that are known, strangers, and peers that did not get as far as a request have places of their own, so that no crowd
/// of the ones hides what the others try; what is beyond them is counted, by requests and by kinds. What a crash takes is
/// one interval's sums; the log and the metric have had each of them.
final class DenialBook: Sendable {
    /// Who is denied, as far as is known; each has places of its own.
    enum Party: String, CaseIterable, Sendable {
        case known = "known callers"
        /// Nothing says who it is but an address.
        case strangers
        /// An address, and no request: the TLS handshake was refused.
        case handshakes = "addresses"

        /// What is denied to them.
        var things: String { self == .handshakes ? "TLS handshakes" : "requests" }
    }

    struct Kind: Hashable, Sendable {
        let actor: String
        let what: String
        var party = Party.known
    }

    /// Kinds of each party that are told apart in one writing; more are counted together.
    static let mostKinds = 20
    /// Kinds beyond those that are counted apart; of more it is said that there are more.
    private static let mostOthers = 1000
    static let shortestInterval = Duration.seconds(60)
    private static let longestInterval = Duration.seconds(3600)
    /// So many within `alarmWindow` are an alarm.
    private static let manyDenials = 100
    private static let alarmWindow = Duration.seconds(600)

    /// Denials of one party.
    fileprivate struct Share: Sendable {
        var counts: [Kind: Int] = [:]
        /// What is counted together: so many requests, of kinds with these hashes.
        var others = 0
        var otherKinds: Set<Int> = []

        mutating func note(_ kind: Kind, _ count: Int = 1) {
            if counts[kind] != nil || counts.count < DenialBook.mostKinds {
                counts[kind, default: 0] += count
            } else {
                others += count
                noteOther(kind.hashValue)
            }
        }

        mutating func add(_ share: Share) {
            for (kind, count) in share.counts { note(kind, count) }
            others += share.others
            for kind in share.otherKinds { noteOther(kind) }
        }

        private mutating func noteOther(_ kind: Int) {
            if otherKinds.count <= DenialBook.mostOthers { otherKinds.insert(kind) }
        }

        func rows(of party: Party) -> [(kind: Kind, count: Int)] {
            var rows = counts.map { (kind: $0.key, count: $0.value) }
            rows.sort { ($0.count, $0.kind.actor, $0.kind.what) > ($1.count, $1.kind.actor, $1.kind.what) }
            guard others > 0 else { return rows }
            let count =
                otherKinds.count > DenialBook.mostOthers ? "more than \(DenialBook.mostOthers)" : "\(otherKinds.count)"
            let rest = Kind(
                actor: "several \(party.rawValue)", what: "\(party.things) of other kinds: \(count)", party: party)
            return rows + [(rest, others)]
        }
    }

    private struct State {
        var shares: [Party: Share] = [:]
        var interval = DenialBook.shortestInterval
        var writtenAt: Timestamp?
        var windowBegan: Timestamp?
        var inWindow = 0
        var inWindowBefore = 0
    }

    /// What was taken out of the book to be written.
    struct Taking: Sendable {
        let rows: [(kind: Kind, count: Int)]
        fileprivate let shares: [Party: Share]
    }

    private let state = Mutex(State())

    func note(_ kind: Kind, at now: Timestamp) {
        state.withLock { state in
            state.shares[kind.party, default: Share()].note(kind)
            // The alarm is of requests: whoever scans ports, and asks nothing, must not set it off.
            guard kind.party != .handshakes else { return }
            Self.move(&state, to: now)
            state.inWindow += 1
        }
    }

    /// What is to be written; nil where there is nothing, or where it is too early.
    ///
    /// - Parameter isLast: the program ends.
    func take(at now: Timestamp, isLast: Bool = false) -> Taking? {
        state.withLock { state in
            if let written = state.writtenAt, written <= now, now - written < state.interval, !isLast { return nil }
            state.writtenAt = now
            let rows = Party.allCases.flatMap { state.shares[$0]?.rows(of: $0) ?? [] }
            guard !rows.isEmpty else {
                state.interval = Self.shortestInterval
                return nil
            }
            state.interval = min(state.interval * 2, Self.longestInterval)
            defer { state.shares = [:] }
            return Taking(rows: rows, shares: state.shares)
        }
    }

    /// What could not be written goes with the next.
    func putBack(_ taking: Taking) {
        state.withLock { state in
            for (party, share) in taking.shares { state.shares[party, default: Share()].add(share) }
        }
    }

    /// How many there were lately, where that is more than mistakes explain.
    func many(at now: Timestamp) -> Int? {
        state.withLock { state in
            Self.move(&state, to: now)
            let count = state.inWindow + state.inWindowBefore
            return count >= Self.manyDenials ? count : nil
        }
    }

    private static func move(_ state: inout State, to now: Timestamp) {
        guard let began = state.windowBegan, began <= now, now - began < alarmWindow else {
            let isNext = state.windowBegan.map { now - $0 < alarmWindow * 2 } ?? false
            state.inWindowBefore = isNext ? state.inWindow : 0
            (state.windowBegan, state.inWindow) = (now, 0)
            return
        }
    }
}

extension Coordinator {
    /// - Parameter what: method and path as the table of routes has it: nothing of the caller's choice.
    func note(_ denial: DenialKind, by caller: Caller?, from address: String, what: String) {
        metrics.count(denial)
        let name = caller.flatMap { $0 == .anonymous ? nil : $0.name }
        denials.note(
            .init(
                actor: "\(name ?? "anonymous") at \(address)", what: "\(what): \(denial.rawValue)",
                party: name == nil ? .strangers : .known), at: clock.now())
    }

    /// Counts a connection that did not come to a request; what we refused is a denial too.
    func note(_ failure: HandshakeFailure, on plane: Plane, from address: String) {
        metrics.count(failure, on: plane)
        guard failure.isRefusal else { return }
        denials.note(
            .init(
                actor: "anonymous at \(address)",
                what: "TLS handshake on the \(plane.rawValue) plane: \(failure.rawValue)", party: .handshakes),
            at: clock.now())
    }

    func writeDenials(isLast: Bool = false) async throws {
        let now = clock.now()
        guard let taking = denials.take(at: now, isLast: isLast) else { return }
        do {
            try await catalog.audit(
                taking.rows.map { kind, count in
                    Catalog.AuditRow(actor: kind.actor, action: "denied", subject: "\(count) × \(kind.what)", at: now)
                })
        } catch {
            denials.putBack(taking)
            throw error
        }
    }

    func denialAlarms(now: Timestamp) -> [FleetAlarm] {
        guard let count = denials.many(at: now) else { return [] }
        return [
            FleetAlarm(
                .denied, "\(count) requests were denied within the last minutes",
                hint: "Look at 'muster audit list' for who sends them; revoke a node that should not be there.")
        ]
    }
}

/// Writes denied requests to the audit from time to time.
struct DenialService: Service {
    private static let interval = Duration.seconds(15)

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        var isLast = false
        while !isLast {
            await rounds.wait(true, after: 0, atMost: Self.interval)
            isLast = Task.isShuttingDownGracefully || Task.isCancelled
            do {
                try await coordinator.writeDenials(isLast: isLast)
            } catch {
                coordinator.logger.error("denied requests not audited", metadata: ["reason": "\(error)"])
            }
        }
    }
}
