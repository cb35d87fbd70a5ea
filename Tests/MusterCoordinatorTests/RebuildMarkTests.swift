import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@testable import MusterCoordinator

/// What retention and gc do after a rebuild. The backup of the catalog tells what was, not what is.
@Suite("A rebuild gives nothing up")
struct RebuildMarkTests {
    /// Marks the snapshot, with a grace of a day.
    private static func mark(_ snapshot: TestSnapshot, in server: Server) async throws {
        let now = server.rig.clock.now()
        let outcome = try await server.service.coordinator.catalog.forget(
            snapshot.id, run: RunID(from: .system), graceUntil: now + .seconds(86_400), actor: "admin", now: now)
        #expect(outcome == .marked)
    }

    private static func catalog(of rebuilt: Rig) throws -> Catalog {
        try Catalog(path: rebuilt.place.catalog, names: .stored) { Coordinator.hash($0) }
    }

    /// The newest backup has the mark; that it was taken off is in no store.
    @Test func anUndoAfterTheNewestBackupIsNotUndone() async throws {
        let rig = try await Rig(stores: 1)
        let lineage = try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 3)
            try await Self.mark(lineage.snapshots[1], in: server)
            try await server.service.coordinator.backUpCatalog()
            let catalog = server.service.coordinator.catalog
            #expect(try await catalog.undo(lineage.snapshots[1].id, now: rig.clock.now()))
            return lineage
        }
        rig.clock.advance(by: .seconds(2 * 86_400))
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)])
        #expect(outcome.catalogBackup != nil && outcome.snapshots == 3)
        let catalog = try Self.catalog(of: rebuilt)
        let forgotten = try await catalog.forgetMarked(after: nil, now: rig.clock.now()).count
        #expect(forgotten == 0)
        for snapshot in lineage.snapshots {
            let known = try #require(try await catalog.snapshot(snapshot.id))
            #expect(known.mark == nil && !known.isForgotten)
        }
        try await catalog.close()
    }

    /// What keeps a database from expiring is known as soon as the fleet's state is.
    @Test func anAlarmThatFreezesOutlivesTheCatalog() async throws {
        let rig = try await Rig(stores: 1)
        let alarm = try await rig.serve { server in
            let node = try await TestLineage.make(server, count: 1).node
            let coordinator = server.service.coordinator
            try await coordinator.backUpCatalog()
            let alarm = Catalog.Alarm(
                kind: .entropy, node: node.id, database: node.database, summary: "it does not compress", hint: "Look.",
                since: rig.clock.now())
            try await coordinator.catalog.restore([alarm])
            try await coordinator.keepFleetState()
            return alarm
        }
        let catalog = try Self.catalog(of: try await rig.rebuilt(from: [rig.folder(1)]).rig)
        #expect(try await catalog.standingFreezes() == [alarm])
        // Once, however often it is restored.
        try await catalog.restore([alarm])
        #expect(try await catalog.standingFreezes().count == 1)
        try await catalog.close()
    }

    @Test func gcIsNotDueAtOnce() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in _ = try await TestLineage.make(server, count: 1) }
        let (rebuilt, _) = try await rig.rebuilt(from: [rig.folder(1)])
        let catalog = try Self.catalog(of: rebuilt)
        let ran = try await catalog.setting(Coordinator.lastCollected)
        #expect(ran.map { String(decoding: $0, as: UTF8.self) } == rig.clock.now().description)
        try await catalog.close()
    }

    /// Without a backup nothing tells it from a snapshot that has lost its packs: it is named.
    @Test(arguments: [true, false])
    func whatWasForgottenAndComesBackTornIsNamed(hasBackup: Bool) async throws {
        let rig = try await Rig(stores: 1)
        let lineage = try await rig.serve { server in
            var lineage = TestLineage(try await server.makeNode())
            try await lineage.add(try lineage.next(base: nil), to: server)
            try await lineage.add(try lineage.next(base: 0, dropping: [0]), to: server)
            let catalog = server.service.coordinator.catalog
            try await Self.mark(lineage.snapshots[0], in: server)
            rig.clock.advance(by: .seconds(86_401))
            _ = try await CollectionTests.collect(server)
            #expect(try await catalog.snapshot(lineage.snapshots[0].id)?.isForgotten == true)
            return lineage
        }
        // One was taken at shutdown.
        let backups = try await rig.store(1).objects(.catalogBackups, maximumCount: 10)
        #expect(backups.count == 1)
        for backup in backups where !hasBackup {
            try FileManager.default.removeItem(atPath: rig.folder(1) + "/" + backup.name.description)
        }
        let pack = try #require(
            try await rig.store(1).objects(.packs, maximumCount: 10).first {
                $0.name.description.contains("\(lineage.snapshots[0].pack.id)")
            })
        try FileManager.default.removeItem(atPath: rig.folder(1) + "/" + pack.name.description)
        let outcome = try await rig.rebuilt(from: [rig.folder(1)]).outcome
        let torn = outcome.findings.filter { $0.object == "snapshot \(lineage.snapshots[0].id)" }
        #expect(torn.count == (hasBackup ? 0 : 1), "\(outcome.findings)")
        #expect(outcome.snapshots == 2)
    }

    /// Its manifest stays, as another one is based on it, and so does its receipt. Its packs are gone.
    @Test func whatWasForgottenIsMarkedStill() async throws {
        let rig = try await Rig(stores: 1)
        let lineage = try await rig.serve { server in
            var lineage = TestLineage(try await server.makeNode())
            try await lineage.add(try lineage.next(base: nil), to: server)
            try await lineage.add(try lineage.next(base: 0, dropping: [0]), to: server)
            try await Self.mark(lineage.snapshots[0], in: server)
            rig.clock.advance(by: .seconds(86_401))
            #expect(try await CollectionTests.collect(server).forgottenSnapshots == 1)
            try await server.service.coordinator.backUpCatalog()
            return lineage
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)])
        #expect(outcome.catalogBackup != nil && outcome.snapshots == 2)
        let catalog = try Self.catalog(of: rebuilt)
        let (old, new) = (
            try await catalog.snapshot(lineage.snapshots[0].id), try await catalog.snapshot(lineage.snapshots[1].id)
        )
        #expect(old?.mark != nil && new?.mark == nil)
        let forgotten = try await catalog.forgetMarked(after: nil, now: rig.clock.now()).count
        #expect(forgotten == 1)
        try await catalog.close()
    }
}
