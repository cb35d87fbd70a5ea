import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog
@testable import MusterCoordinator

/// What is summed up by SQL must be what the rows come to one by one.
@Suite("The scene of the fleet")
struct FleetSceneTests {
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func sumsAreWhatTheRowsComeTo(seed: UInt64) async throws {
        try await Rig.serve { server in
            let coordinator = server.service.coordinator
            var nodes: [TestNode] = []
            for index in 0..<4 { nodes.append(try await server.makeNode("node\(index)")) }
            server.rig.clock.advance(by: .seconds(4000))
            let now = server.rig.clock.now()
            var chance = SeededChance(seed: seed)
            for (index, node) in nodes.enumerated() {
                try await Self.fill(node.id, chance: &chance, now: now, coordinator.catalog)
                guard index > 0 else { continue }
                coordinator.reports.take(
                    ReportBook.Standing(
                        life: "a", number: 1, at: now - .seconds(Int64(chance.number(below: 90))),
                        period: .seconds(Int64(10 + chance.number(below: 30)))), from: node.id)
            }
            let scene = try await coordinator.fleetScene()
            let rows = try await coordinator.catalog.databases()
            #expect(rows.count == 400)
            var counts: [NodeID: StateCounts] = [:]
            var risk: Duration?
            var troubled: [Catalog.Matter: Set<DatabaseID>] = [:]
            for row in rows {
                let silence = try #require(scene.silences[row.node])
                counts[row.node, default: StateCounts()][ProvenState(row, of: silence, now: scene.now)] += 1
                let freshness = Freshness(row, of: silence, now: scene.now)
                if freshness.stuckSince != nil { troubled[.stuck(scene.patience), default: []].insert(row.id) }
                if ["failing", "unsupported"].contains(row.state) { troubled[.failing, default: []].insert(row.id) }
                if row.state != Catalog.removedState, let recovery = freshness.recoveryPoint {
                    risk = max(risk ?? .zero, recovery)
                }
            }
            #expect(scene.counts(of: scene.groups) == counts)
            #expect(troubled.count == 2)
            for (matter, ids) in troubled {
                let concerns = try await coordinator.catalog.concerns(matter, limit: 1000)
                #expect(Set(concerns.map(\.database.id)).isSubset(of: ids))
                #expect(concerns.map(\.ofFleet).max() == ids.count)
                let ofNodes = Dictionary(grouping: rows.filter { ids.contains($0.id) }, by: \.node).mapValues(\.count)
                #expect(Dictionary(concerns.map { ($0.database.node, $0.ofNode) }, uniquingKeysWith: max) == ofNodes)
                for (node, count) in ofNodes {
                    #expect(concerns.count { $0.database.node == node } == min(count, Catalog.alarmsOfANode))
                }
            }
            let alarms = try await coordinator.alarms(in: scene).counts
            #expect(alarms[.failing] == troubled[.failing]?.count)
            #expect(alarms[.stuck] == troubled[.stuck(scene.patience)]?.count)
            #expect(try await coordinator.oldestRisk(in: scene) == risk)
            #expect(risk != nil)
            let seen = ProvenState.allCases.filter { state in counts.values.contains { $0[state] > 0 } }
            #expect(seen == ProvenState.allCases)
        }
    }

    /// A hundred rows, each with some of what can be the matter.
    private static func fill(
        _ node: NodeID, chance: inout SeededChance, now: Timestamp, _ catalog: Catalog
    ) async throws {
        var rows: [String] = []
        for index in 0..<100 {
            func ago(_ most: Int) -> Int64? {
                chance.isTrue(1, in: 4) ? nil : (now - .seconds(Int64(chance.number(below: most)))).microseconds
            }
            func text(_ value: Int64?) -> String { value.map(String.init) ?? "NULL" }
            let received = ago(3000)
            let states = ["ok", "ok", "ok", "ok", "failing", "unsupported", Catalog.removedState]
            let counter = chance.number(below: 3)
            let verified = now - .seconds(Int64(chance.number(below: 14)) * 86_400)
            let values = [
                "randomblob(16)", "x'\(node)'", "'db\(index)'", "'\(states[chance.number(below: states.count)])'",
                "\(chance.number(below: 3) / 2)", "\(counter)", "\(chance.isTrue(1, in: 3) ? counter + 1 : counter)",
                text(chance.isTrue(2, in: 3) ? nil : ago(400)), chance.isTrue(1, in: 6) ? "'paused'" : "'followed'",
                "\(chance.number(below: 100) * 1000)",
                "\(chance.isTrue(1, in: 2) ? 0 : chance.number(below: 300) * 1000)", text(ago(120)),
                received == nil ? "NULL" : "randomblob(16)", text(received), text(received.map { $0 - 1_000_000 }),
                text(chance.isTrue(1, in: 2) ? nil : verified.microseconds),
            ]
            rows.append("(\(values.joined(separator: ", ")), '', '', '', '')")
        }
        let inserted = rows.joined(separator: ", ")
        try await catalog.write { database in
            try database.run(
                """
                INSERT INTO database(id, node, name, state, changed, change_counter, receipt_change_counter,
                    unprotected_since, capture, interval_milliseconds, freshness_milliseconds, reported_at,
                    newest_snapshot, newest_received_at, newest_created_at, verified_at, path, schedule, error_summary,
                    error_hint) VALUES \(inserted)
                """)
        }
    }
}

/// Small numbers from a seed.
private struct SeededChance {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func number(below limit: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state >> 1) % max(1, limit)
    }

    mutating func isTrue(_ count: Int, in whole: Int) -> Bool { number(below: whole) < count }
}
