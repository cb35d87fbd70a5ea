import Synchronization

/// Lets work through while its weight fits, in the order it came.
///
/// A large database takes most of the room and a small one little, so memory
/// stays bounded while small ones do not wait for a large one to end.
final class Turnstile: Sendable {
    private struct Waiting {
        let id: UInt64
        let weight: Int
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var used = 0
        var line: [Waiting] = []
        var nextID: UInt64 = 0

        /// Takes the room for those at the head of the line that fit now.
        mutating func admitted(room: Int) -> [Waiting] {
            var admitted: [Waiting] = []
            while let first = line.first, used + first.weight <= room {
                used += first.weight
                admitted.append(line.removeFirst())
            }
            return admitted
        }
    }

    private let room: Int
    private let state = Mutex(State())

    init(room: Int) {
        precondition(room > 0, "nothing fits into no room")
        self.room = room
    }

    var waitingCount: Int { state.withLock { $0.line.count } }

    /// Runs `body` once its weight fits; a weight above the room counts as the whole room.
    func pass<Success: Sendable>(
        weight: Int, _ body: () async throws -> Success
    ) async throws -> Success {
        let weight = max(1, min(weight, room))
        try await enter(weight)
        defer { leave(weight) }
        return try await body()
    }

    private func enter(_ weight: Int) async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let admitted = state.withLock { state in
                    state.line.append(Waiting(id: id, weight: weight, continuation: continuation))
                    return state.admitted(room: room)
                }
                for waiting in admitted { waiting.continuation.resume() }
                // The cancellation may have come before we stood in line, where it found nobody.
                if Task.isCancelled { abandon(id) }
            }
        } onCancel: {
            abandon(id)
        }
    }

    private func leave(_ weight: Int) {
        let admitted = state.withLock { state in
            state.used -= weight
            return state.admitted(room: room)
        }
        for waiting in admitted { waiting.continuation.resume() }
    }

    private func abandon(_ id: UInt64) {
        let (abandoned, admitted) = state.withLock { state -> (Waiting?, [Waiting]) in
            guard let index = state.line.firstIndex(where: { $0.id == id }) else { return (nil, []) }
            let abandoned = state.line.remove(at: index)
            return (abandoned, state.admitted(room: room))
        }
        abandoned?.continuation.resume(throwing: CancellationError())
        for waiting in admitted { waiting.continuation.resume() }
    }
}
