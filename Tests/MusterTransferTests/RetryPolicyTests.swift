import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@Suite("The retry policy")
struct RetryPolicyTests {
    struct Trouble: RetryAfterError {
        var isTransient = true
        var retryAfter: Duration?
        var summary: String { "it did not work" }
        var hint: String { "Try again." }
    }

    /// Runs an operation that always fails.
    ///
    /// - Returns: how often it was tried, and the delays that were announced.
    private func run(_ policy: RetryPolicy, _ error: any Error) async -> (attempts: Int, delays: [Duration]) {
        let clock = InstantClock()
        var attempts = 0
        var told: [Duration] = []
        do {
            try await policy.run(random: .seeded(5), clock: clock, willRetry: { told.append($1) }) {
                attempts += 1
                throw error
            }
        } catch {
            #expect(error is CancellationError || told == clock.sleeps)
        }
        return (attempts, told)
    }

    @Test func waitsLongerEachTimeUpToABound() async {
        let policy = RetryPolicy(
            maximumAttempts: 8, firstDelay: .milliseconds(100), maximumDelay: .seconds(1), maximumTotal: .seconds(60))
        let (attempts, sleeps) = await run(policy, Trouble())
        #expect(attempts == 8)
        let bounds: [Duration] = [100, 200, 400, 800, 1000, 1000, 1000].map { .milliseconds($0) }
        #expect(zip(sleeps, bounds).allSatisfy { $0 >= .zero && $0 < $1 } && sleeps.count == bounds.count)
        #expect(Set(sleeps).count == sleeps.count)
    }

    @Test func spreadsOverTheWholeDelay() {
        let random = RandomSource.seeded(9)
        let policy = RetryPolicy(firstDelay: .seconds(1))
        let delays = (0..<1000).compactMap { _ in policy.delay(after: Trouble(), attempt: 1, random: random) }
        let mean = delays.reduce(.zero, +) / 1000
        #expect(mean > .milliseconds(450) && mean < .milliseconds(550))
        #expect(delays.contains { $0 < .milliseconds(50) } && delays.contains { $0 > .milliseconds(950) })
    }

    @Test func triesNothingTwiceThatWillNotPass() async {
        for error: any Error in [
            Trouble(isTransient: false), CancellationError(), TransferError.cancelled(server: "s"),
            HTTPStatusError(server: "s", status: 404),
        ] {
            let (attempts, _) = await run(RetryPolicy(), error)
            #expect(attempts == 1, "\(error)")
        }
    }

    @Test func leavesTheServerAloneForAsLongAsItAsks() async {
        let error = HTTPStatusError(server: "s", status: 429, retryAfter: .seconds(20))
        let (attempts, sleeps) = await run(RetryPolicy(maximumAttempts: 3), error)
        #expect(attempts == 3)
        #expect(sleeps.allSatisfy { $0 >= .seconds(20) && $0 < .seconds(21) })
    }

    @Test func doesNotWaitLongerThanItsTotal() async {
        let error = HTTPStatusError(server: "s", status: 503, retryAfter: .seconds(40))
        let policy = RetryPolicy(maximumAttempts: 100, maximumTotal: .seconds(100))
        let (attempts, sleeps) = await run(policy, error)
        #expect(attempts == 3 && sleeps.count == 2)
    }

    @Test func countsTheTimeOfTheAttemptsToo() async {
        let clock = InstantClock()
        var attempts = 0
        await #expect(throws: Trouble.self) {
            try await RetryPolicy(maximumAttempts: 100, maximumTotal: .seconds(100)).run(
                random: .seeded(1), clock: clock
            ) {
                attempts += 1
                clock.advance(by: .seconds(60))
                throw Trouble()
            }
        }
        #expect(attempts == 2)
    }

    @Test func returnsWhatTheFirstSuccessReturns() async throws {
        var attempts = 0
        let value = try await RetryPolicy().run(random: .seeded(1), clock: InstantClock()) {
            attempts += 1
            if attempts < 3 { throw Trouble() }
            return attempts
        }
        #expect(value == 3)
    }

    @Test func stopsWhenItsTaskIsCancelled() async {
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return await run(RetryPolicy(), Trouble()).attempts
        }
        task.cancel()
        #expect(await task.value == 1)
    }

    @Test(arguments: [
        (408, true), (429, true), (500, true), (502, true), (503, true), (504, true), (599, true), (301, false),
        (400, false), (401, false), (403, false), (404, false), (409, false), (412, false), (501, false), (505, false),
        (507, false),
    ])
    func knowsWhichStatusPasses(status: Int, isTransient: Bool) {
        #expect(HTTPStatusError(server: "s", status: status).isTransient == isTransient)
    }

    static let errors: [(TransferError, Bool)] =
        TransferError.Obstacle.allCases.map { (.unreachable(server: "s", $0, detail: ""), true) }
        + TransferError.TLSFault.allCases.map { (.tls(server: "s", $0, detail: "d"), false) }
        + [
            (.tooLarge(server: "s", limitBytes: 1), false), (.protocolFailed(server: "s", code: 1, detail: ""), false),
            (.overloaded(server: "s", waiting: 1), true), (.cancelled(server: "s"), false),
            (.shutDown(server: "s"), false),
            (.exhausted(detail: "a thread for server s"), true),
        ]

    @Test(arguments: errors)
    func everyErrorSaysWhatToDo(error: TransferError, isTransient: Bool) {
        #expect(error.isTransient == isTransient)
        #expect(error.summary.contains("server s") && !error.summary.hasSuffix("."))
        #expect(error.hint.hasSuffix(".") && error.hint.first?.isUppercase == true)
    }

    @Test func aSuccessIsNoError() throws {
        let head = HTTPHead(status: 204, headers: [:])
        #expect(try HTTPResponse(head: head, body: []).requireSuccess(from: "s").status == 204)
        let failed = HTTPResponse(
            head: HTTPHead(status: 503, headers: ["retry-after": "5"]), body: Array("over\u{1b}[2Jload\n".utf8))
        #expect(throws: HTTPStatusError(server: "s", status: 503, retryAfter: .seconds(5), excerpt: "over[2Jload")) {
            try failed.requireSuccess(from: "s")
        }
    }
}
