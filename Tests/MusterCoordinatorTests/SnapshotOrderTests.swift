import MusterAPI
import SwiftProtobuf
import Testing

@Suite("Which snapshot is the newest")
struct SnapshotOrderTests {
    /// As texts, a fraction sorts before the whole second that it follows.
    @Test(arguments: [
        (["2026-11-30T01:00:05Z", "2026-11-30T01:00:05.500000Z"], 1),
        (["2026-11-30T01:00:05.500000Z", "2026-11-30T01:00:05Z"], 0),
        (["2026-11-30T01:00:05Z", "", "2026-11-30T01:00:06Z"], 2),
    ])
    func theNewestIsTheLastInstant(times: [String], newest: Int) {
        let snapshots = times.enumerated().map { index, time in
            Muster_V1_Snapshot.with { ($0.id, $0.receivedAt) = ("\(index)", time) }
        }
        #expect(snapshots.newest()?.id == "\(newest)")
        #expect([Muster_V1_Snapshot]().newest() == nil)
    }
}
