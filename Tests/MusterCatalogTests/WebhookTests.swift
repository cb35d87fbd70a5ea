import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Events for webhooks")
struct WebhookTests {
    private static let url = "https://hooks.example/"

    private static func alarm(_ severity: AlarmSeverity = .critical) -> Catalog.StandingAlarm {
        Catalog.StandingAlarm(
            key: "failing/x", kind: .failing, severity: severity, summary: "no", hint: "Look.",
            since: Timestamp(microseconds: 1))
    }

    private static func follow(_ alarms: [Catalog.StandingAlarm], _ fixture: Fixture) async throws {
        try await fixture.catalog.follow(alarms, now: fixture.clock.now(), damping: .seconds(60)) { change, alarm in
            [(url, "\(change.rawValue) \(alarm.severity.rawValue)")]
        }
    }

    private static func take(_ fixture: Fixture) async throws -> [String] {
        var bodies: [String] = []
        while let event = try await fixture.catalog.dueEvent(of: url, now: fixture.clock.now()) {
            bodies.append(event.body)
            try await fixture.catalog.remove(event)
        }
        return bodies
    }

    @Test func whatBeginsChangesAndEndsIsToldOnceAndFlapsAreNot() async throws {
        let fixture = try await Fixture()
        func look(_ alarms: Catalog.StandingAlarm...) async throws -> [String] {
            try await Self.follow(alarms, fixture)
            fixture.clock.advance(by: .seconds(10))
            return try await Self.take(fixture)
        }
        #expect(try await look(Self.alarm()) == ["begun critical"])
        #expect(try await look(Self.alarm()).isEmpty)
        #expect(try await look(Self.alarm(.warning)) == ["changed warning"])
        for _ in 0..<8 {
            #expect(try await look().isEmpty, "it may come back")
            #expect(try await look(Self.alarm(.warning)).isEmpty, "it never ended")
        }
        for _ in 0..<6 { #expect(try await look().isEmpty) }
        #expect(try await look() == ["ended warning"])
        #expect(try await look().isEmpty)
        #expect(try await look(Self.alarm()) == ["begun critical"])
    }

    /// It was told of, and then there is so much that it is only a part of a sum.
    @Test func whatIsToldInASumHasNotEnded() async throws {
        let fixture = try await Fixture()
        func look(_ alarms: [Catalog.StandingAlarm], untold: Set<String> = []) async throws -> [String] {
            fixture.clock.advance(by: .seconds(100))
            try await fixture.catalog.follow(
                alarms, untold: untold, now: fixture.clock.now(), damping: .seconds(60)
            ) { change, alarm in [(Self.url, "\(change.rawValue) \(alarm.severity.rawValue)")] }
            return try await Self.take(fixture)
        }
        let key = Self.alarm().key
        #expect(try await look([Self.alarm()]) == ["begun critical"])
        for _ in 0..<3 { #expect(try await look([], untold: [key]).isEmpty) }
        #expect(try await look([Self.alarm()]).isEmpty, "it is told one by one again, and was told before")
        #expect(try await look([]).isEmpty)
        #expect(try await look([], untold: [key]).isEmpty, "it was missing for one look")
        #expect(try await look([]).isEmpty)
        #expect(try await look([]) == ["ended critical"])
        #expect(try await look([], untold: [key]).isEmpty, "a part of a sum does not begin by itself")
    }

    @Test func anEventThatIsPutOffKeepsTheOthersBehindIt() async throws {
        let fixture = try await Fixture()
        try await Self.follow([Self.alarm()], fixture)
        try await Self.follow([Self.alarm(.warning)], fixture)
        let now = fixture.clock.now()
        for attempt in 1...3 {
            let event = try #require(
                try await fixture.catalog.dueEvent(of: Self.url, now: now + .seconds(100 * Int64(attempt))))
            #expect(event.body == "begun critical" && event.attempts == attempt - 1)
            try await fixture.catalog.postpone(
                event, until: now + .seconds(100 * Int64(attempt + 1)), reason: "no answer")
            #expect(try await fixture.catalog.dueEvent(of: Self.url, now: now) == nil)
        }
        let troubles = try await fixture.catalog.webhookTroubles(attempts: 3)
        #expect(troubles.map(\.waiting) == [2] && troubles.map(\.reason) == ["no answer"])
        #expect(try await fixture.catalog.webhookTroubles(attempts: 4).isEmpty)
        try await fixture.catalog.dropEvents(exceptOf: [Self.url])
        #expect(try await fixture.catalog.webhookTroubles(attempts: 3).count == 1)
        try await fixture.catalog.dropEvents(exceptOf: [])
        #expect(try await fixture.catalog.webhookTroubles(attempts: 0).isEmpty)
    }
}
