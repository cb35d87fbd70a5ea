import MusterModel
import Testing

@testable import MusterCatalog
@testable import MusterCoordinator

@Suite("How a store goes on")
struct StoreGrowthTests {
    private static func growth(_ bytes: [Int64], every: Duration = .seconds(86_400)) -> StoreGrowth {
        StoreGrowth(
            bytes.enumerated().map { index, bytes in
                Catalog.GrowthPoint(at: Timestamp(microseconds: 0) + every * index, bytes: bytes, objects: 1)
            })
    }

    @Test func thePaceIsThatOfTheLastWeek() {
        // A thousand days ago it grew fast.
        let growth = Self.growth([0, 1_000_000] + (0..<10).map { 1_000_000 + $0 * 100 })
        #expect(growth.pace == 100)
        #expect(growth.timeLeft(freeBytes: 1000) == .seconds(10 * 86_400))
    }

    @Test func fromALittleNothingFollows() {
        #expect(Self.growth([]).pace == nil && Self.growth([5]).pace == nil)
        #expect(Self.growth([1, 1000, 2000], every: .seconds(3600)).pace == nil)
        #expect(Self.growth([5, 5, 5]).timeLeft(freeBytes: 100) == nil, "it does not grow")
        #expect(Self.growth([9, 5]).timeLeft(freeBytes: 100) == nil)
        #expect(Self.growth([0, 5]).timeLeft(freeBytes: .max) == nil, "it has no end")
    }
}
