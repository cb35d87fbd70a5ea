import MusterAPI
import MusterModel

/// Of a command that waits for what the coordinator does: one that is started anew meanwhile is waited for.
struct CoordinatorPatience {
    /// Since its last answer.
    static let limit = Duration.seconds(900)
    private static let pause = Duration.seconds(1)
    private var lastAnswer = Surroundings.monotonic()

    /// - Returns: nil where it does not answer just now, after a pause: ask again.
    mutating func ask<Answer>(
        _ call: () async throws(CoordinatorError) -> Answer
    ) async throws -> Answer? {
        do {
            let answer = try await call()
            lastAnswer = Surroundings.monotonic()
            return answer
        } catch {
            guard error.isTransient, Surroundings.monotonic() - lastAnswer < Self.limit else { throw error }
            try await Surroundings.sleep(Self.pause)
            return nil
        }
    }
}
