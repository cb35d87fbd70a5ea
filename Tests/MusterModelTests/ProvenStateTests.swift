import MusterModel
import Testing

@Suite("The state of a database")
struct ProvenStateTests {
    static let examples: [(ProvenState, @Sendable (inout ProvenState.Facts) -> Void)] = [
        (.never, { _ in }),
        (.unproven, { $0.hasSnapshot = true }),
        (.proven, { ($0.hasSnapshot, $0.isProofFresh) = (true, true) }),
        (.stale, { ($0.hasSnapshot, $0.isProofFresh, $0.isStuck) = (true, true, true) }),
        (.stale, { $0.isSilent = true }),
        (.failing, { ($0.hasSnapshot, $0.isProofFresh, $0.isDamaged) = (true, true, true) }),
        (.failing, { ($0.isSilent, $0.isFailing) = (true, true) }),
        (.removed, { ($0.isRemoved, $0.isDamaged, $0.isSilent) = (true, true, true) }),
    ]

    @Test(arguments: examples.indices)
    func isTheWorstThatIsTrue(index: Int) {
        var facts = ProvenState.Facts()
        Self.examples[index].1(&facts)
        #expect(ProvenState(facts) == Self.examples[index].0)
    }

    @Test func countsAreOfWhatIsProtected() {
        var counts = StateCounts()
        #expect(counts.worst == nil && counts.total == 0)
        (counts[.removed], counts[.proven], counts[.unproven]) = (5, 2, 1)
        #expect(counts.total == 3 && counts.worst == .unproven && counts[.removed] == 5)
        #expect(ProvenState.allCases.sorted() == ProvenState.allCases, "the worst first")
    }
}
