import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Reports of nodes")
struct ReportTests {
    /// A node's reports, numbered as an agent numbers them.
    private struct Reporter {
        let node: TestNode
        let server: Server
        var life = "one"
        var number: UInt64 = 0

        mutating func send(
            _ databases: [Muster_V1_DatabaseReport] = [], isDelta: Bool = true, removed: [DatabaseID] = []
        ) async throws -> Muster_V1_ReportResponse {
            number += 1
            var request = Muster_V1_ReportRequest()
            request.clock = server.rig.clock.now().description
            (request.databases, request.isDelta) = (databases, isDelta)
            request.removed = removed.map(\.description)
            (request.life, request.reportNumber, request.periodMilliseconds) = (life, number, 30_000)
            return try await server.peer(node).post(.agent, "/v1/report", request)
        }
    }

    private static func report(
        _ id: DatabaseID, _ name: String = "app", counters: (UInt64, UInt64) = (5, 5)
    ) -> Muster_V1_DatabaseReport {
        .with {
            ($0.databaseID, $0.name, $0.state) = (id.description, name, "ok")
            ($0.changeCounter, $0.receiptChangeCounter) = counters
            ($0.capture, $0.intervalMilliseconds) = ("followed", 1000)
        }
    }

    private static func databases(_ server: Server) async throws -> [Muster_V1_Database] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.databases
    }

    private static func database(_ server: Server) async throws -> Muster_V1_Database {
        try #require(try await databases(server).first)
    }

    private static func alarms(_ server: Server) async throws -> [String] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.map(\.kind).sorted()
    }

    private static func commit(_ node: TestNode, _ server: Server) async throws {
        let captured = server.rig.clock.now()
        let snapshot = try node.makeSnapshot { ($0.capturedBegin, $0.capturedEnd) = (captured, captured) }
        #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
    }

    @Test func anIdleDatabaseStaysAtZeroByReportsThatSayNothing() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.commit(node, server)
            var reporter = Reporter(node: node, server: server)
            server.rig.clock.advance(by: .seconds(1))
            #expect(try await !reporter.send([Self.report(node.database)], isDelta: false).wantsFull)
            for _ in 0..<20 {
                server.rig.clock.advance(by: .seconds(30))
                #expect(try await !reporter.send().wantsFull)
                #expect(try await Self.database(server).rpoSeconds == 0)
            }
            #expect(try await Self.database(server).reportedAt == server.rig.clock.now().description)
            #expect(try await Self.alarms(server).isEmpty)
            // From here on the agent is dead.
            server.rig.clock.advance(by: .seconds(90))
            #expect(try await Self.database(server).rpoSeconds == 691)
            server.rig.clock.advance(by: .seconds(60))
            let silent = try await Self.database(server)
            #expect(silent.rpoSeconds == 751 && !silent.silentSince.isEmpty)
            #expect(try await Self.alarms(server) == ["silent"])
        }
    }

    @Test func aStuckAgentDoesNotLookHealthy() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.commit(node, server)
            var reporter = Reporter(node: node, server: server)
            var stuck = Self.report(node.database, counters: (6, 5))
            stuck.unprotectedSince = server.rig.clock.now().description
            _ = try await reporter.send([stuck], isDelta: false)
            for _ in 0..<3 {
                server.rig.clock.advance(by: .seconds(30))
                _ = try await reporter.send()
            }
            #expect(try await Self.alarms(server) == ["stuck"])
            let shown = try await Self.database(server)
            #expect(shown.rpoSeconds == 90 && shown.unprotectedSince == stuck.unprotectedSince)
            #expect(shown.changeCounter == 6 && shown.receiptChangeCounter == 5 && shown.capture == "followed")
            // A snapshot that began after the change covers it, whatever the last report said.
            let parent = try node.makeSnapshot(seed: 9) {
                ($0.capturedBegin, $0.capturedEnd) = (server.rig.clock.now(), server.rig.clock.now())
            }
            #expect(try await server.peer(node).commit(parent.manifest, packs: [parent.pack.bytes]).status == 200)
            // It begins a lineage of its own, so that much is news.
            #expect(try await Self.alarms(server) == ["replaced"])
            #expect(try await Self.database(server).unprotectedSince.isEmpty)
        }
    }

    @Test func anImpossibleTimeIsRefusedAndNothingFalls() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            for microseconds in [Int64.min, -1, 253_402_300_800_000_000, .max] {
                // It is read as the coordinator reads it.
                #expect(throws: FormatError.self) {
                    try node.makeSnapshot { $0.capturedEnd = Timestamp(microseconds: microseconds) }
                }
            }
            let (first, last) = (Timestamp(microseconds: .min), Timestamp(microseconds: .max))
            #expect(last - first == .microseconds(Int64.max) && first - last == .microseconds(Int64.min))
            #expect(last + .seconds(1) == last && first - .seconds(1) == first && first + .seconds(-1) == first)
        }
    }

    @Test func aDeltaChangesWhatItNamesAndNothingElse() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            var reporter = Reporter(node: node, server: server)
            let ids = (0..<3).map { _ in DatabaseID(from: .system) }
            _ = try await reporter.send(zip(ids, ["a", "b", "c"]).map { Self.report($0, $1) }, isDelta: false)
            _ = try await reporter.send([Self.report(ids[1], "b", counters: (9, 5))], removed: [ids[2]])
            let databases = try await Self.databases(server)
            #expect(databases.map(\.name) == ["a", "b", "c"])
            #expect(databases.map(\.changeCounter) == [5, 9, 5])
            #expect(databases.map(\.state) == ["ok", "ok", "removed"])
            server.rig.clock.advance(by: .seconds(1))
            _ = try await reporter.send([Self.report(ids[0], "a"), Self.report(ids[2], "c")], isDelta: false)
            #expect(try await Self.databases(server).map(\.state) == ["ok", "removed", "ok"])
        }
    }

    @Test func whoLostTrackAsksForAll() async throws {
        let rig = try await Rig()
        let node = try await rig.serve { server in
            let node = try await server.makeNode()
            var reporter = Reporter(node: node, server: server)
            #expect(try await reporter.send([Self.report(node.database)]).wantsFull, "the first cannot be a delta")
            #expect(try await !reporter.send([Self.report(node.database)], isDelta: false).wantsFull)
            reporter.number += 1
            #expect(try await reporter.send().wantsFull, "one is missing")
            #expect(try await reporter.send().wantsFull, "until all was said")
            #expect(try await !reporter.send([Self.report(node.database)], isDelta: false).wantsFull)
            reporter.number -= 1
            #expect(try await !reporter.send().wantsFull, "sent again")
            return node
        }
        try await rig.serve { (server: Server) async throws in
            var reporter = Reporter(node: node, server: server, number: 10)
            #expect(try await reporter.send().wantsFull, "after a restart")
            #expect(try await !reporter.send([Self.report(node.database)], isDelta: false).wantsFull)
            reporter.life = "two"
            #expect(try await reporter.send().wantsFull, "another life of the agent")
        }
    }

    @Test func whatNoAgentSaysIsRefused() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            func status(_ change: (inout Muster_V1_ReportRequest) -> Void) async throws -> Int {
                var request = Muster_V1_ReportRequest()
                request.clock = server.rig.clock.now().description
                request.databases = [Self.report(node.database)]
                change(&request)
                return try await server.peer(node).tryPost(.agent, "/v1/report", request).status
            }
            #expect(try await status { _ in } == 200)
            #expect(try await status { $0.isDelta = true } == 400)
            #expect(try await status { $0.life = String(repeating: "x", count: 129) } == 400)
            #expect(try await status { $0.removed = ["x"] } == 400)
            #expect(try await status { $0.databases[0].capture = "two words" } == 400)
            #expect(
                try await status { $0.databases[0].capture = "guessed" } == 200, "a newer agent has words of its own")
            #expect(try await status { $0.databases[0].intervalMilliseconds = .max } == 200)
        }
    }

    /// A report of ten thousand databases must not be what a busy node sends each second.
    @Test func anEmptyDeltaWritesNothing() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            var reporter = Reporter(node: node, server: server)
            _ = try await reporter.send([Self.report(node.database)], isDelta: false)
            let written = try await server.service.coordinator.catalog.node(node.id)?.reportedAt
            server.rig.clock.advance(by: .seconds(59))
            _ = try await reporter.send()
            #expect(try await server.service.coordinator.catalog.node(node.id)?.reportedAt == written)
            server.rig.clock.advance(by: .seconds(2))
            _ = try await reporter.send()
            #expect(try await server.service.coordinator.catalog.node(node.id)?.reportedAt != written)
        }
    }
}
