import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Packs that no store has any more")
struct RecallTests {
    private let rig: Rig

    init() async throws { rig = try await Rig() }

    /// What the node is asked for, and the jobs that it gets with it.
    private static func poll(_ peer: Peer) async throws -> (packs: [PackID], jobs: [Muster_V1_Job]) {
        let work: Muster_V1_WorkResponse = try await peer.post(
            .agent, "/v1/work", Muster_V1_WorkRequest.with { $0.bootID = "one" })
        return (work.wantedPacks.compactMap { PackID(bytes: [UInt8]($0)) }, work.jobs)
    }

    private static func losses(_ server: Server) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == "lost" }
    }

    /// A snapshot whose one pack was removed from its store, which is known.
    private func lose(_ server: Server, _ node: TestNode) async throws -> (pack: Pack, snapshot: SnapshotID) {
        let snapshot = try node.makeSnapshot(extents: 3)
        #expect(try await server.peer(node).put(snapshot.pack).status == 200)
        #expect(try await server.peer(node).commit(snapshot.manifest).status == 200)
        let object = try #require(try await rig.store().objects(.packs, maximumCount: 10).first)
        try FileManager.default.removeItem(atPath: rig.place.store + "/" + object.name.description)
        #expect(try await server.peer(node).send(.agent, .get, "/v1/packs/\(snapshot.pack.id)").status == 404)
        try await server.service.coordinator.recallLostPacks(limit: 10)
        return (snapshot.pack, snapshot.id)
    }

    /// A poll outlives its sender: the next one of the same node is the one that is heard.
    @Test func aPollThatIsNotTheNewestIsNotAsked() async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let (coordinator, peer) = (server.service.coordinator, server.peer(node))
            async let old: Muster_V1_WorkResponse = peer.post(
                .agent, "/v1/work", Muster_V1_WorkRequest.with { ($0.bootID, $0.waitSeconds) = ("one", 60) })
            while await !coordinator.work.isAwaited(node.id) { await Task.yield() }
            _ = coordinator.polls.begin(of: node.id)
            let (pack, _) = try await lose(server, node)
            await coordinator.work.ring(node.id)
            #expect(try await old.wantedPacks.isEmpty)
            #expect(try await Self.poll(peer).packs == [pack.id])
        }
    }

    @Test func areAskedForAndWhenTheyAreSentAgainNothingIsLost() async throws {
        try await rig.serve { server in
            let (node, other) = (try await server.makeNode(), try await server.makeNode("beta"))
            let (pack, snapshot) = try await lose(server, node)
            let alarms = try await Self.losses(server)
            #expect(alarms.count == 1 && alarms.allSatisfy { $0.node == "alpha" && $0.summary.contains("\(pack.id)") })
            #expect(alarms.allSatisfy { $0.summary.contains("1 snapshot") && $0.summary.contains("\(snapshot)") })

            #expect(try await Self.poll(server.peer(other)).packs.isEmpty)
            #expect(try await Self.poll(server.peer(node)).packs == [pack.id])
            #expect(try await Self.poll(server.peer(node)).packs.isEmpty, "asked once")
            #expect(try await server.peer(node).put(pack).status == 200)
            #expect(try await Self.losses(server).isEmpty)
            #expect(try await server.peer(node).send(.agent, .get, "/v1/packs/\(pack.id)").body == pack.bytes)

            server.rig.clock.advance(by: .seconds(3600))
            try await server.service.coordinator.recallLostPacks(limit: 10)
            let (packs, jobs) = try await Self.poll(server.peer(node))
            #expect(packs.isEmpty && jobs.isEmpty, "it is good again")
        }
    }

    @Test func areMadeAgainByOneSnapshotWhereNobodyHasThem() async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let (pack, _) = try await lose(server, node)
            let coordinator = server.service.coordinator
            server.rig.clock.advance(by: .seconds(120))
            try await coordinator.recallLostPacks(limit: 10)
            let asked = try await Self.poll(server.peer(node))
            #expect(asked.packs == [pack.id] && asked.jobs.isEmpty, "the node was not asked before")
            server.rig.clock.advance(by: .seconds(61))
            for _ in 0..<3 { try await coordinator.recallLostPacks(limit: 10) }
            let (packs, jobs) = try await Self.poll(server.peer(node))
            #expect(packs.isEmpty && jobs.map(\.kind) == ["snapshot"])
            server.rig.clock.advance(by: .seconds(600))
            #expect(try await Self.poll(server.peer(node)).packs == [pack.id], "asked again after a while")
        }
    }

    /// Where there are more than are looked at at once.
    @Test func areLookedAtPageByPage() throws {
        let (book, now) = (WantedBook(), Timestamp(microseconds: 0))
        #expect(book.page(now: now) == 0)
        book.turn(after: 9, hasMore: true, now: now + .seconds(3599))
        #expect(book.page(now: now) == 0, "they have their time")
        book.turn(after: 9, hasMore: true, now: now + .seconds(3600))
        #expect(book.page(now: now) == 9)
        book.turn(after: 12, hasMore: false, now: now + .seconds(7199))
        #expect(book.page(now: now) == 9)
        book.turn(after: 12, hasMore: false, now: now + .seconds(7200))
        #expect(book.page(now: now) == 0)
        book.turn(after: 9, hasMore: true, now: now + .seconds(10_800))
        book.turn(after: nil, hasMore: false, now: now + .seconds(10_801))
        #expect(book.page(now: now) == 0, "the last of them were healed")
    }

    @Test func aSnapshotThatCouldNotBeAskedForIsDueStill() {
        let (book, now) = (WantedBook(), Timestamp(microseconds: 0))
        let (one, other) = (DatabaseID(from: .seeded(2)), DatabaseID(from: .seeded(3)))
        #expect(book.isSnapshotDue(of: one, now: now) && book.isSnapshotDue(of: other, now: now))
        book.forget(snapshotsOf: [one])
        #expect(book.isSnapshotDue(of: one, now: now) && !book.isSnapshotDue(of: other, now: now))
    }

    @Test func areWantedNoLongerOnceTheyAreForgotten() throws {
        let (book, node) = (WantedBook(), NodeID(from: .seeded(1)))
        let pack = try #require(PackID(bytes: [UInt8](repeating: 7, count: 32)))
        let (now, database) = (Timestamp(microseconds: 0), DatabaseID(from: .seeded(2)))
        #expect(book.note([(pack, node)], now: now) == [node])
        #expect(book.take(of: node, now: now) == [pack])
        #expect(book.note([(pack, node)], now: now).isEmpty)
        #expect(!book.isSnapshotDue(of: database, without: pack, now: now + .seconds(59)))
        #expect(book.isSnapshotDue(of: database, without: pack, now: now + .seconds(60)))
        #expect(!book.isSnapshotDue(of: database, without: pack, now: now + .seconds(3659)))
        #expect(book.isSnapshotDue(of: database, without: pack, now: now + .seconds(3660)))
        #expect(book.note([], now: now).isEmpty)
        #expect(!book.isSnapshotDue(of: database, without: pack, now: now + .seconds(9999)))
        #expect(book.take(of: node, now: now + .seconds(9999)).isEmpty)
        #expect(book.note([(pack, node)], now: now - .seconds(9)) == [node])
    }
}
