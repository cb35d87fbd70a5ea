import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

/// Deltas on deltas, of which some cannot be read any more.
@Suite("A rebuild where manifests are missing")
struct RebuildGapTests {
    /// Nine snapshots, each with a pack of its own, and from the fourth on each drops the one of three before.
    private static func makeHistory(_ rig: Rig) async throws -> TestLineage {
        try await rig.serve { server in
            var lineage = TestLineage(try await server.makeNode())
            for sequence in 0..<9 {
                let base = sequence == 0 ? nil : Int(ManifestChain.baseSequence(of: UInt64(sequence), lastFull: 0))
                let next = try lineage.next(base: base, dropping: sequence > 3 ? [sequence - 3] : [])
                try await lineage.add(next, to: server)
            }
            return lineage
        }
    }

    /// The snapshots that can be restored without that manifest: those whose bases do not lead to it.
    private static func survivors(of lost: Set<Int>) -> [Int] {
        (0..<9).filter { sequence in
            var next = UInt64(sequence)
            while true {
                if lost.contains(Int(next)) { return false }
                if next == 0 { return true }
                next = ManifestChain.baseSequence(of: next, lastFull: 0)
            }
        }
    }

    @Test(arguments: [[], [1], [4], [5], [7], [8], [1, 2, 3], [3, 5, 7], [4, 5, 6, 7, 8]])
    func theOthersNeedWhatTheyNeed(lost: [Int]) async throws {
        let rig = try await Rig(stores: 1)
        let lineage = try await Self.makeHistory(rig)
        for object in try await rig.store(1).objects(.manifests, maximumCount: 100) {
            guard lost.contains(where: { object.name.description.contains("\(lineage.snapshots[$0].id)") }) else {
                continue
            }
            try FileManager.default.removeItem(atPath: rig.folder(1) + "/" + object.name.description)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)])
        let survivors = Self.survivors(of: Set(lost))
        #expect(outcome.snapshots == survivors.count)
        #expect(outcome.findingCount == 9 - survivors.count, "\(outcome.findings)")
        try await rebuilt.serve { server in
            let catalog = server.service.coordinator.catalog
            for sequence in 0..<9 {
                let snapshot = try await catalog.snapshot(lineage.snapshots[sequence].id)
                guard survivors.contains(sequence) else {
                    #expect(snapshot == nil, "\(sequence)")
                    continue
                }
                let packs = try await catalog.packs(neededBy: try #require(snapshot))
                #expect(Set(packs.map(\.id)) == lineage.needs[sequence], "\(sequence)")
                let steps = try await catalog.baseSteps(
                    of: lineage.snapshots[sequence].id, manifest: lineage.snapshots[sequence].manifest.hash)
                #expect(steps == Int64(sequence.nonzeroBitCount), "\(sequence)")
            }
            guard survivors.contains(8) else { return }
            // The commit is checked against all that the catalog knows.
            var lineage = lineage
            let next = try lineage.next(base: 8, dropping: [7])
            try await lineage.add(next, to: server)
        }
    }

    /// It may lack what the two share: nothing is acknowledged there that needs it, and it gets what it lacks.
    @Test func aStoreThatLacksTheSnapshotBeforeIsNotTakenForWhole() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        let lineage = try await rig.serve { server in
            var lineage = TestLineage(try await server.makeNode())
            for _ in 0..<3 { try await lineage.add(try lineage.next(base: nil), to: server) }
            try await ReplicationTests.settle(server)
            return lineage
        }
        let gone = lineage.snapshots[...1].flatMap { ["\($0.id)", "\($0.pack.id)"] }
        for object in try await rig.store(2).objects(.all, maximumCount: 1000)
        where gone.contains(where: { object.name.description.contains($0) }) {
            try FileManager.default.removeItem(atPath: rig.folder(2) + "/" + object.name.description)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1), rig.folder(2)])
        #expect(outcome.snapshots == 3 && outcome.findings == [])

        // Before anything is copied.
        let catalog = try Catalog(path: rebuilt.place.catalog, names: .stored) { Coordinator.hash($0) }
        let packs = lineage.snapshots[...1].map(\.pack.id)
        let next = Catalog.Commit(of: try lineage.next(base: nil).manifest, receivedAt: rig.clock.now())
        for store in try await catalog.stores() {
            let standing = try await catalog.standing(of: next, incoming: Set(next.packs.added), in: store.number)
            #expect(standing.hasParent && standing.lacking == [], "what comes along is not lacking")
            let alone = try await catalog.standing(
                of: next, incoming: Set(next.packs.added).subtracting(packs), in: store.number)
            #expect(alone.lacking.count == (store.name == "main" ? 0 : 2), "\(store.name)")
        }
        try await catalog.close()
        try await rebuilt.serve { server in
            try await ReplicationTests.settle(server)
            for store in try await server.service.coordinator.catalog.stores() {
                let alone = try await server.service.coordinator.catalog.standing(
                    of: next, incoming: Set(next.packs.added).subtracting(packs), in: store.number)
                #expect(alone.lacking == [], "\(store.name)")
            }
        }
    }
}
