import Foundation
import Synchronization
import Testing

@testable import MusterEngine

@Suite("Handoff from a thread to a task")
struct HandoffTests {
    /// Runs `body` on a thread of its own and ends the line with what it returns or throws.
    private func start(_ handoff: Handoff<Int>, _ body: @escaping @Sendable () throws -> Void) {
        Thread { handoff.finish(Result(catching: body)) }.start()
    }

    @Test func everythingArrivesInOrderThenTheEnd() async throws {
        let handoff = Handoff<Int>(capacity: 2)
        start(handoff) { for number in 0..<1000 { try handoff.send(number) } }
        var taken: [Int] = []
        while let number = try await handoff.next() { taken.append(number) }
        #expect(taken == Array(0..<1000))
        await handoff.cancelAndWait()
    }

    @Test func theThreadsErrorComesAfterWhatItSent() async throws {
        struct Broken: Error {}
        let handoff = Handoff<Int>(capacity: 1)
        start(handoff) {
            try handoff.send(7)
            throw Broken()
        }
        #expect(try await handoff.next() == 7)
        await #expect(throws: Broken.self) { try await handoff.next() }
        await handoff.cancelAndWait()
    }

    @Test func atMostTheCapacityWaits() async throws {
        let handoff = Handoff<Int>(capacity: 3)
        let sent = Mutex(0)
        start(handoff) {
            for number in 0..<50 {
                try handoff.send(number)
                sent.withLock { $0 += 1 }
            }
        }
        for taken in 0..<50 {
            _ = try await handoff.next()
            // Taken so far, the one that was just taken, and those that may wait.
            #expect(sent.withLock { $0 } <= taken + 1 + 3)
        }
        await handoff.cancelAndWait()
    }

    @Test func cancellingWakesAThreadThatWaitsForAPlaceAndWaitsForItsEnd() async throws {
        let handoff = Handoff<Int>(capacity: 1)
        let ended = Mutex(false)
        start(handoff) {
            defer { ended.withLock { $0 = true } }
            for number in 0... { try handoff.send(number) }
        }
        #expect(try await handoff.next() == 0)
        await handoff.cancelAndWait()
        #expect(ended.withLock { $0 })
        await #expect(throws: CancellationError.self) { try await handoff.next() }
    }

    @Test func aWaitForAPlaceCanBeGivenUp() async throws {
        struct TooLong: Error {}
        let handoff = Handoff<Int>(capacity: 1)
        let caught = Mutex(false)
        start(handoff) {
            try handoff.send(1)
            do {
                try handoff.send(2) { throw TooLong() }
            } catch is TooLong {
                caught.withLock { $0 = true }
                throw TooLong()
            }
        }
        // Nobody takes anything until the thread has given up: it ends by itself.
        while !caught.withLock({ $0 }) { await Task.yield() }
        #expect(try await handoff.next() == 1)
        await #expect(throws: TooLong.self) { try await handoff.next() }
        await handoff.cancelAndWait()
    }
}
