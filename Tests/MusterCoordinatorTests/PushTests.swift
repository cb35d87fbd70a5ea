import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Packs and commits")
struct PushTests {
    @Test func aSnapshotGoesInAndComesBackByteForByte() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let snapshot = try node.makeSnapshot(extents: 100)
            #expect(try await peer.put(snapshot.pack).status == 200)
            #expect(try await peer.put(snapshot.pack).status == 200, "the same pack again")
            let answer = try await peer.commit(snapshot.manifest)
            let receipt = try Receipt.parse(
                Array(try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt)
            ).verified(by: try #require(Hex.decode(node.receiptKey).flatMap { VerifyingKey(bytes: $0) }))
            #expect(receipt.manifest == snapshot.manifest.hash && receipt.stores == ["main"])

            let pack = try await peer.send(.agent, .get, "/v1/packs/\(snapshot.pack.id)")
            #expect(pack.body == snapshot.pack.bytes)
            let part = try await peer.send(
                .agent, .get, "/v1/packs/\(snapshot.pack.id)", headers: ["range": "bytes=100000-399999"])
            #expect(part.status == 206 && part.body == Array(snapshot.pack.bytes[100_000..<400_000]))
            let manifest = try await peer.send(.agent, .get, "/v1/snapshots/\(snapshot.id)/manifest")
            #expect(manifest.body == snapshot.manifest.bytes)
            let store = try await server.rig.store()
            #expect(try await store.objects(.packs, maximumCount: 10).count == 1)
            #expect(try await store.objects(.receipts, maximumCount: 10).count == 1)
        }
    }

    @Test func aNodeFillsTheStoresUpToItsQuotaAndNoFurther() async throws {
        let rig = try await Rig(stores: 1)
        let text = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try PrivateFile.write(text + "quota: {node_gib: 2, nodes: {small: 1}}\n", to: rig.place.settings)
        try await rig.serve { server in
            let (small, other) = (try await server.makeNode("small"), try await server.makeNode("other"))
            let first = try small.makeSnapshot()
            let peer = server.peer(small)
            #expect(try await peer.commit(first.manifest, packs: [first.pack.bytes]).status == 200)
            // As if so much had come that half a pack is left of a gibibyte.
            let left = Int64(first.pack.bytes.count / 2)
            for node in [small, other] {
                let weight = Catalog.NewPack(
                    id: SHA256Hasher.hash([UInt8](node.name.utf8)), scope: node.scope,
                    sizeBytes: 1 << 30 - left - (node.name == "small" ? Int64(first.pack.bytes.count) : 0),
                    replicas: [(1, "00000000000000aa")], chunks: [])
                try await server.service.coordinator.catalog.add(weight, now: rig.clock.now())
            }
            let second = try small.makeSnapshot(seed: 2, after: first.manifest)
            for answer in [
                try await peer.commit(second.manifest, packs: [second.pack.bytes]), try await peer.put(second.pack),
            ] {
                #expect(answer.status == 507 && answer.code == "quota_reached" && !answer.error.transient)
                #expect(answer.error.summary.contains("1024 MiB"), "\(answer.error.summary)")
            }
            #expect(try await peer.put(first.pack).status == 200, "what is there may come again")
            let sound = try other.makeSnapshot()
            #expect(try await server.peer(other).commit(sound.manifest, packs: [sound.pack.bytes]).status == 200)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            let alarms = status.alarms.filter { $0.kind == "quota" }
            #expect(alarms.map(\.severity) == ["critical"])
            #expect(alarms.first?.summary.contains("'small'") == true)
        }
    }

    @Test func theSameCommitTwiceGivesTheSameReceipt() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let snapshot = try node.makeSnapshot()
            let first = try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            server.rig.clock.advance(by: .seconds(100))
            let second = try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(first.status == 200 && second.status == 200)
            #expect(first.body == second.body)
            let parallel = try await withThrowingTaskGroup(of: [UInt8].self) { group in
                let next = try node.makeSnapshot(seed: 2, after: snapshot.manifest)
                for _ in 0..<6 {
                    group.addTask { try await peer.commit(next.manifest, packs: [next.pack.bytes]).body }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(parallel.count == 1)
        }
    }

    @Test func aStaleParentIsAConflictThatNamesTheHead() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let first = try node.makeSnapshot()
            let (left, right) = (
                try node.makeSnapshot(seed: 2, after: first.manifest),
                try node.makeSnapshot(seed: 3, after: first.manifest)
            )
            for snapshot in [first, left] {
                #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            }
            let answer = try await peer.commit(right.manifest, packs: [right.pack.bytes])
            #expect(answer.status == 409 && answer.code == "forked")
            #expect(answer.error.head.snapshotID == left.id.description)
            #expect(answer.error.head.manifestHash == left.manifest.hash.description)
            #expect(answer.error.head.sequence == 1)
            #expect(try await peer.send(.agent, .get, "/v1/snapshots/\(right.id)").status == 404)
        }
    }

    @Test func aForkedLineageIsKeptAndAnAlarm() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let trunk = try node.makeSnapshot()
            let branch = try node.makeSnapshot(seed: 2) {
                $0.forkedFrom = ForkPoint(
                    lineage: trunk.manifest.publicPart.lineage,
                    head: ManifestReference(snapshot: trunk.id, manifest: trunk.manifest.hash))
            }
            for snapshot in [trunk, branch] {
                #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            }
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.map(\.kind) == ["fork"])
            #expect(status.databases.first?.forked == true && status.snapshotCount == 2)
        }
    }

    @Test func missingPacksAreListed() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest)
            #expect(answer.status == 412 && answer.code == "packs_missing")
            #expect(answer.error.missingPacks == [snapshot.pack.id.description])
            #expect(!answer.error.transient, "the same request again is refused again")
            #expect(try await server.rig.store().objects(.manifests, maximumCount: 10).isEmpty)
        }
    }

    @Test func theMissingQuestionIsAnsweredForTheCallersScopeAlone() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            let snapshot = try alpha.makeSnapshot(extents: 3)
            #expect(try await server.peer(alpha).put(snapshot.pack).status == 200)
            var request = Muster_V1_MissingRequest()
            for entry in snapshot.pack.entries { request.chunkIds.append(contentsOf: entry.id.bytes) }
            let own: Muster_V1_MissingResponse = try await server.peer(alpha).post(
                .agent, "/v1/chunks/missing", request)
            // The fourth chunk is the map: only extents answer.
            #expect(own.present.map(\.index) == [0, 1, 2])
            #expect(own.packs == [Data(snapshot.pack.id.bytes)])
            #expect(own.present.map { Int($0.offset) } == snapshot.pack.entries.prefix(3).map(\.offset))
            let foreign: Muster_V1_MissingResponse = try await server.peer(beta).post(
                .agent, "/v1/chunks/missing", request)
            #expect(foreign == Muster_V1_MissingResponse())
        }
    }

    @Test func aManifestOfAnotherNodeOrScopeIsRefused() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            let snapshot = try alpha.makeSnapshot()
            #expect(
                try await server.peer(beta).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 400,
                "signed by another key")
            let posing = try alpha.makeSnapshot { $0.node = beta.id }
            let answer = try await server.peer(alpha).commit(posing.manifest, packs: [posing.pack.bytes])
            #expect(answer.status == 403 && answer.code == "not_yours")
            #expect(try await server.peer(alpha).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let thief = try beta.makeSnapshot { $0.database = alpha.database }
            #expect(try await server.peer(beta).commit(thief.manifest, packs: [thief.pack.bytes]).status == 403)
        }
    }

    @Test func aLyingPackIsCaughtAtTheDoor() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let pack = try node.makeSnapshot(extents: 40).pack
            var wrongChunk = pack.bytes
            wrongChunk[pack.entries[20].offset + 50] ^= 1
            var wrongStart = pack.bytes
            wrongStart[0] ^= 1
            let lies: [(String, PackID, [UInt8])] = [
                ("another pack's id", SHA256Hasher.hash([1]), pack.bytes),
                ("a chunk with other bytes", SHA256Hasher.hash(wrongChunk), wrongChunk),
                ("another beginning", SHA256Hasher.hash(wrongStart), wrongStart),
                ("cut short", SHA256Hasher.hash(Array(pack.bytes.dropLast(10))), Array(pack.bytes.dropLast(10))),
                ("one byte more", SHA256Hasher.hash(pack.bytes + [0]), pack.bytes + [0]),
                ("garbage", SHA256Hasher.hash([UInt8](repeating: 7, count: 5000)), [UInt8](repeating: 7, count: 5000)),
                ("nearly nothing", SHA256Hasher.hash([7]), [7]),
            ]
            for (lie, id, bytes) in lies {
                #expect(try await peer.put(id, bytes).status == 400, "\(lie)")
                #expect(try await peer.send(.agent, .get, "/v1/packs/\(id)").status == 404, "\(lie)")
            }
            #expect(try await server.rig.store().objects(.packs, maximumCount: 10).isEmpty)
            let leftovers = try FileManager.default.contentsOfDirectory(atPath: server.rig.place.store + "/incoming")
            #expect(leftovers.isEmpty)
            var inline = wrongChunk
            inline.removeLast()
            let snapshot = try node.makeSnapshot()
            #expect(try await peer.commit(snapshot.manifest, packs: [Array(inline.prefix(1000))]).status == 400)
        }
    }

    @Test(arguments: [true, false])
    func aReceiptThatACrashKeptFromTheStoreIsCompleted(isApplied: Bool) async throws {
        let rig = try await Rig()
        // Commits of objects: the key record, the pack, the manifest, the receipt.
        let error = StoreError.failed(store: "main", object: "", operation: "write", code: EIO)
        // After it nothing gets there in this life, however long it lasts: the coordinator tries again by itself.
        let faults =
            [FaultyStore.Fault.failCommit(6, error, isApplied: isApplied)]
            + (7..<1000).map { .failCommit($0, error, isApplied: false) }
        let (node, snapshot) = try await rig.serve(wrapStore: { FaultyStore($0, faults: faults) }) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 503 && answer.error.transient, "no answer before the receipt is durable")
            return (node, snapshot)
        }
        #expect(try await rig.store().objects(.receipts, maximumCount: 10).count == (isApplied ? 1 : 0))
        try await rig.serve { server in
            let objects = try await rig.store().objects(.receipts, maximumCount: 10)
            #expect(objects.count == 1, "completed at the start")
            let stored = try await rig.store().read(try #require(objects.first).name, maximumBytes: 10_000)
            let answer = try await server.peer(node).commit(snapshot.manifest)
            #expect(answer.status == 200)
            #expect(Array(try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt) == stored)
        }
    }

    @Test func theNextTryCompletesAReceiptToo() async throws {
        let error = StoreError.failed(store: "main", object: "", operation: "write", code: EIO)
        try await Rig.serve(faults: [.failCommit(6, error, isApplied: false)]) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let peer = server.peer(node)
            #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 503)
            #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            #expect(try await server.rig.store().objects(.receipts, maximumCount: 10).count == 1)
        }
    }

    @Test func aFullStoreIsSaidSoAndLeavesNothing() async throws {
        try await Rig.serve(faults: [.failWrite(4, .full(store: "main"))]) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot(extents: 20)
            let answer = try await server.peer(node).put(snapshot.pack)
            #expect(answer.status == 507 && answer.code == "store_full")
            #expect(try await server.peer(node).put(snapshot.pack).status == 200)
        }
    }
}
