import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

/// What a node says of its schedule decides how many slots its snapshots use up, so it is not believed at once.
@Suite("Schedules that nodes report")
struct ScheduleTrustTests {
    private var history: History
    private var fixture: Fixture { history.fixture }

    init() async throws { history = try await History() }

    /// Without a schedule each snapshot would be one that somebody asked for, and have a slot of its own.
    @Test mutating func aNodeThatHasNoScheduleAnyMoreIsNeverBelieved() async throws {
        try await history.report(every: .seconds(86_400))
        try await history.grow(by: 10)
        try await history.setPolicy(.fleet, ["keep-last": "5", "keep-hourly": "5"], minimumAge: "7d")
        try await history.report(every: .zero)
        fixture.clock.advance(by: .seconds(30 * 86_400))
        try await history.grow(by: 15, every: .seconds(1))
        try await history.apply()
        let live = try await history.live()
        #expect(live.contains(9) && live.contains(8) && live.contains(7))
    }

    @Test mutating func aShorterScheduleIsToldBeforeItIsBelieved() async throws {
        func standing() async throws -> [AlarmKind] {
            try await fixture.catalog.alarms(now: fixture.clock.now()).map(\.kind)
        }
        try await history.report(every: .seconds(3600))
        try await history.grow(by: 10, every: .seconds(3600))
        try await history.report(every: .seconds(1800))
        #expect(try await standing() == [])
        try await history.report(every: .seconds(1))
        try await history.report(every: .seconds(1))
        #expect(try await standing() == [.schedule])
        try await history.report(every: .seconds(1800))
        #expect(try await standing() == [.schedule], "a node does not clear what is told of it")
        try await history.report(every: .seconds(3600))
        #expect(try await standing() == [], "it is as it was")
        try await history.report(every: .seconds(1))
        try await history.setPolicy(.fleet, ["keep-last": "5"])
        try await history.grow(by: 15, every: .seconds(1))
        #expect(try await history.apply() == 5, "the fifteen use up one slot, and older ones the other four")
        #expect(
            try await fixture.catalog.clearAlarms(.schedule, of: history.database, now: fixture.clock.now()) == 1)
        #expect(try await history.apply() > 0, "a person has said that it is scheduled each second")
        fixture.clock.advance(by: .seconds(86_400))
        #expect(try await standing() == [])
    }

    /// A week of trust for half the interval is none for a second: that begins a week of its own, and is told anew.
    @Test mutating func eachShorterScheduleWaitsForItself() async throws {
        try await history.report(every: .seconds(3600))
        try await history.grow(by: 10, every: .seconds(3600))
        try await history.setPolicy(.fleet, ["keep-last": "5"])
        try await history.report(every: .seconds(600))
        fixture.clock.advance(by: .seconds(30 * 86_400))
        #expect(try await fixture.catalog.alarms(now: fixture.clock.now()).isEmpty, "it was told, and is old")
        try await history.report(every: .seconds(1))
        #expect(try await fixture.catalog.alarms(now: fixture.clock.now()).map(\.kind) == [.schedule])
        try await history.grow(by: 15, every: .seconds(1))
        #expect(try await history.apply() == 6, "one slot for the fifteen, and four for those before")
        fixture.clock.advance(by: .seconds(8 * 86_400))
        #expect(try await history.apply() > 0)
    }
}
