import MusterCatalog
import Testing

@testable import MusterCoordinator

@Suite("What gc does only on a person's word")
struct CollectionBrakeTests {
    struct Example: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var snapshots: (Int, of: Int)
        /// Of packs that snapshots need.
        var bytes: (Int64, of: Int64)
        /// Sent, and never committed.
        var unclaimed: Int64 = 0
        let isImplausible: Bool
    }

    private static let mebibyte: Int64 = 1 << 20

    static let examples = [
        Example(testDescription: "nothing", snapshots: (0, of: 0), bytes: (0, of: 0), isImplausible: false),
        Example(
            testDescription: "few snapshots of few bytes", snapshots: (20, of: 21),
            bytes: (1024 * mebibyte, of: 1025 * mebibyte), isImplausible: false),
        Example(
            testDescription: "few snapshots, most bytes", snapshots: (2, of: 1000),
            bytes: (1025 * mebibyte, of: 2000 * mebibyte), isImplausible: true),
        Example(
            testDescription: "few snapshots, half of the bytes", snapshots: (2, of: 3),
            bytes: (2000 * mebibyte, of: 4000 * mebibyte), isImplausible: false),
        Example(
            testDescription: "most snapshots", snapshots: (21, of: 41), bytes: (0, of: 4000 * mebibyte),
            isImplausible: true),
        Example(
            testDescription: "half of the snapshots", snapshots: (21, of: 42), bytes: (0, of: 4000 * mebibyte),
            isImplausible: false),
        Example(
            testDescription: "many snapshots, most bytes", snapshots: (21, of: 1000),
            bytes: (3 * mebibyte, of: 4 * mebibyte), isImplausible: true),
        Example(
            testDescription: "much that nobody claimed", snapshots: (2, of: 1000),
            bytes: (mebibyte, of: 4000 * mebibyte), unclaimed: 1_000_000 * mebibyte, isImplausible: false),
        Example(
            testDescription: "the same beside many snapshots", snapshots: (21, of: 1000),
            bytes: (mebibyte, of: 4000 * mebibyte), unclaimed: 1_000_000 * mebibyte, isImplausible: false),
    ]

    @Test(arguments: examples)
    func isMoreThanHalfOfWhatIsNeeded(example: Example) {
        var estimate = Catalog.CollectionEstimate()
        (estimate.snapshots, estimate.totalSnapshots) = (example.snapshots.0, example.snapshots.of)
        (estimate.freedBytes, estimate.neededBytes) = (example.bytes.0, example.bytes.of)
        estimate.byteCount = example.bytes.0 + example.unclaimed
        estimate.totalBytes = example.bytes.of + example.unclaimed
        #expect(estimate.isImplausible == example.isImplausible)
    }
}
