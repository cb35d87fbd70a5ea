import MusterModel
import MusterTestSupport
import Testing

@Suite("Retention")
struct RetentionTests {
    private let now = RetentionFixture.now
    private let days = ["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z"]

    @Test func whatIsHeldIsAlwaysKeptAndSaysSo() throws {
        for mode in RetentionPolicy.Mode.allCases {
            var snapshots = try RetentionFixture.snapshots(days)
            snapshots[0].isHeld = true
            let decisions = try RetentionFixture.policy("keep-last=1", mode: mode).decisions(on: snapshots, now: now)
            #expect(decisions.map(\.keepReasons) == [[.last(slot: 1)], [], [.held]])
        }
    }

    @Test func theNewestVerifiedSnapshotIsKeptWhereNoRuleKeepsOne() throws {
        var snapshots = try RetentionFixture.snapshots(days, isVerified: false)
        snapshots[0].isVerified = true
        snapshots[1].isVerified = true
        let policy = try RetentionFixture.policy("keep-last=1")
        let kept = policy.decisions(on: snapshots, now: now).map(\.keepReasons)
        #expect(kept == [[.last(slot: 1)], [.floor(isVerified: true)], []])
        // A verified one that is kept for another reason is enough.
        snapshots[0].isHeld = true
        #expect(policy.decisions(on: snapshots, now: now).map(\.keepReasons) == [[.last(slot: 1)], [], [.held]])
    }

    @Test func theNewestIsKeptWhereNoneIsVerified() throws {
        let snapshots = try RetentionFixture.snapshots(days, isVerified: false)
        let decisions = try RetentionFixture.policy("keep-tag=wanted").decisions(on: snapshots, now: now)
        #expect(decisions.map(\.keepReasons) == [[.floor(isVerified: false)], [], []])
    }

    @Test func everyLineageKeepsItsFloor() throws {
        var snapshots = try RetentionFixture.snapshots(days)
        snapshots[0].lineage = LineageID(from: .seeded(9))
        let decisions = try RetentionFixture.policy("keep-last=1").decisions(on: snapshots, now: now)
        #expect(decisions.map(\.keepReasons) == [[.last(slot: 1)], [], [.floor(isVerified: true)]])
    }

    @Test func nothingYoungerThanTheMinimumAgeExpires() throws {
        let snapshots = try RetentionFixture.snapshots(days)
        let decisions = try RetentionFixture.policy("keep-last=1 min-age=2d")
            .decisions(on: snapshots, now: try #require(Timestamp("2026-11-23T09:59:59Z")))
        #expect(decisions.map(\.isKept) == [true, true, false])
        #expect(decisions[1].reasons == ["min-age 2d"])
        #expect(try RetentionPolicy(keepLast: .atMost(1)).minimumAge == CalendarSpan(days: 7))
    }

    @Test func aFloodUsesUpOneSlotOfEachInterval() throws {
        let flood = (0..<50).map { "2026-11-22T10:00:\($0 < 10 ? "0" : "")\($0)Z" }
        for mode in RetentionPolicy.Mode.allCases {
            let snapshots = try RetentionFixture.snapshots(days.dropLast() + flood)
            let policy = try RetentionFixture.policy("keep-last=2", mode: mode)
            let decisions = policy.decisions(on: snapshots, now: now, interval: .seconds(300))
            #expect(decisions.prefix(50).allSatisfy { $0.keepReasons == [.last(slot: 1)] })
            #expect(decisions[50].keepReasons == [.last(slot: 2)])
            #expect(!decisions[51].isKept)
            #expect(policy.decisions(on: snapshots, now: now).filter(\.isKept).count == 2)
        }
    }

    /// A database scheduled daily reaches as many days back by keep-hourly, whatever a node sends in between.
    @Test func aFloodUsesUpOneSlotOfEachIntervalOfRulesForShorterPeriods() throws {
        let flood = (0..<24).map { "2026-11-22T\($0 < 10 ? "0" : "")\($0):30:00Z" }
        for mode in RetentionPolicy.Mode.allCases {
            let snapshots = try RetentionFixture.snapshots(days.dropLast() + flood)
            let policy = try RetentionFixture.policy("keep-hourly=2", mode: mode)
            let decisions = policy.decisions(on: snapshots, now: now, interval: .seconds(86_400))
            #expect(decisions.prefix(24).allSatisfy { $0.isKept }, "\(mode)")
            #expect(decisions.dropFirst(24).map(\.isKept) == [true, false], "\(mode)")
            #expect(policy.decisions(on: snapshots, now: now, interval: .seconds(3600)).filter(\.isKept).count == 2)
        }
    }

    @Test func whatLiesInTheFutureEndsNoWindow() throws {
        let snapshots = try RetentionFixture.snapshots(days + ["2031-01-01T00:00:00Z"])
        let policy = try RetentionFixture.policy("keep-within=1d")
        let noon = try #require(Timestamp("2026-11-22T12:00:00Z"))
        #expect(policy.decisions(on: snapshots, now: noon).map(\.isKept) == [true, true, false, false])
        let before = try #require(Timestamp("2026-01-01T00:00:00Z"))
        #expect(policy.decisions(on: snapshots, now: before).map(\.isKept) == [true, true, true, true])
    }

    @Test func aMonthBeforeTheThirtyFirstRunsOver() throws {
        let table = [
            ("2026-03-31T05:06:07.25Z", "1m", "2026-03-03T05:06:07.25Z"),
            ("2024-03-31T00:00:00Z", "1m", "2024-03-02T00:00:00Z"),
            ("2024-02-29T00:00:00Z", "1y", "2023-03-01T00:00:00Z"),
            ("2026-01-15T01:00:00Z", "1y2m3d2h", "2024-11-11T23:00:00Z"),
        ]
        for (moment, span, expected) in table {
            let moment = try #require(Timestamp(moment))
            #expect(try CalendarSpan(parsing: span).before(moment) == Timestamp(expected), "\(span) before \(moment)")
        }
        let most = CalendarSpan(years: 99_999, months: 99_999, days: 99_999, hours: 99_999)
        for moment in [Timestamp(microseconds: .min), Timestamp(microseconds: .max)] {
            #expect(most.before(moment) <= moment)
            for unit in CalendarUnit.allCases { #expect(!CalendarPeriod(unit, of: moment).description.isEmpty) }
        }
    }

    @Test func reasonsNameTheRuleAndThePeriod() throws {
        let snapshots = try RetentionFixture.snapshots([
            "2021-01-03T23:59:59.999999Z", "2020-12-28T00:00:00Z", "2020-12-27T10:30:00Z",
        ])
        let all = "keep-minutely=3 keep-hourly=3 keep-daily=3 keep-weekly=1 keep-monthly=3 keep-yearly=2"
        let decisions = try RetentionFixture.policy(all).decisions(on: snapshots, now: now)
        #expect(
            decisions[0].reasons == [
                "keep-minutely 2021-01-03T23:59", "keep-hourly 2021-01-03T23", "keep-daily 2021-01-03",
                "keep-weekly 2020-W53", "keep-monthly 2021-01", "keep-yearly 2021",
            ])
        #expect(
            decisions[2].reasons == [
                "keep-minutely 2020-12-27T10:30", "keep-hourly 2020-12-27T10", "keep-daily 2020-12-27",
                "keep-monthly 2020-12 (oldest)",
            ])
    }

    @Test func whatExpiresSaysWhatEachRuleHasAgainstIt() throws {
        let snapshots = try RetentionFixture.snapshots(days)
        let overlapping = try RetentionFixture.policy("keep-tag=a=b keep-within=1d keep-last=1 keep-monthly=1")
        #expect(
            overlapping.decisions(on: snapshots, now: now)[1].reasons == [
                "keep-tag 'a=b': its labels differ", "keep-within 1d: it is older",
                "keep-last 1: newer snapshots use up the slots", "keep-monthly: a newer snapshot of 2026-11 is kept",
            ])
        let additive = try RetentionFixture.policy("keep-daily=1 keep-monthly=3", mode: .pbs)
        #expect(
            additive.decisions(on: snapshots, now: now)[1].reasons == [
                "keep-daily 1: newer snapshots use up the slots",
                "keep-monthly: an earlier rule keeps a snapshot of 2026-11",
            ])
    }

    @Test func tagsAreKeysOrPairsAndAllOfAListMustMatch() throws {
        var snapshots = try RetentionFixture.snapshots(days)
        snapshots[0].labels = ["env": "prod", "release": ""]
        snapshots[1].labels = ["env": "test"]
        func kept(_ policy: String) throws -> [Bool] {
            try RetentionFixture.policy(policy).decisions(on: snapshots.map { unverified($0) }, now: now)
                .reversed().map { $0.keepReasons.contains { if case .tag = $0 { true } else { false } } }
        }
        #expect(try kept("keep-tag=env") == [true, true, false])
        #expect(try kept("keep-tag=env=prod") == [true, false, false])
        #expect(try kept("keep-tag=env,release") == [true, false, false])
        #expect(try kept("keep-tag=release keep-tag=env=test") == [true, true, false])
        #expect(try kept("keep-tag=") == [false, false, true])
    }

    private func unverified(_ snapshot: RetentionSnapshot) -> RetentionSnapshot {
        var copy = snapshot
        copy.isVerified = false
        return copy
    }

    @Test func noSnapshotsMeansNoDecisions() throws {
        #expect(try RetentionFixture.policy("keep-last=1").decisions(on: [], now: now).isEmpty)
        #expect(try RetentionFixture.policy("").decisions(on: [], now: now).isEmpty)
    }
}
