import MusterModel
import MusterTestSupport
import Testing

/// The results that restic publishes for its `forget` policies (restic/restic, internal/data/testdata,
/// BSD-2-Clause), written down as facts: which snapshots each rule keeps, 0 being the newest.
@Suite("Retention agrees with what restic publishes")
struct PublishedResticTests {
    /// A month, what was taken in it the newest first, and labels. Where there is no time it is 10:20:30.
    private static let months: [(month: String, moments: String, labels: [String])] = [
        ("2016-01", "18T12:02:03 12T21:08:03 12T21:02:03 09T21:02:03 08T20:02:03 07T10:02:03 06T08:02:03", []),
        ("2016-01", "05T09:02:03 04T16:23:03 04T12:30:03 04T12:28:03 04T12:24:03 04T12:23:03 04T11:23:03", []),
        ("2016-01", "04T10:23:03 03T07:02:03 01T07:08:03 01T01:03:03 01T01:02:03", []),
        ("2015-11", "22 21 20 18 15 13T10:20:30.1 13 12 10 08", []),
        ("2015-10", "22 22", []),
        ("2015-10", "22 22 22", ["foo", "bar"]),
        ("2015-10", "20 11 10 09 08 06 05 02 01", []),
        ("2015-09", "22 20 11 10 09 08 06 05 02 01", []),
        ("2015-08", "22 21 20 18 15 13T10:20:30.1 13 12 10 08", []),
        ("2014-11", "22 21 20 18", []),
        ("2014-11", "15", ["foo", "bar"]),
        ("2014-11", "13T10:20:30.1", ["bar"]),
        ("2014-11", "13 12 10 08", ["foo"]),
        ("2014-10", "22 20 11 10 09 08 06 05 02 01", ["foo"]),
        ("2014-09", "22 20 11 10 09 08 06 05 02 01", []),
        ("2014-08", "22 21 20 18 15 13T10:20:30.1 13 12 10 08", []),
    ]

    private static let hourly =
        "0-1,3-9,13-17,19-24,26-29,34-58,60-68,70-98,100-102"

    /// All 40 policies but the empty one, of which restic keeps nothing by this function and which it refuses as a
    /// command; ours keeps everything.
    static let results: [(policy: String, kept: [String: String])] = [
        ("keep-last=10", ["keep-last": "0-9"]),
        ("keep-last=15", ["keep-last": "0-14"]),
        ("keep-last=99", ["keep-last": "0-98"]),
        ("keep-last=200", ["keep-last": "0-102"]),
        ("keep-hourly=20", ["keep-hourly": "0-1,3-9,13-17,19-24"]),
        ("keep-daily=3", ["keep-daily": "0-1,3"]),
        ("keep-daily=10", ["keep-daily": "0-1,3-8,15-16"]),
        ("keep-daily=30", ["keep-daily": "0-1,3-8,15-16,19-24,26-29,34-43"]),
        ("keep-last=5 keep-daily=5", ["keep-last": "0-4", "keep-daily": "0-1,3-5"]),
        ("keep-last=2 keep-daily=10", ["keep-last": "0-1", "keep-daily": "0-1,3-8,15-16"]),
        ("keep-weekly=2", ["keep-weekly": "0-1"]),
        ("keep-weekly=4", ["keep-weekly": "0-1,3,15"]),
        ("keep-daily=3 keep-weekly=4", ["keep-daily": "0-1,3", "keep-weekly": "0-1,3,15"]),
        ("keep-monthly=6", ["keep-monthly": "0,19,29,43,53,63"]),
        (
            "keep-daily=2 keep-weekly=2 keep-monthly=6",
            ["keep-daily": "0-1", "keep-weekly": "0-1", "keep-monthly": "0,19,29,43,53,63"]
        ),
        ("keep-yearly=10", ["keep-yearly": "0,19,63", "keep-yearly oldest": "102"]),
        (
            "keep-daily=7 keep-weekly=2 keep-monthly=3 keep-yearly=10",
            [
                "keep-daily": "0-1,3-7", "keep-weekly": "0-1", "keep-monthly": "0,19,29", "keep-yearly": "0,19,63",
                "keep-yearly oldest": "102",
            ]
        ),
        ("keep-tag=foo", ["keep-tag=foo": "31-33,67,69-82"]),
        ("keep-tag=foo,bar", ["keep-tag=foo,bar": "31-33,67"]),
        ("keep-tag=foo keep-tag=bar", ["keep-tag=foo": "31-33,67,69-82", "keep-tag=bar": "31-33,67-68"]),
        ("keep-within=1d", ["keep-within": "0"]),
        ("keep-within=2d", ["keep-within": "0"]),
        ("keep-within=7d", ["keep-within": "0-2"]),
        ("keep-within=1m", ["keep-within": "0-18"]),
        ("keep-within=1m14d", ["keep-within": "0-18"]),
        ("keep-within=1y1d1m", ["keep-within": "0-62"]),
        ("keep-within=13d23h", ["keep-within": "0-8"]),
        ("keep-within=2m2h", ["keep-within": "0-22"]),
        ("keep-within=1y2m3d3h", ["keep-within": "0-67"]),
        (
            "keep-within-hourly=1y2m3d3h",
            ["keep-within-hourly": "0-1,3-9,13-17,19-24,26-29,34-58,60-67"]
        ),
        ("keep-within-daily=1y2m3d3h", ["keep-within-daily": "0-1,3-8,15-16,19-24,26-29,34-58,60-67"]),
        (
            "keep-within-weekly=1y2m3d3h",
            ["keep-within-weekly": "0-1,3,15,19,23,28-29,35,41,43-45,49,53,57,62-63,67"]
        ),
        ("keep-within-monthly=1y2m3d3h", ["keep-within-monthly": "0,19,29,43,53,63"]),
        ("keep-within-yearly=1y2m3d3h", ["keep-within-yearly": "0,19,63"]),
        (
            "keep-within=1h keep-within-hourly=1d keep-within-daily=7d keep-within-weekly=1m keep-within-monthly=1y "
                + "keep-within-yearly=9999y",
            [
                "keep-within": "0", "keep-within-hourly": "0", "keep-within-daily": "0-1",
                "keep-within-weekly": "0-1,3,15", "keep-within-monthly": "0,19,29,43,53",
                "keep-within-yearly": "0,19,63", "keep-within-yearly oldest": "102",
            ]
        ),
        ("keep-last=-1", ["keep-last": "0-102"]),
        ("keep-last=unlimited keep-hourly=-1", ["keep-last": "0-102", "keep-hourly": hourly]),
        ("keep-hourly=-1", ["keep-hourly": hourly]),
        (
            "keep-daily=3 keep-weekly=2 keep-monthly=-1 keep-yearly=-1",
            [
                "keep-daily": "0-1,3", "keep-weekly": "0-1", "keep-monthly": "0,19,29,43,53,63,73,83,93",
                "keep-monthly oldest": "102", "keep-yearly": "0,19,63", "keep-yearly oldest": "102",
            ]
        ),
    ]

    private static func snapshots() throws -> [RetentionSnapshot] {
        var snapshots: [RetentionSnapshot] = []
        let random = RandomSource.seeded(3)
        for (month, moments, labels) in months {
            for moment in moments.split(separator: " ") {
                let text = "\(month)-\(moment)\(moment.contains("T") ? "" : "T10:20:30")Z"
                snapshots.append(
                    RetentionSnapshot(
                        id: SnapshotID(from: random), lineage: RetentionFixture.lineage,
                        receivedAt: try #require(Timestamp(text)),
                        labels: Dictionary(uniqueKeysWithValues: labels.map { ($0, "") }), isVerified: true))
            }
        }
        return snapshots
    }

    @Test(arguments: results)
    func everyRuleKeepsWhatItKeepsThere(policy: String, kept: [String: String]) throws {
        let snapshots = try Self.snapshots()
        try #require(snapshots.count == 103)
        // The order of the list matters only between snapshots of one moment.
        let mixed = Dictionary(grouping: snapshots) { $0.receivedAt.microseconds / 60_000_000 % 7 }.values.flatMap(
            \.self)
        let decisions = try RetentionFixture.policy(policy).decisions(on: mixed, now: RetentionFixture.now)
        #expect(decisions.map(\.snapshot) == snapshots.map(\.id))
        var found: [String: [Int]] = [:]
        for (index, decision) in decisions.enumerated() {
            for reason in decision.keepReasons { found[reason.published, default: []].append(index) }
        }
        #expect(found == kept.mapValues(indices), "\(policy)")
    }

    @Test func anEmptyPolicyKeepsEverything() throws {
        let policy = try RetentionFixture.policy("keep-last=0 keep-daily=0 keep-within=0h keep-within-daily=0d")
        #expect(policy.isEmpty)
        let decisions = policy.decisions(on: try Self.snapshots(), now: RetentionFixture.now)
        #expect(decisions.count == 103)
        #expect(decisions.allSatisfy { $0.keepReasons == [.emptyPolicy] })
    }

    private func indices(_ ranges: String) -> [Int] {
        ranges.split(separator: ",").flatMap { range in
            let ends = range.split(separator: "-").compactMap { Int($0) }
            return Array(ends[0]...ends[ends.count - 1])
        }
    }
}

extension KeepReason {
    fileprivate var published: String {
        switch self {
        case .tag(let filter): "keep-tag=\(filter)"
        case .within: "keep-within"
        case .last: "keep-last"
        case .newestOfEach(let period, let isOldest): "keep-\(period.unit.adverb)\(isOldest ? " oldest" : "")"
        case .newestOfEachWithin(let period, _, let isOldest):
            "keep-within-\(period.unit.adverb)\(isOldest ? " oldest" : "")"
        default: description
        }
    }
}
