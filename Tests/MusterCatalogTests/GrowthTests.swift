import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Growth of the stores")
struct GrowthTests {
    @Test func isNotedHourlyAndCountsWhatIsGood() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let catalog = fixture.catalog
        #expect(try await catalog.noteGrowth(now: fixture.clock.now()))
        let pack = try await fixture.makePack(node, size: 700)
        let commit = try fixture.commit(node, packs: [pack])
        #expect(try await catalog.commit(commit) == .committed)
        fixture.clock.advance(by: .seconds(3599))
        #expect(try await !catalog.noteGrowth(now: fixture.clock.now()), "not yet")
        fixture.clock.advance(by: .seconds(1))
        #expect(try await catalog.noteGrowth(now: fixture.clock.now()))
        let points = try await catalog.growth(ofStore: fixture.store.number)
        #expect(points.map(\.bytes) == [0, 1200] && points.map(\.objects) == [0, 2])
        #expect(points[1].at == fixture.clock.now())
    }

    /// Years of it are about a thousand rows.
    @Test func isThinnedOutToTheFirstOfEachDay() async throws {
        let fixture = try await Fixture(isDurable: false)
        let days = 820
        for _ in 0..<days * 2 {
            #expect(try await fixture.catalog.noteGrowth(now: fixture.clock.now()))
            fixture.clock.advance(by: .seconds(12 * 3600))
        }
        let now = fixture.clock.now()
        let points = try await fixture.catalog.growth(ofStore: fixture.store.number)
        let old = points.filter { now - $0.at > .seconds(8 * 86_400) }
        #expect(Set(old.map { $0.at.microseconds / 86_400_000_000 }).count == old.count, "one a day")
        #expect((780...800).contains(old.count), "\(old.count)")
        #expect((13...19).contains(points.count - old.count), "\(points.count - old.count)")
        #expect(points.map(\.at) == points.map(\.at).sorted())
    }

    @Test func aClockThatWasSetBackDoesNotEndIt() async throws {
        let fixture = try await Fixture()
        let now = fixture.clock.now()
        #expect(try await fixture.catalog.noteGrowth(now: now + .seconds(10 * 86_400)))
        #expect(try await fixture.catalog.noteGrowth(now: now))
        #expect(try await fixture.catalog.growth(ofStore: fixture.store.number).map(\.at) == [now])
    }
}
