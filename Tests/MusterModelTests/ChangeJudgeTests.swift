import MusterTestSupport
import Testing

@testable import MusterModel

@Suite("What looks like ransomware")
struct ChangeJudgeTests {
    /// A database as the coordinator sees it, with a content that compresses to `ratio`.
    private struct Simulation {
        var size: Int64
        let ratio: Double
        var habits = ChangeHabits()
        var history: [ChangeJudge.Past] = []
        var raised: [AlarmKind] = []

        init(mebibytes: Int64, ratio: Double) {
            (size, self.ratio) = (mebibytes << 20, ratio)
            commit(extents: size, ratio: ratio)
        }

        /// - Parameter scattered: sealed bytes of single pages.
        mutating func commit(extents: Int64 = 0, ratio: Double? = nil, scattered: Int64 = 0, growth: Int64 = 0) {
            let before = history.isEmpty ? 0 : size
            if !history.isEmpty { size = max(4096, size + growth) }
            let sealed = Int64(Double(extents) * (ratio ?? self.ratio))
            let change = SeenChange(
                addedBytes: sealed + scattered, extentBytes: extents, extentSealedBytes: sealed, sizeBytes: size,
                sizeBytesBefore: before)
            let past = history.reversed() as [ChangeJudge.Past]
            raised += ChangeJudge.judge(change, &habits) { Array(past.prefix(72)) }.map(\.kind)
            history.append(.init(addedBytes: change.addedBytes, sizeBytes: size))
        }
    }

    @Test(arguments: [UInt64](1...200))
    func ordinaryHistoriesRaiseNothing(seed: UInt64) {
        let random = RandomSource.seeded(seed)
        func below(_ limit: Double) -> Double { random.unitInterval() * limit }
        var database = Simulation(mebibytes: 2 + Int64(below(400)), ratio: 0.15 + below(0.85))
        let churn = below(0.03)
        for step in 0..<150 {
            let size = Double(database.size)
            switch below(100) {
            case ..<2: database.commit(extents: database.size, growth: -Int64(below(size * 0.3)))  // VACUUM
            case ..<4:  // an import of anything, pictures too
                let growth = Int64(below(size))
                database.commit(extents: growth, ratio: below(2) < 1 ? 1 : nil, growth: growth)
            case ..<8:  // a batch over a good part
                database.commit(extents: Int64(below(size * 0.5)), ratio: database.ratio * (0.9 + below(0.15)))
            default:
                database.commit(
                    extents: Int64(below(size * churn)), ratio: min(1, database.ratio * (0.8 + below(0.4))),
                    scattered: Int64(below(size * churn * database.ratio)), growth: Int64(below(size * 0.01)))
            }
            #expect(database.raised.isEmpty, "seed \(seed), step \(step): \(database)")
            if !database.raised.isEmpty { return }
        }
    }

    @Test(arguments: [UInt64](1...50))
    func anEncryptionOfEverythingIsSeenAtOnce(seed: UInt64) {
        let random = RandomSource.seeded(seed)
        let ratio = 0.1 + random.unitInterval() * 0.65
        var database = Simulation(mebibytes: 2 + Int64(random.unitInterval() * 400), ratio: ratio)
        for _ in 0..<Int(random.unitInterval() * 40) { database.commit(scattered: 20_000) }
        database.commit(extents: database.size, ratio: 1.0, growth: database.size / 50)
        #expect(database.raised.first == .entropy, "seed \(seed)")
    }

    @Test func anEncryptionInPartsIsSeenToo() {
        var database = Simulation(mebibytes: 100, ratio: 0.4)
        for _ in 0..<40 { database.commit(scattered: 20_000) }
        for _ in 0..<6 where database.raised.isEmpty { database.commit(extents: database.size / 12, ratio: 1) }
        #expect(database.raised == [.entropy])
        // Page by page, so that no whole extent is sent.
        var slow = Simulation(mebibytes: 100, ratio: 0.4)
        for _ in 0..<40 { slow.commit(scattered: 20_000) }
        for _ in 0..<12 where slow.raised.isEmpty { slow.commit(scattered: slow.size / 9) }
        #expect(slow.raised == [.size])
    }

    @Test func mostOfADatabaseThatIsGoneIsSeenOnceThereIsAHistory() {
        var database = Simulation(mebibytes: 100, ratio: 0.4)
        for _ in 0..<40 { database.commit(scattered: 20_000) }
        database.commit(extents: 4 << 20, growth: -(90 << 20))
        #expect(database.raised == [.size])
        var young = Simulation(mebibytes: 100, ratio: 0.4)
        for _ in 0..<5 { young.commit(scattered: 20_000) }
        young.commit(extents: 4 << 20, growth: -(90 << 20))
        #expect(young.raised.isEmpty)
    }

    @Test func whatIsSmallOrNeverCompressedRaisesNothing() {
        var small = Simulation(mebibytes: 1, ratio: 0.3)
        small.size = 512 << 10
        small.commit(extents: 512 << 10, ratio: 1)
        #expect(small.raised.isEmpty)
        var pictures = Simulation(mebibytes: 200, ratio: 0.97)
        for _ in 0..<3 { pictures.commit(extents: pictures.size, ratio: 1) }
        #expect(pictures.raised.isEmpty)
    }

    @Test func theReasonSaysWhatWasSeen() throws {
        var habits = ChangeHabits(ratio: 0.4)
        let change = SeenChange(
            addedBytes: 10 << 20, extentBytes: 10 << 20, extentSealedBytes: 10 << 20, sizeBytes: 20 << 20,
            sizeBytesBefore: 20 << 20)
        let found = ChangeJudge.judge(change, &habits) { [] }
        #expect(
            found.map(\.reason) == [
                "about 50 % of it was replaced by what compresses to 100 % of its size, "
                    + "where its content always came to 40 %"
            ])
    }
}
