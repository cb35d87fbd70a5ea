import MusterFormat
import MusterModel
import MusterServing
import Testing

@testable import MusterCoordinator

@Suite("Gates, lanes and bells")
struct GateTests {
    @Test func aGateLetsNoMoreThroughThanItsCapacity() async throws {
        let gate = Gate(capacity: 3, queueLimit: 100)
        let room = Room()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    let weight = number % 3 + 1
                    try await gate.pass(weight: weight) {
                        await room.enter(weight)
                        for _ in 0..<5 { await Task.yield() }
                        await room.leave(weight)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect((1...3).contains(await room.most))
        #expect(await room.now == 0)
    }

    @Test func aFullQueueTurnsAway() async throws {
        let gate = Gate(capacity: 1, queueLimit: 0)
        try await gate.pass {
            let error = await #expect(throws: Refusal.self) { try await gate.pass {} }
            #expect(error?.code == "busy" && error?.isTransient == true)
        }
        try await gate.pass {}
    }

    @Test func whatIsTooHeavyForWhatIsFreeWaits() async throws {
        let gate = Gate(capacity: 3, queueLimit: 0)
        try await gate.pass(weight: 2) {
            await #expect(throws: Refusal.self) { try await gate.pass(weight: 2) {} }
            try await gate.pass(weight: 1) {}
        }
        try await gate.pass(weight: 100) {}
    }

    @Test func whoGivesUpWaitingTakesNoPlace() async throws {
        let gate = Gate(capacity: 1, queueLimit: 10)
        let (release, hold) = AsyncStream<Void>.makeStream()
        let holder = Task {
            try await gate.pass { for await _ in release { break } }
        }
        let waiting = (0..<5).map { _ in Task { try await gate.pass {} } }
        for waiter in waiting { waiter.cancel() }
        hold.yield()
        try await holder.value
        for waiter in waiting { _ = await waiter.result }
        try await gate.pass {}
    }

    @Test func aLaneTakesOneAtATime() async throws {
        let lanes = Lanes<Int>()
        let rooms = [Room(), Room()]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask {
                    try await lanes.pass(number % 2) {
                        await rooms[number % 2].enter(1)
                        for _ in 0..<5 { await Task.yield() }
                        await rooms[number % 2].leave(1)
                    }
                }
            }
            try await group.waitForAll()
        }
        for room in rooms { #expect(await room.most == 1) }
    }

    @Test func whoGivesUpWaitingInALaneTakesNoTurn() async throws {
        let lanes = Lanes<Int>()
        let (release, hold) = AsyncStream<Void>.makeStream()
        let (entered, enter) = AsyncStream<Void>.makeStream()
        let holder = Task {
            try await lanes.pass(1) {
                enter.yield()
                for await _ in release { break }
            }
        }
        for await _ in entered { break }
        let waiter = Task { try await lanes.pass(1) {} }
        waiter.cancel()
        await #expect(throws: CancellationError.self) { try await waiter.value }
        hold.yield()
        try await holder.value
        try await lanes.pass(1) {}
    }

    @Test func aShareIsOfOneKeyAlone() async throws {
        let shares = GateShares<Int>(capacity: 1, queueLimit: 0)
        try await shares.pass(1) {
            await #expect(throws: Refusal.self) { try await shares.pass(1) {} }
            try await shares.pass(2) {}
        }
    }

    @Test func onlyThePeersTimeCountsForItsPace() {
        let pace = BodyPace()
        let start = ContinuousClock.now
        pace.begin(at: start)
        #expect(pace.isEnough(at: start + .seconds(9)))
        #expect(!pace.isEnough(at: start + .seconds(11)), "nothing came")
        pace.end(byteCount: 64 << 10, at: start + .seconds(11))
        #expect(pace.isEnough(at: start + .seconds(9999)), "we are busy with what came")
        pace.begin(at: start + .seconds(9999))
        #expect(!pace.isEnough(at: start + .seconds(10_001)))
    }

    @Test func whateverABodysSizeItsPeerHasTwoMinutes() {
        let start = ContinuousClock.now
        for (byteCount, isEnough) in [(1 << 20, true), (66 << 20, false)] {
            let pace = BodyPace(bytesPerSecond: Call.pace(ofBody: byteCount))
            pace.begin(at: start)
            pace.end(byteCount: 1 << 20, at: start + .seconds(16))
            #expect(pace.isEnough(at: start) == isEnough, "64 KiB a second, but for the grace")
        }
        let pace = BodyPace(bytesPerSecond: Call.pace(ofBody: 66 << 20))
        pace.begin(at: start)
        pace.end(byteCount: 66 << 20, at: start + .seconds(129))
        #expect(pace.isEnough(at: start))
    }

    /// A node that sends its largest manifest as slowly as it may keeps nobody else's usual bodies waiting.
    @Test(.timeLimit(.minutes(10))) func theLargestBodyKeepsNoOtherWaiting() async throws {
        try await Rig.serve { server in
            let coordinator = server.service.coordinator
            let nodes = (0..<4).map { _ in NodeID(from: .system) }
            try await coordinator.passBodies(nodes[0], byteCount: 132 << 20) {
                try await coordinator.passBodies(nodes[1], byteCount: Coordinator.usualBodyBytes) {
                    try await coordinator.passBodies(nodes[2], byteCount: Coordinator.usualBodyBytes) {
                        try await coordinator.passBodies(nodes[3], byteCount: Coordinator.smallBodyBytes) {}
                    }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func aRingBetweenTicketAndWaitIsNotMissed() async {
        let bell = Bell<Int>()
        let ticket = await bell.ticket(1)
        await bell.ring(1)
        await bell.wait(1, after: ticket, atMost: .seconds(3600))
        let next = await bell.ticket(1)
        async let woken: Void = bell.wait(1, after: next, atMost: .seconds(3600))
        await bell.ring(1)
        await woken
    }

    @Test(
        arguments: [
            ("bytes=0-9", 0..<10), ("bytes=5-", 5..<100), ("bytes=-7", 93..<100), ("bytes=90-500", 90..<100),
            ("bytes=-500", 0..<100),
        ] as [(String, Range<UInt64>)])
    func aRangeIsCutToTheObject(text: String, range: Range<UInt64>) {
        #expect(ByteRange.parse(text, size: 100) == range)
    }

    @Test(arguments: [
        "", "bytes=", "bytes=-", "bytes=9-3", "bytes=100-", "bytes=-0", "bytes=1-2,4-5", "chars=1-2",
        "bytes=1-18446744073709551615", "bytes=99999999999999999999-",
    ])
    func aStrangeRangeIsNone(text: String) {
        #expect(ByteRange.parse(text, size: 100) == nil)
    }
}

/// Counts who is inside at once.
private actor Room {
    private(set) var now = 0
    private(set) var most = 0

    func enter(_ weight: Int) {
        now += weight
        most = max(most, now)
    }

    func leave(_ weight: Int) { now -= weight }
}
