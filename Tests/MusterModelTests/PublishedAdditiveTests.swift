import MusterModel
import Testing

/// The results that Proxmox Backup Server publishes for its prune rules (its tests/prune.rs), as facts: what is kept.
/// Beside them stands what mode restic keeps of the same, where the two are known to differ.
@Suite("Retention agrees with what Proxmox Backup Server publishes")
struct PublishedAdditiveTests {
    struct Result: Sendable {
        let policy: String
        let kept: [String]
        var keptByRestic: [String]?
    }

    static let years = [
        "2018-11-15T11:59:15Z", "2019-11-15T11:59:15Z", "2019-11-21T11:59:15Z", "2019-11-22T11:59:15Z",
        "2019-11-29T11:59:15Z", "2019-12-01T11:59:15Z", "2019-12-02T11:59:15Z", "2019-12-03T11:59:15Z",
        "2019-12-04T11:59:15Z",
    ]
    static let ofYears = [
        Result(policy: "keep-daily=1", kept: ["2019-12-04T11:59:15Z"]),
        Result(
            policy: "keep-last=1 keep-daily=1", kept: ["2019-12-03T11:59:15Z", "2019-12-04T11:59:15Z"],
            keptByRestic: ["2019-12-04T11:59:15Z"]),
        Result(
            policy: "keep-daily=1 keep-weekly=1", kept: ["2019-12-01T11:59:15Z", "2019-12-04T11:59:15Z"],
            keptByRestic: ["2019-12-04T11:59:15Z"]),
        Result(
            policy: "keep-daily=1 keep-weekly=1 keep-monthly=1",
            kept: ["2019-11-22T11:59:15Z", "2019-12-01T11:59:15Z", "2019-12-04T11:59:15Z"],
            keptByRestic: ["2019-12-04T11:59:15Z"]),
        Result(
            policy: "keep-monthly=1 keep-yearly=1", kept: ["2018-11-15T11:59:15Z", "2019-12-04T11:59:15Z"],
            keptByRestic: ["2019-12-04T11:59:15Z"]),
    ]

    static let days = ["2019-12-02T11:59:15Z", "2019-12-03T11:59:15Z", "2019-12-04T11:59:15Z", "2019-12-04T12:59:15Z"]
    static let ofDays = [
        Result(policy: "keep-last=4", kept: days),
        Result(policy: "keep-last=3", kept: Array(days[1...])),
        Result(policy: "keep-last=2", kept: Array(days[2...])),
        Result(policy: "keep-last=1", kept: [days[3]]),
        Result(policy: "keep-last=2 keep-daily=2", kept: days, keptByRestic: Array(days[1...])),
        Result(policy: "keep-daily=3", kept: [days[0], days[1], days[3]]),
        Result(policy: "keep-daily=2", kept: [days[1], days[3]]),
        Result(policy: "keep-weekly=5", kept: [days[3]]),
        Result(policy: "keep-daily=1 keep-weekly=5", kept: [days[3]], keptByRestic: [days[0], days[3]]),
        Result(policy: "keep-monthly=6", kept: [days[3]]),
        Result(policy: "keep-yearly=7", kept: [days[3]]),
        Result(policy: "keep-weekly=5 keep-monthly=6 keep-yearly=7", kept: [days[3]]),
    ]

    static let hours = [
        "2019-11-15T09:39:15Z", "2019-11-15T10:49:15Z", "2019-11-15T10:59:15Z", "2019-11-15T11:39:15Z",
        "2019-11-15T11:49:15Z", "2019-11-15T11:59:15Z",
    ]
    static let ofHours = [
        Result(policy: "keep-hourly=3", kept: [hours[0], hours[2], hours[5]]),
        Result(policy: "keep-hourly=2", kept: [hours[2], hours[5]]),
    ]

    @Test(arguments: ofYears) func overYears(result: Result) throws { try check(result, on: Self.years) }
    @Test(arguments: ofDays) func overDays(result: Result) throws { try check(result, on: Self.days) }
    @Test(arguments: ofHours) func overHours(result: Result) throws { try check(result, on: Self.hours) }

    @Test(arguments: ["keep-last=1", "keep-hourly=1"])
    func whatIsHeldUsesNoSlot(policy: String) throws {
        var snapshots = try RetentionFixture.snapshots([
            "2019-11-15T09:39:15Z", "2019-11-15T10:39:15Z", "2019-11-15T10:49:15Z", "2019-11-15T10:59:15Z",
        ])
        snapshots[0].isHeld = true
        snapshots[3].isHeld = true
        let decisions = try RetentionFixture.policy(policy, mode: .pbs)
            .decisions(on: snapshots, now: RetentionFixture.now)
        #expect(decisions.filter { !$0.isKept }.map(\.snapshot) == [snapshots[1].id])
    }

    /// There it keeps nothing, but its command line and API take no 0. Here 0 is a rule that is off.
    @Test func aCountOfZeroIsARuleThatIsOff() throws {
        try check(Result(policy: "keep-last=0", kept: Self.days), on: Self.days)
        try check(Result(policy: "keep-last=0 keep-daily=1", kept: [Self.days[3]]), on: Self.days)
    }

    private func check(_ result: Result, on moments: [String]) throws {
        let snapshots = try RetentionFixture.snapshots(moments)
        let additive = try RetentionFixture.policy(result.policy, mode: .pbs)
        #expect(
            additive.decisions(on: snapshots, now: RetentionFixture.now).kept(of: snapshots) == result.kept,
            "\(result.policy)")
        guard let keptByRestic = result.keptByRestic else { return }
        let overlapping = try RetentionFixture.policy(result.policy)
        #expect(
            overlapping.decisions(on: snapshots, now: RetentionFixture.now).kept(of: snapshots) == keptByRestic,
            "\(result.policy)")
    }
}
