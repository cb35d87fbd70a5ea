import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Members of a fleet snapshot")
struct FleetMemberTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private var catalog: Catalog { fixture.catalog }

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
    }

    /// A snapshot that was asked for by the fleet snapshot `one`, and its job.
    private func begin() async throws -> (job: JobID, snapshot: SnapshotID) {
        var commit = try fixture.commit(node)
        #expect(try await catalog.commit(commit) == .committed)
        let job = Catalog.Job(
            id: JobID(from: fixture.random), kind: .snapshot, node: node.id, database: commit.database,
            createdAt: fixture.clock.now())
        let fleet = Catalog.FleetSnapshot(
            name: "one", createdAt: fixture.clock.now(), until: fixture.clock.now() + .seconds(60), labels: [:],
            actor: "eve", total: 1)
        #expect(try await catalog.begin(fleet, jobs: [job], absent: []))
        commit = try fixture.commit(node, after: commit)
        commit.labels = [Catalog.fleetLabel: "one"]
        #expect(try await catalog.commit(commit) == .committed)
        return (job.id, commit.snapshot)
    }

    /// Whoever adds its databases may be gone before all of them are in it: then its window ends it.
    @Test func doNotEndItBeforeTheLastOfThemIsAdded() async throws {
        let (first, second) = (try fixture.commit(node), try fixture.commit(node, name: "other"))
        for commit in [first, second] { #expect(try await catalog.commit(commit) == .committed) }
        let fleet = Catalog.FleetSnapshot(
            name: "two", createdAt: fixture.clock.now(), until: fixture.clock.now() + .seconds(60), labels: [:],
            actor: "eve", total: 3)
        func absentee(_ commit: Catalog.Commit) -> Catalog.Absentee {
            Catalog.Absentee(database: commit.database, reason: "it is paused on its node")
        }
        #expect(try await catalog.begin(fleet, jobs: [], absent: [absentee(first)], isWhole: false))
        #expect(try await catalog.fleetSnapshot("two")?.isFinished == false)
        try await catalog.add([], absent: [absentee(second)], to: fleet, isLast: false)
        var other = fleet
        other.createdAt = fleet.createdAt + .seconds(1)
        try await catalog.add([], absent: [], to: other, isLast: true)
        #expect(try await catalog.fleetSnapshot("two")?.isFinished == false, "that is another one of this name")
        #expect(try await catalog.items(ofFleetSnapshot: "two").count == 2)
        #expect(try await !catalog.closeFleetWindows(now: fleet.until))
        #expect(try await catalog.closeFleetWindows(now: fleet.until + .seconds(1)))
        let ended = try #require(try await catalog.fleetSnapshot("two"))
        #expect(ended.isFinished && ended.total == 3 && ended.members == 0)
        try await catalog.add([], absent: [absentee(first)], to: fleet, isLast: true)
        #expect(try await catalog.items(ofFleetSnapshot: "two").count == 2, "it takes nothing more")
    }

    private func hold(_ snapshot: SnapshotID, times count: Int) async throws {
        for number in 0..<count {
            let hold = Catalog.Hold(name: "hold-\(number)", reason: "", actor: "eve", at: fixture.clock.now())
            #expect(try await catalog.hold(snapshot, hold) == .held)
        }
    }

    @Test("are held, or no members", arguments: [Catalog.mostHolds - 1, Catalog.mostHolds])
    func areHeldOrNoMembers(holds: Int) async throws {
        let (job, snapshot) = try await begin()
        try await hold(snapshot, times: holds)
        _ = try await catalog.finish(
            job, of: node.id, state: .done, snapshot: snapshot, errorSummary: "", errorHint: "",
            now: fixture.clock.now())
        let isHeld = holds < Catalog.mostHolds
        let item = try #require(try await catalog.items(ofFleetSnapshot: "one").first)
        #expect(item.snapshot == (isHeld ? snapshot : nil))
        #expect(item.reason.isEmpty == isHeld, "\(item.reason)")
        let fleet = try #require(try await catalog.fleetSnapshot("one"))
        #expect(fleet.isFinished && fleet.members == (isHeld ? 1 : 0))
        let names = try await catalog.snapshot(snapshot)?.holds.map(\.name) ?? []
        #expect(names.contains("fleet:one") == isHeld)
    }

    @Test func afterARebuildTheyAreHeldOrNoMembersToo() async throws {
        let (_, snapshot) = try await begin()
        _ = try await catalog.forget(fleetSnapshot: "one", now: fixture.clock.now())
        try await hold(snapshot, times: Catalog.mostHolds)
        let item = try await rebuiltItem(until: fixture.clock.now())
        #expect(item.snapshot == nil && !item.reason.isEmpty)
    }

    /// Whoever was captured too late was named as missing before the coordinator was lost, and is so after.
    @Test("are those of the window, after a rebuild too", arguments: [true, false])
    func areThoseOfTheWindowAfterARebuildToo(isInTime: Bool) async throws {
        let (_, snapshot) = try await begin()
        _ = try await catalog.forget(fleetSnapshot: "one", now: fixture.clock.now())
        let end = isInTime ? fixture.clock.now() : fixture.clock.now() - .seconds(1)
        let item = try await rebuiltItem(until: end)
        #expect(item.snapshot == (isInTime ? snapshot : nil))
        #expect(item.reason.isEmpty == isInTime, "\(item.reason)")
    }

    private func rebuiltItem(until end: Timestamp) async throws -> Catalog.FleetItem {
        let fleet = Catalog.FleetSnapshot(
            name: "one", createdAt: fixture.clock.now(), until: end, labels: [:], actor: "eve", total: 1)
        try await catalog.restore(fleet, now: fixture.clock.now())
        return try #require(try await catalog.items(ofFleetSnapshot: "one").first)
    }
}
