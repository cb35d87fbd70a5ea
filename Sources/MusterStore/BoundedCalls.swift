import MusterModel
import Synchronization

/// How long a store may take over one call before nobody waits for it any more.
package struct StorePatience: Sendable {
    /// Nothing between us and a folder gives up by itself: a mount whose server is gone blocks its callers for ever.
    package static let ofFolders = StorePatience(limit: .seconds(30), leastBytesPerSecond: 1 << 20)
    /// Clients of stores on other machines give up by themselves, but only after several tries.
    package static let ofServers = StorePatience(limit: .seconds(60), leastBytesPerSecond: 64 << 10)

    let limit: Duration
    let leastBytesPerSecond: Int
    let sleep: @Sendable (Duration) async throws -> Void

    /// - Parameters:
    ///   - limit: for a call that moves no bytes.
    ///   - leastBytesPerSecond: those that move some have so much more time.
    ///   - sleep: lets the time pass.
    package init(
        limit: Duration, leastBytesPerSecond: Int,
        sleep: @escaping @Sendable (Duration) async throws -> Void = RealTime.pass
    ) {
        precondition(leastBytesPerSecond > 0, "a store that moves nothing cannot be waited for")
        (self.limit, self.leastBytesPerSecond, self.sleep) = (limit, leastBytesPerSecond, sleep)
    }

    func limit(moving byteCount: Int) -> Duration {
        limit + .seconds(min(byteCount, Int(StoreLimit.readBytes)) / leastBytesPerSecond)
    }
}

/// The calls into one store: nobody waits for one of them without end.
///
/// A call into a mount that hangs blocks its thread in the kernel, and nothing wakes it. So its caller is let go once
/// the time is over, and the store hangs until every call that was given up has come back. Who begins no call meanwhile
/// leaves it the threads of those that were under way, and no more.
final class BoundedCalls: Sendable {
    private struct State {
        var lastCall: UInt64 = 0
        /// Calls that came back.
        var endCount: UInt64 = 0
        var underWay: Set<UInt64> = []
        /// Nobody waits for these any more.
        var hung: Set<UInt64> = []
    }

    private struct TimeIsOver: Error {}

    private static let mostRounds = 4

    private let store: String
    private let patience: StorePatience
    private let state = Mutex(State())

    init(of store: String, _ patience: StorePatience) { (self.store, self.patience) = (store, patience) }

    /// Why no call may begin; nil where none hangs.
    var hang: StoreError? {
        guard state.withLock({ !$0.hung.isEmpty }) else { return nil }
        return .unavailable(store: store, reason: "a call to it has not come back")
    }

    /// - Parameter limit: nil for that of a call that moves so many bytes.
    func run<Value: Sendable>(
        moving byteCount: Int = 0, atMost limit: Duration? = nil,
        _ body: @escaping @Sendable () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        let limit = limit ?? patience.limit(moving: byteCount)
        let call = begin()
        let outcome: Result<Value, StoreError>
        do {
            outcome = try await withPatience(limit, orThrow: TimeIsOver(), sleep: pass) { [self] in
                defer { end(call) }
                do throws(StoreError) { return .success(try await body()) } catch { return .failure(error) }
            }
        } catch {
            giveUp(call)
            throw .unavailable(store: store, reason: "it did not answer within \(limit.components.seconds) s")
        }
        return try outcome.get()
    }

    /// Tidies up, which is begun whatever hangs: there is nobody else to do it. It is waited for as a call is, and not
    /// at all while the store hangs.
    func tidyUp(_ body: @escaping @Sendable () async -> Void) async {
        guard hang == nil else {
            let call = begin()
            giveUp(call)
            // Not of a group, which would wait for it.
            _ = Task { [self] in
                await body()
                end(call)
            }
            return
        }
        do {
            try await run { await body() }
        } catch {
            // It goes on by itself, and the store hangs until it has ended.
        }
    }

    private func begin() -> UInt64 {
        state.withLock { state in
            state.lastCall += 1
            state.underWay.insert(state.lastCall)
            return state.lastCall
        }
    }

    /// Lets the time of a call pass, and more of it while others come back: what waits in line behind them does not hang.
    private func pass(_ limit: Duration) async throws {
        for _ in 0..<Self.mostRounds {
            let before = state.withLock(\.endCount)
            try await patience.sleep(limit)
            if state.withLock(\.endCount) == before { return }
        }
    }

    private func end(_ call: UInt64) {
        state.withLock { state in
            state.endCount += 1
            state.underWay.remove(call)
            state.hung.remove(call)
        }
    }

    /// Does nothing where the call came back just now.
    private func giveUp(_ call: UInt64) {
        state.withLock { state in
            if state.underWay.remove(call) != nil { state.hung.insert(call) }
        }
    }
}
