import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("The pace of background copies")
struct CopyPaceTests {
    let clock = ManualClock()

    @Test func aLargePieceHasItsWholeTimeBeforeTheNext() {
        let pace = CopyPace(bytesPerSecond: 1 << 20, clock: clock)
        #expect(pace.reserve(64 << 20) == .zero)
        #expect(pace.reserve(1 << 20) == .seconds(64))
        clock.advance(by: .seconds(60))
        #expect(pace.reserve(1) == .seconds(5))
    }

    @Test func whatWasNotUsedIsNotSaved() {
        let pace = CopyPace(bytesPerSecond: 1 << 20, clock: clock)
        #expect(pace.reserve(1 << 20) == .zero)
        clock.advance(by: .seconds(3600))
        #expect(pace.reserve(2 << 20) == .zero)
        #expect(pace.reserve(1) == .seconds(2))
    }

    @Test func aClockThatIsSetBackStopsNothing() {
        let pace = CopyPace(bytesPerSecond: 1 << 20, clock: clock)
        #expect(pace.reserve(4 << 20) == .zero)
        clock.advance(by: .seconds(-86_400))
        #expect(pace.reserve(1) == .seconds(4))
    }

    @Test func noRateNeverWaits() {
        let pace = CopyPace(bytesPerSecond: 0, clock: clock)
        #expect(pace.reserve(1 << 40) == .zero && pace.reserve(1) == .zero)
    }
}
