import MusterModel
import Synchronization
import Testing

@testable import MusterAgent

@Suite("Turnstile and bell")
struct TurnstileTests {
    @Test func neverMoreThanTheRoomIsInside() async throws {
        let turnstile = Turnstile(room: 8)
        let (inside, most) = (Counter(), Counter())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                let weight = [1, 3, 6, 20][index % 4]
                group.addTask {
                    try await turnstile.pass(weight: weight) {
                        most.raise(to: inside.add(min(weight, 8)))
                        await Task.yield()
                        _ = inside.add(-min(weight, 8))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(most.value <= 8)
        #expect(inside.value == 0)
    }

    @Test func whoIsCancelledInLineGivesUpHisPlace() async throws {
        let turnstile = Turnstile(room: 1)
        let gate = Bell()
        async let first: Void = turnstile.pass(weight: 1) {
            await gate.wait { try await Task.sleep(for: .seconds(600)) }
        }
        let waiting = Task { try await turnstile.pass(weight: 1) {} }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        gate.ring()
        try await first
        try await turnstile.pass(weight: 1) {}
    }

    @Test func aRingBeforeTheWaitIsNotLost() async {
        let bell = Bell()
        bell.ring()
        await bell.wait { try await Task.sleep(for: .seconds(600)) }
    }

    @Test func anEndedSleepEndsTheWait() async {
        await Bell().wait {}
    }
}

private final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }

    func add(_ amount: Int) -> Int {
        count.withLock { count in
            count += amount
            return count
        }
    }

    func raise(to value: Int) { count.withLock { $0 = max($0, value) } }
}
