import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

/// One lineage as its node keeps it: a new pack with each snapshot, and which of them are needed.
struct TestLineage: Sendable {
    let node: TestNode
    private(set) var snapshots: [TestSnapshot] = []
    private(set) var needs: [Set<PackID>] = []

    init(_ node: TestNode) { self.node = node }

    /// - Parameters:
    ///   - base: its sequence; nil for a full manifest.
    ///   - dropped: packs of these sequences are needed no longer.
    func next(
        base: Int?, dropping dropped: [Int] = [], change: (inout ManifestPublicPart) -> Void = { _ in }
    ) throws -> TestSnapshot {
        let before = needs.last ?? []
        return try node.makeSnapshot(seed: UInt64(snapshots.count) + 1, after: snapshots.last?.manifest) { part in
            let added = part.packs.added
            let after = before.union(added).subtracting(dropped.map { snapshots[$0].pack.id })
            part.packsSinceParent = Self.changes(from: before, to: after)
            part.packs = Self.changes(from: base.map { needs[$0] } ?? [], to: after)
            part.base = base.map { base in
                ManifestReference(snapshot: snapshots[base].id, manifest: snapshots[base].manifest.hash)
            }
            change(&part)
        }
    }

    mutating func add(_ snapshot: TestSnapshot, to server: Server) async throws {
        let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
        guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
        let changes = snapshot.manifest.publicPart.packsSinceParent
        needs.append((needs.last ?? []).union(changes.added).subtracting(changes.dropped))
        snapshots.append(snapshot)
    }

    /// A full snapshot and deltas on it, each on the base that the rule of the format gives it.
    static func make(_ server: Server, count: Int) async throws -> TestLineage {
        var lineage = TestLineage(try await server.makeNode())
        for sequence in 0..<count {
            let base =
                sequence == 0 ? nil : Int(ManifestChain.baseSequence(of: UInt64(sequence), lastFull: 0))
            try await lineage.add(try lineage.next(base: base), to: server)
        }
        return lineage
    }

    private static func changes(from old: Set<PackID>, to new: Set<PackID>) -> PackChanges {
        PackChanges(added: new.subtracting(old), dropped: old.subtracting(new))
    }
}

@Suite("Snapshots that are changes of others")
struct DeltaTests {
    @Test func aDeltaIsCommittedAndItsNodeReadsTheBases() async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 4)
            let peer = server.peer(lineage.node)
            let newest: Muster_V1_Snapshot = try await peer.get(.agent, "/v1/snapshots/\(lineage.snapshots[3].id)")
            #expect(newest.baseID == lineage.snapshots[2].id.description && newest.packCount == 4)
            for snapshot in lineage.snapshots {
                let manifest = try await peer.send(.agent, .get, "/v1/snapshots/\(snapshot.id)/manifest")
                #expect(manifest.body == snapshot.manifest.bytes)
            }
            let stranger = server.peer(try await server.makeNode("beta"))
            let base = "/v1/snapshots/\(lineage.snapshots[0].id)/manifest"
            #expect(try await stranger.send(.agent, .get, base).status == 404)
            let list: Muster_V1_SnapshotList = try await server.asAdmin.get(
                .admin, "/v1/snapshots?pack=\(lineage.snapshots[2].pack.id)")
            #expect(list.snapshots.map(\.id) == [3, 2].map { lineage.snapshots[$0].id.description })
        }
    }

    @Test func theSameDeltaTwiceGivesTheSameReceipt() async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            let delta = try lineage.next(base: 1)
            let answers = try await withThrowingTaskGroup(of: [UInt8].self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await server.peer(lineage.node).commit(delta.manifest, packs: [delta.pack.bytes]).body
                    }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(answers.count == 1)
            #expect(try await server.rig.store().objects(.receipts, maximumCount: 10).count == 3)
        }
    }

    @Test func aManifestThatDoesNotFollowIsRefusedAndLeavesNothing() async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            let peer = server.peer(lineage.node)
            let packs = lineage.snapshots.map(\.pack.id)
            let other = try lineage.node.makeSnapshot(seed: 77)
            #expect(try await peer.commit(other.manifest, packs: [other.pack.bytes]).status == 200)
            let lies: [(String, TestSnapshot)] = [
                (
                    "a dropped pack that is not live",
                    try lineage.next(base: 1) { $0.packsSinceParent.dropped = [other.pack.id] }
                ),
                (
                    "an added pack that is live",
                    try lineage.next(base: 1) { $0.packsSinceParent.added.insert(packs[0]) }
                ),
                (
                    "a base of another lineage",
                    try lineage.next(base: 1) {
                        $0.base = ManifestReference(snapshot: other.id, manifest: other.manifest.hash)
                    }
                ),
                ("a base with another hash", try lineage.next(base: 1) { $0.base?.manifest = other.manifest.hash }),
                ("a base that nobody has", try lineage.next(base: 1) { $0.base?.snapshot = SnapshotID(from: .system) }),
                ("a pack left out", try lineage.next(base: 0) { $0.packs.added.remove(packs[1]) }),
                ("a pack too many", try lineage.next(base: 1) { $0.packs.added.insert(packs[1]) }),
                ("a full list that is short", try lineage.next(base: nil) { $0.packs.added.remove(packs[0]) }),
                ("a full list that is long", try lineage.next(base: nil) { $0.packs.added.insert(other.pack.id) }),
            ]
            for (lie, snapshot) in lies {
                let answer = try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes])
                #expect(answer.status == 400 && answer.code == "inconsistent", "\(lie): \(answer.error)")
                #expect(!answer.error.transient)
            }
            #expect(try await server.rig.store().objects(.manifests, maximumCount: 10).count == 3)
            let good = try lineage.next(base: 1)
            #expect(try await peer.commit(good.manifest, packs: [good.pack.bytes]).status == 200)
        }
    }

    /// 0 is full; 1 and 2 are changes of 0, 3 of 2. A second lineage has nothing to do with it.
    @Test(arguments: ["check", "scrub"])
    func aDamagedBaseIsNamedWithEverySnapshotItHits(level: String) async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 4)
            let other = try lineage.node.makeSnapshot(seed: 99)
            #expect(try await server.peer(lineage.node).commit(other.manifest, packs: [other.pack.bytes]).status == 200)
            let base = lineage.snapshots[2]
            let objects = try await server.rig.store().objects(.manifests, maximumCount: 10)
            let name = try #require(objects.first { $0.name.description.contains("\(base.id)") }).name.description
            let path = server.rig.place.store + "/" + name
            let sound = try Data(contentsOf: URL(filePath: path))
            try FileManager.default.removeItem(atPath: path)
            if level == "scrub" {
                var bytes = sound
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: URL(filePath: path))
            }
            let all = lineage.snapshots + [other]
            let found = try await InspectionTests.verify(server, level, all)
            #expect(found.passed == 3 && found.failed.map(\.object) == [name, name])
            #expect(found.failed.map(\.snapshot) == [base, lineage.snapshots[3]].map(\.id.description))
            #expect(found.failed.allSatisfy { $0.reason.contains("also needed by") })
            let alone = try await InspectionTests.verify(server, level, [lineage.snapshots[3]])
            #expect(alone.failed.first?.reason.contains("\(base.id)") == true, "those outside the run too")

            let delta = try lineage.next(base: 3)
            let answer = try await server.peer(lineage.node).commit(delta.manifest, packs: [delta.pack.bytes])
            #expect(answer.status == 412 && answer.code == "base_missing")
            let around = try lineage.next(base: 1)
            #expect(
                try await server.peer(lineage.node).commit(around.manifest, packs: [around.pack.bytes]).status == 200)

            try sound.write(to: URL(filePath: path))
            #expect(try await InspectionTests.verify(server, "scrub", all).passed == 5)
        }
    }

    @Test func aSharedBaseIsReadOnceInARun() async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 5)
            let verification = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(verification.passed == 5)
            let store = try await server.rig.store()
            var bytes: UInt64 = 0
            for prefix in [ObjectPrefix.manifests, .receipts, .packs] {
                bytes += try await store.objects(prefix, maximumCount: 100).reduce(0) { $0 + $1.byteCount }
            }
            let keys = try await store.objects(.nodes, maximumCount: 10).reduce(0) { $0 + $1.byteCount }
            #expect(verification.bytesRead == bytes + 5 * keys)
        }
    }
}
