import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("The moment of a snapshot")
struct MomentTests {
    /// A database whose snapshots come a minute apart, captured when a test says.
    private struct History {
        let fixture: Fixture
        let node: Catalog.Node
        let start: Timestamp
        var commits: [Catalog.Commit] = []

        init() async throws {
            fixture = try await Fixture()
            node = try await fixture.makeNode()
            start = fixture.clock.now()
        }

        /// - Parameter captured: in seconds after the start.
        mutating func add(captured: Double, newLineage: Bool = false) async throws {
            fixture.clock.advance(by: .seconds(60))
            var commit = try fixture.commit(
                node, after: newLineage ? nil : commits.last, database: commits.last?.database)
            commit.createdAt = start + .seconds(captured)
            #expect(try await fixture.catalog.commit(commit) == .committed)
            commits.append(commit)
        }

        /// Which of the snapshots a restore to so many seconds after the start gives.
        func index(at seconds: Double) async throws -> Int? {
            let databases = commits.first.map { [$0.database] } ?? []
            let found = try await fixture.catalog.newest(of: databases, at: start + .seconds(seconds))
            return commits.firstIndex { $0.snapshot == found?.id }
        }
    }

    @Test func isThatOfItsCapture() async throws {
        var history = try await History()
        for captured in [50.0, 110, 175] { try await history.add(captured: captured) }
        #expect(try await history.index(at: 59) == nil, "the first of a database counts from its receipt")
        #expect(try await history.index(at: 60) == 0)
        #expect(try await history.index(at: 109.9) == 0)
        #expect(try await history.index(at: 110) == 1, "though its receipt came at 120")
        #expect(try await history.index(at: 174) == 1)
        #expect(try await history.index(at: 9999) == 2)
    }

    @Test func aClockThatIsAheadDoesNotReachBehindTheReceipt() async throws {
        var history = try await History()
        for captured in [50.0, 5000, 176] { try await history.add(captured: captured) }
        #expect(try await history.index(at: 119) == 0)
        #expect(try await history.index(at: 120) == 1)
        #expect(try await history.index(at: 176) == 2)
    }

    @Test("what comes later never gets among what was there, whatever it says", arguments: [false, true])
    func nothingIsPutIntoThePast(newLineage: Bool) async throws {
        var history = try await History()
        for captured in [50.0, 110] { try await history.add(captured: captured) }
        try await history.add(captured: -90_000, newLineage: newLineage)
        #expect(try await history.index(at: 65) == 0)
        #expect(try await history.index(at: 119) == 1)
        #expect(try await history.index(at: 120) == 2)
        #expect(try await history.index(at: -80_000) == nil)
    }

    @Test func isAskedForEachDatabaseByItself() async throws {
        var history = try await History()
        try await history.add(captured: 50)
        let other = try history.fixture.commit(history.node, name: "other")
        #expect(try await history.fixture.catalog.commit(other) == .committed)
        #expect(try await history.index(at: 9999) == 0)
        let both = [history.commits[0].database, other.database]
        let newest = try await history.fixture.catalog.newest(of: both, at: history.start + .seconds(9999))
        #expect(newest?.id == other.snapshot)
    }
}
