package import NIOCore
import Synchronization

/// How fast a peer sends its body: one that sends a byte now and then must not hold a place for ever.
///
/// Only the time counts in which we wait for the peer: what we do with a piece, and waiting in
/// line before the first, is not the peer's fault.
package final class BodyPace: Sendable {
    private static let grace = Duration.seconds(10)
    /// The slowest that any peer may be.
    package static let slowestBytesPerSecond = 64.0 * 1024
    private static let interval = Duration.seconds(5)

    private let bytesPerSecond: Double

    private struct State {
        var byteCount = 0
        var waited = Duration.zero
        var waitsSince: ContinuousClock.Instant?
    }

    private let state = Mutex(State())

    /// - Parameter bytesPerSecond: that the peer must keep up.
    package init(bytesPerSecond: Double = BodyPace.slowestBytesPerSecond) { self.bytesPerSecond = bytesPerSecond }

    /// Runs `body`, and cancels it once its peer is too slow.
    ///
    /// - Throws: `BodyTooSlow` then.
    package static func watch<Value: Sendable>(
        bytesPerSecond: Double = BodyPace.slowestBytesPerSecond,
        _ body: @escaping @Sendable (BodyPace) async throws -> Value
    ) async throws -> Value {
        let pace = BodyPace(bytesPerSecond: bytesPerSecond)
        return try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask { try await body(pace) }
            group.addTask {
                while true {
                    try await Task.sleep(for: interval)
                    guard pace.isEnough(at: .now) else { throw BodyTooSlow() }
                }
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }

    /// Waits for the peer's next piece.
    package func next(
        isolation: isolated (any Actor)? = #isolation, _ piece: () async throws -> ByteBuffer?
    ) async throws -> ByteBuffer? {
        begin(at: .now)
        let buffer = try await piece()
        end(byteCount: buffer?.readableBytes ?? 0, at: .now)
        return buffer
    }

    package func begin(at now: ContinuousClock.Instant) { state.withLock { $0.waitsSince = now } }

    package func end(byteCount: Int, at now: ContinuousClock.Instant) {
        state.withLock { state in
            if let since = state.waitsSince { state.waited += now - since }
            state.waitsSince = nil
            state.byteCount += byteCount
        }
    }

    package func isEnough(at now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            let waited = state.waited + (state.waitsSince.map { now - $0 } ?? .zero)
            return Double(state.byteCount) >= (waited - Self.grace) / .seconds(1) * bytesPerSecond
        }
    }
}

/// The peer sends its body so slowly that it is not waited for.
package struct BodyTooSlow: Error {}
