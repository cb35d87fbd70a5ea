import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("A failure ends where its reason was healed")
struct HealedFailureTests {
    private static func work(_ server: Server, _ node: TestNode) async throws -> Muster_V1_Job? {
        let work: Muster_V1_WorkResponse = try await server.peer(node).post(
            .agent, "/v1/work", Muster_V1_WorkRequest.with { $0.bootID = "one" })
        return work.jobs.first
    }

    private static func finish(
        _ server: Server, _ node: TestNode, _ job: Muster_V1_Job, _ failed: [Muster_V1_Finding] = []
    ) async throws {
        var outcome = Muster_V1_JobOutcome()
        (outcome.state, outcome.snapshotID, outcome.failed) = ("done", job.snapshotID, failed)
        let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
            .agent, "/v1/jobs/\(job.id)/outcome", outcome)
    }

    private static func damage(_ server: Server) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == "damaged" }
    }

    /// The first is the newest snapshot no more, so that no schedule comes to it.
    private static func fill(_ server: Server) async throws -> (TestNode, TestSnapshot) {
        let node = try await server.makeNode()
        let first = try node.makeSnapshot(seed: 1)
        let second = try node.makeSnapshot(seed: 2, after: first.manifest)
        for snapshot in [first, second] {
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
        }
        try await ReplicationTests.settle(server)
        return (node, first)
    }

    @Test(arguments: ["verify", "drill"])
    func anAgentsFailureIsInspectedAgainAsDeepAfterTheRepair(level: String) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (node, snapshot) = try await Self.fill(server)
            let name = try #require(
                try await rig.store(1).objects(.packs, maximumCount: 10).map(\.name.description)
                    .first { $0.contains("\(snapshot.pack.id)") })
            let url = URL(filePath: rig.folder(1) + "/" + name)
            var bytes = try Data(contentsOf: url)
            bytes[bytes.count / 2] ^= 1
            try FileManager.default.removeItem(at: url)
            try bytes.write(to: url)

            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = (level, [snapshot.id.description])
            let run: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
            let job = try #require(try await Self.work(server, node))
            let finding = Muster_V1_Finding.with {
                ($0.object, $0.reason) = ("pack \(snapshot.pack.id)", "it does not open")
            }
            try await Self.finish(server, node, job, [finding])
            #expect(try await InspectionTests.finished(server, run.run).failed.count == 1)
            let alarm = try #require(try await Self.damage(server).first)
            #expect(alarm.hint.contains("--level \(level)"), "\(alarm.hint)")

            var again: Muster_V1_Job?
            for _ in 0..<20_000 where again == nil { again = try await Self.work(server, node) }
            let next = try #require(again, "nothing inspects it again")
            #expect(next.level == level && next.snapshotID == snapshot.id.description && next.runID != run.run)
            try await Self.finish(server, node, next)
            #expect(try await Self.damage(server).isEmpty)
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.verdict == "passed \(level)")
        }
    }

    /// A drill that passes has met the bad replica all the same: it names it, the run shows it, and it is made anew.
    @Test func aReplicaThatADrillRefusedIsShownAndHealed() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (node, snapshot) = try await Self.fill(server)
            let coordinator = server.service.coordinator
            let before = try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
            let bad = try #require(before.first)
            let store = try #require(coordinator.stores.all.first { $0.number == bad.store })
            let folder = rig.folder(store.name == "main" ? 1 : 2)
            let name = try #require(
                try await rig.store(store.name == "main" ? 1 : 2).objects(.packs, maximumCount: 10)
                    .map(\.name.description).first { $0.contains("\(snapshot.pack.id)") })
            try Data([1, 2, 3]).write(to: URL(filePath: folder + "/" + name))

            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = ("drill", [snapshot.id.description])
            let run: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
            let job = try #require(try await Self.work(server, node))
            var outcome = Muster_V1_JobOutcome()
            (outcome.state, outcome.snapshotID, outcome.drill.restoreSeconds) = ("done", job.snapshotID, 1)
            outcome.refused = [
                .with {
                    ($0.store, $0.object, $0.reason) = (store.name, "pack \(snapshot.pack.id)", "it does not open")
                },
                .with { ($0.store, $0.object, $0.reason) = ("nowhere", "pack \(snapshot.pack.id)", "it is not there") },
            ]
            let _: Muster_V1_JobOutcomeAccepted = try await server.peer(node).post(
                .agent, "/v1/jobs/\(job.id)/outcome", outcome)
            let shown = try await InspectionTests.finished(server, run.run)
            #expect(shown.passed == 1 && shown.failed.isEmpty)
            #expect(shown.refused.map(\.store) == [store.name, "nowhere"])
            #expect(shown.refused.first?.object == "pack \(snapshot.pack.id)")
            #expect(shown.refused.first?.snapshot == snapshot.id.description && shown.refused.first?.node == node.name)
            for _ in 0..<20_000 {
                let now = try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
                if let again = now.first(where: { $0.store == bad.store }), again.generation != bad.generation,
                    again.state == .present
                {
                    return
                }
                // Repairs go by the clock.
                rig.clock.advance(by: .seconds(1))
            }
            Issue.record("nobody looked at the replica")
        }
    }

    /// Copies may go on for days.
    @Test func isLookedForWhileCopiesGoOn() {
        let (healing, start) = (Healing(startedAt: Timestamp(microseconds: 0)), Timestamp(microseconds: 0))
        func isTime(_ seconds: Int64, isQuiet: Bool) -> Bool {
            healing.look(now: start + .seconds(seconds), atLeastEvery: .seconds(600), isQuiet: isQuiet)
        }
        #expect(!isTime(599, isQuiet: false) && isTime(599, isQuiet: true) && isTime(600, isQuiet: true))
        #expect(!isTime(1199, isQuiet: false) && isTime(1200, isQuiet: false) && !isTime(1201, isQuiet: false))
        #expect(isTime(0, isQuiet: false), "the clock was set back")
    }

    /// What the catalog's backup brings back names the failure, and not what was found: it is inspected once more.
    @Test func afterARebuildAFailureIsInspectedAgain() async throws {
        let rig = try await Rig(stores: 1)
        let (node, snapshot) = try await rig.serve { server in
            let (node, snapshot) = try await Self.fill(server)
            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = ("verify", [snapshot.id.description])
            let _: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
            let job = try #require(try await Self.work(server, node))
            try await Self.finish(server, node, job, [.with { $0.reason = "integrity_check finds 1 problems" }])
            try await server.service.coordinator.backUpCatalog()
            return (node, snapshot)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)])
        #expect(outcome.verdicts == 1)
        try await rebuilt.serve { server in
            let catalog = server.service.coordinator.catalog
            let before = try await catalog.snapshot(snapshot.id)
            #expect(before?.verdict == "failed verify")
            var again: Muster_V1_Job?
            for _ in 0..<20_000 where again == nil { again = try await Self.work(server, node) }
            let job = try #require(again, "nothing inspects it again")
            #expect(job.level == "verify" && job.snapshotID == snapshot.id.description)
            // It fails for the same reason: now that is known, and it stands.
            try await Self.finish(server, node, job, [.with { $0.reason = "integrity_check finds 1 problems" }])
            let later = server.rig.clock.now() + .seconds(86_400)
            let found = try await catalog.healedFailures(after: 0, repairedAt: later, rested: later)
            #expect(found.healed.isEmpty)
        }
    }

    /// The owner's data is not in order: no repair changes that, and nothing is to be tried again and again.
    @Test func whatNamesNoObjectStands() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (node, snapshot) = try await Self.fill(server)
            let coordinator = server.service.coordinator
            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = ("drill", [snapshot.id.description])
            let _: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
            let job = try #require(try await Self.work(server, node))
            try await Self.finish(server, node, job, [.with { $0.reason = "assertion 'orders': it gives no row" }])
            let later = coordinator.clock.now() + .seconds(86_400)
            let found = try await coordinator.catalog.healedFailures(after: 0, repairedAt: later, rested: later)
            #expect(found.healed.isEmpty && found.last == 0)
            #expect(try await Self.damage(server).count == 1)
        }
    }

    @Test func whatCannotBeInspectedKeepsNoRunFromItsEnd() async throws {
        let rig = try await Rig()
        let snapshots = try await rig.serve { server in
            let node = try await server.makeNode()
            var snapshots: [TestSnapshot] = []
            for seed in 1...6 {
                let next = try node.makeSnapshot(seed: UInt64(seed), after: snapshots.last?.manifest)
                #expect(try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes]).status == 200)
                snapshots.append(next)
            }
            return snapshots
        }
        let catalog = try Catalog(path: rig.place.catalog, names: .stored) { Coordinator.hash($0) }
        // A row that no version wrote.
        let first = try #require(try await catalog.snapshot(snapshots[0].id))
        let replica = try #require(first.replicas.first)
        for (part, place) in [
            (Catalog.SnapshotPart.manifest, replica.generation), (.receipt, replica.receiptGeneration),
        ] {
            try await catalog.mark(
                part, of: first.number, store: replica.store, generation: place, as: .damaged, isHashed: true,
                now: rig.clock.now())
        }
        let copy = Catalog.SnapshotCopy(
            store: replica.store, generation: "junk", receiptGeneration: "junk", replacing: replica)
        #expect(try await catalog.recordCopy(of: first.number, copy, quarantine: .zero, now: rig.clock.now()))
        let runs = (0..<3).map { _ in RunID(from: .system) }
        for (run, some) in zip(runs, [snapshots[0..<5], snapshots[0..<1], snapshots[5..<6]]) {
            try await catalog.begin(run, level: .scrub, snapshots: some.map(\.id), jobs: [], now: rig.clock.now())
        }
        try await catalog.close()
        try await rig.serve { server in
            let ended = [
                try await InspectionTests.finished(server, runs[0].description),
                try await InspectionTests.finished(server, runs[1].description),
                try await InspectionTests.finished(server, runs[2].description),
            ]
            #expect(ended.map(\.passed) == [4, 0, 1] && ended.map(\.total) == [5, 1, 1])
            for run in ended.prefix(2) {
                #expect(run.failed.map(\.snapshot) == [snapshots[0].id.description])
                #expect(run.failed.allSatisfy { $0.reason.hasPrefix("not verified: ") }, "\(run.failed)")
            }
        }
    }
}
