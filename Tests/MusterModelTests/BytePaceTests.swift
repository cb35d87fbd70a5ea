import MusterModel
import Testing

@Suite("The pace of bytes")
struct BytePaceTests {
    private static let mebibyte = Double(1 << 20)

    @Test func aLargePieceHasItsWholeTimeBeforeTheNext() {
        var pace = BytePace(bytesPerSecond: 1 << 20)
        #expect(pace.reserve(64 * Self.mebibyte, at: .seconds(5)) == .zero)
        #expect(pace.reserve(Self.mebibyte, at: .seconds(5)) == .seconds(64))
        #expect(pace.reserve(1, at: .seconds(65)) == .seconds(5))
    }

    @Test func whatWasNotUsedIsNotSaved() {
        var pace = BytePace(bytesPerSecond: 1 << 20)
        #expect(pace.reserve(Self.mebibyte, at: .zero) == .zero)
        #expect(pace.reserve(2 * Self.mebibyte, at: .seconds(3600)) == .zero)
        #expect(pace.reserve(1, at: .seconds(3600)) == .seconds(2))
    }

    @Test func aClockThatIsSetBackStopsNothing() {
        var pace = BytePace(bytesPerSecond: 1 << 20)
        #expect(pace.reserve(4 * Self.mebibyte, at: .seconds(100_000)) == .zero)
        #expect(pace.reserve(1, at: .seconds(13_600)) == .seconds(4))
    }

    @Test func noRateNeverWaits() {
        var pace = BytePace(bytesPerSecond: 0)
        #expect(pace.reserve(1e12, at: .zero) == .zero && pace.reserve(1, at: .zero) == .zero)
    }
}
