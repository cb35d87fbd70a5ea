import MusterCatalog
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("How alarms are told")
struct AlarmBoardTests {
    private static func alarm(
        _ index: Int, node: UInt64, _ kind: AlarmKind = .failing, since: Int? = nil
    ) -> FleetAlarm {
        let database = Catalog.Database(
            id: DatabaseID(from: .seeded(UInt64(index) + node << 32)), node: NodeID(from: .seeded(node)),
            nodeName: "node\(node)", name: "db\(index)")
        return FleetAlarm(
            kind, "no \(index)", hint: "Look.", since: Timestamp(microseconds: Int64(since ?? index))
        ).of(database)
    }

    @Test func tenThousandTroublesMakeAShortList() {
        let alarms = (0..<10_000).map { Self.alarm($0, node: UInt64($0 % 1000), since: 10_000 - $0) }
        let news = FleetAlarm(.walReset, "old", hint: "Update.")
        let board = AlarmBoard([news] + alarms)
        #expect(board.told.count == AlarmBoard.mostOfAKind + 2)
        #expect(board.told[0].database == "db9999", "the oldest first")
        let sum = board.told[AlarmBoard.mostOfAKind]
        #expect(sum.more == 9950 && sum.summary.hasPrefix("and 9,950 more") && sum.severity == .critical)
        #expect(board.told.last == news, "what is worse comes first")
        #expect(board.counts == [.failing: 10_000, .walReset: 1])
        #expect(Set(board.told.map(\.key)).count == board.told.count)
        #expect(board.untold == Set(alarms.map(\.key)).subtracting(board.told.map(\.key)))
    }

    @Test func aNodeHasItsShareAndOneSum() {
        let loud = (0..<5000).map { Self.alarm($0, node: 1) }
        let board = AlarmBoard(loud + [Self.alarm(9999, node: 2)])
        #expect(board.told.count == AlarmBoard.mostOfANode + 2)
        #expect(board.told.contains { $0.node == "node2" && $0.more == 0 })
        let sum = board.told.first { $0.more > 0 }
        #expect(sum?.more == 4990 && sum?.node == "node1" && sum?.database == "")
        #expect(sum?.summary == "and 4,990 more of node 'node1': no 10")
        #expect(board.counts == [.failing: 5001])
    }

    @Test func oneMoreThanAShareIsToldAsItIs() {
        let board = AlarmBoard((0...AlarmBoard.mostOfANode).map { Self.alarm($0, node: 1) })
        #expect(board.told.count == AlarmBoard.mostOfANode + 1 && board.untold.isEmpty)
        #expect(board.told.allSatisfy { $0.more == 0 })
    }

    @Test func sumsOfManyNodesBecomeOne() {
        let alarms = (0..<100).flatMap { node in (0..<20).map { Self.alarm($0, node: UInt64(node)) } }
        let board = AlarmBoard(alarms)
        #expect(board.told.count == AlarmBoard.mostOfAKind + 1 && board.counts == [.failing: 2000])
        #expect(board.told.last?.more == 1950 && board.told.last?.node == "")
        let node = NodeID(from: .seeded(7))
        #expect(board.untold.contains("failing/\(node)/more"), "a sum that is in another one has not ended")
    }

    /// What is read in part comes with a sum, of a node or of nobody in particular.
    @Test func sumsThatComeInAreAdded() {
        var (ofNode, ofNobody) = (Self.alarm(5, node: 1), FleetAlarm(.failing, "others", hint: ""))
        (ofNode.more, ofNode.databaseID, ofNode.database) = (30, nil, "")
        ofNobody.more = 400
        let board = AlarmBoard((0..<11).map { Self.alarm($0, node: 1) } + [ofNode, ofNobody])
        #expect(board.counts == [.failing: 441])
        #expect(board.told.map(\.more) == Array(repeating: 0, count: 10) + [31, 400])
    }

    @Test func whatNobodyIsToldOfOneByOneStandsAllTheSame() {
        let board = AlarmBoard([Self.alarm(1, node: 1)]).adding(untold: ["failing/x", Self.alarm(1, node: 1).key])
        #expect(board.untold == ["failing/x"])
        #expect(board.adding(untold: ["drill_overdue/y"]).untold == ["failing/x", "drill_overdue/y"])
    }
}
