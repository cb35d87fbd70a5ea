import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("What stores proved")
struct StoreProbeTests {
    @Test func theNewestProbeIsShownAndFewAreKept() async throws {
        let fixture = try await Fixture()
        let (catalog, store) = (fixture.catalog, fixture.store)
        let other = try await catalog.add(store: "other", url: "file:///other", at: Timestamp(microseconds: 1))
        #expect(try await catalog.lastProbe(ofStore: store.number) == nil)
        for second in 1...12 {
            let findings: [Catalog.ProbeFinding] = [
                .init(capability: "a", isHeld: second.isMultiple(of: 2), detail: "\(second)"),
                .init(capability: "b", isHeld: nil, detail: "not offered"),
            ]
            let at = Timestamp(microseconds: Int64(second) * 1_000_000)
            // Twice at one moment is once.
            for _ in 0..<2 { try await catalog.record(probe: findings, ofStore: store.number, at: at) }
            #expect(
                try await catalog.lastProbe(ofStore: store.number) == Catalog.ProbeRecord(at: at, findings: findings))
        }
        #expect(try await catalog.lastProbe(ofStore: other.number) == nil)
        let kept: Int? = try await catalog.read { database in
            try database.value("SELECT count(DISTINCT at) FROM store_probe", [])
        }
        #expect(kept == 10)
    }
}
