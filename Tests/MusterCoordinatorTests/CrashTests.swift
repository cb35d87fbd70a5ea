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

/// A coordinator that dies at each step of a commit in turn, and starts again.
@Suite("A commit that was cut off")
struct CrashTests {
    /// What the store was asked for when everything ended.
    enum Step: String, CaseIterable, Sendable {
        case receiptPrepared, manifestNamed, packNamed, receiptNamed
    }

    /// From a step on nothing reaches the store any more, as where the process was killed there.
    private final class DyingStore: ForwardingStore {
        let store: any Store
        let step: Step
        /// True: the step itself was done, and only its answer was lost.
        let isDone: Bool
        /// What happens at the step in place of the end.
        let event: (@Sendable () async throws -> Void)?
        private let life = Life()

        init(
            _ store: any Store, at step: Step, isDone: Bool, instead event: (@Sendable () async throws -> Void)? = nil
        ) {
            (self.store, self.step, self.isDone, self.event) = (store, step, isDone, event)
        }

        func take(_ step: Step, _ body: () async throws(StoreError) -> Void) async throws(StoreError) {
            let isLast = step == self.step
            if isLast, let event {
                do { try await event() } catch { throw .writerClosed(store: "\(error)") }
                return try await body()
            }
            if isLast ? isDone : await life.isAlive { try await body() }
            if isLast { await life.end() }
            guard await life.isAlive else { throw ended }
        }

        private var ended: StoreError { .failed(store: name, object: "", operation: "live", code: EIO) }

        func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
            let step: Step? =
                switch StoredItem(name) {
                case .pack: .packNamed
                case .manifest: .manifestNamed
                default: nil
                }
            guard let step else {
                guard await life.isAlive else { throw ended }
                return try await store.put(name, bytes)
            }
            try await take(step) { () async throws(StoreError) in try await store.put(name, bytes) }
        }

        func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
            let writer = try await store.prepare(bytes)
            try await take(.receiptPrepared) {}
            return DyingWriter(writer: writer, store: self)
        }

    }

    private actor Life {
        private(set) var isAlive = true
        func end() { isAlive = false }
    }

    private final class DyingWriter: ObjectWriter {
        private let writer: any ObjectWriter
        private let store: DyingStore

        init(writer: any ObjectWriter, store: DyingStore) { (self.writer, self.store) = (writer, store) }

        func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) { try await writer.write(bytes) }
        func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] { try await writer.readBack(range) }
        func commit(as name: ObjectName) async throws(StoreError) {
            try await store.take(.receiptNamed) { () async throws(StoreError) in try await writer.commit(as: name) }
        }
        func abort() async { await writer.abort() }
    }

    @Test(arguments: Step.allCases, [true, false])
    func leavesNoReceiptOrExactlyOne(step: Step, isDone: Bool) async throws {
        let rig = try await Rig()
        let (lineage, delta) = try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            return (lineage, try lineage.next(base: 1))
        }
        try await rig.serve(wrapStore: { DyingStore($0, at: step, isDone: isDone) }) { server in
            let answer = try await server.peer(lineage.node).commit(delta.manifest, packs: [delta.pack.bytes])
            #expect(answer.status == 503 && answer.error.transient, "no answer before the receipt is durable")
        }
        let isCommitted = step == .receiptNamed
        let before = try await Self.receipts(rig)
        #expect(before.count == (isCommitted && isDone ? 3 : 2))
        try await Self.expectWhole(rig)
        try await rig.serve { server in
            let peer = server.peer(lineage.node)
            #expect(try await Self.receipts(rig).count == (isCommitted ? 3 : 2), "completed at the start")
            let list: Muster_V1_SnapshotList = try await server.asAdmin.get(.admin, "/v1/snapshots")
            #expect(list.snapshots.count == (isCommitted ? 3 : 2))
            let answer = try await peer.commit(delta.manifest, packs: [delta.pack.bytes])
            #expect(answer.status == 200)
            let receipt = Array(try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt)
            let receipts = try await Self.receipts(rig)
            #expect(receipts.count == 3 && receipts.values.contains(receipt))
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots + [delta]).passed == 3)
        }
        try await Self.expectWhole(rig)
        let incoming = try FileManager.default.contentsOfDirectory(atPath: rig.place.store + "/incoming")
        #expect(incoming.isEmpty)
    }

    /// A pack is found to be lost after the commit was looked at and before the catalog decides.
    @Test func aCommitThatIsRefusedLateLeavesNoReceipt() async throws {
        let rig = try await Rig()
        let (lineage, delta) = try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            return (lineage, try lineage.next(base: 1))
        }
        let lost = lineage.snapshots[0].pack.id
        let soundness = Life()
        let late: @Sendable () async throws -> Void = {
            guard await soundness.isAlive else { return }
            await soundness.end()
            let catalog = try Catalog(path: rig.place.catalog, names: .stored) { Coordinator.hash($0) }
            for replica in try await catalog.replicas(of: lost, in: nil) {
                try await catalog.mark(
                    pack: replica.pack, store: replica.store, generation: replica.generation, as: .damaged,
                    isHashed: true, now: rig.clock.now())
            }
            try await catalog.close()
        }
        try await rig.serve(wrapStore: { DyingStore($0, at: .manifestNamed, isDone: true, instead: late) }) { server in
            let peer = server.peer(lineage.node)
            let answer = try await peer.commit(delta.manifest, packs: [delta.pack.bytes])
            #expect(answer.status == 412 && answer.error.missingPacks == [lost.description])
            #expect(try await Self.receipts(rig).count == 2)
            #expect(try FileManager.default.contentsOfDirectory(atPath: rig.place.store + "/incoming").isEmpty)
            let store = try await rig.store()
            #expect(try await store.objects(.manifests, maximumCount: 10).count == 3)
            _ = try await CollectionTests.collect(server)
            #expect(try await store.objects(.manifests, maximumCount: 10).count == 2, "nothing refers to the third")
            #expect(try await store.objects(.packs, maximumCount: 10).count == 3, "the catalog has registered its pack")
            #expect(try await peer.put(lineage.snapshots[0].pack).status == 200)
            #expect(try await peer.commit(delta.manifest, packs: [delta.pack.bytes]).status == 200)
        }
        try await Self.expectWhole(rig)
    }

    /// A receipt needs two stores, and the first is full only when the second has got everything.
    @Test func whatOneOfTwoStoresTookIsGivenUpWhereTheOtherRefuses() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2, before_receipt: 2")
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { $0.name == "main" ? HookedStore($0, hooks) : $0 }) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            hooks.onCommit { name async throws(StoreError) in
                guard case .manifest = StoredItem(name) else { return }
                do {
                    for prefix in [ObjectPrefix.manifests, .packs] {
                        while try await rig.store(2).objects(prefix, maximumCount: 10).isEmpty { await Task.yield() }
                    }
                } catch {
                    throw .writerClosed(store: "\(error)")
                }
                throw .full(store: "main")
            }
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 507 && answer.code == "store_full")
            _ = try await CollectionTests.collect(server)
            for store in [1, 2] {
                for prefix in [ObjectPrefix.manifests, .receipts, .packs] {
                    #expect(try await rig.store(store).objects(prefix, maximumCount: 10).isEmpty)
                }
            }
            hooks.onCommit(nil)
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            _ = try await CollectionTests.collect(server)
            #expect(try await rig.store(2).objects(.manifests, maximumCount: 10).count == 1)
        }
    }

    private static func receipts(_ rig: Rig) async throws -> [ObjectName: [UInt8]] {
        let store = try await rig.store()
        var receipts: [ObjectName: [UInt8]] = [:]
        for object in try await store.objects(.receipts, maximumCount: 100) {
            receipts[object.name] = try await store.read(object.name, maximumBytes: 10_000)
        }
        return receipts
    }

    /// Whatever has a receipt has everything that it needs, in the store alone.
    private static func expectWhole(_ rig: Rig) async throws {
        let store = try await rig.store()
        var manifests: [ManifestHash: Manifest] = [:]
        for object in try await store.objects(.manifests, maximumCount: 100) {
            let manifest = try Manifest.parse(try await store.read(object.name, maximumBytes: 1 << 20)).claimed
            manifests[manifest.hash] = manifest
        }
        var packs: Set<PackID> = []
        for object in try await store.objects(.packs, maximumCount: 100) {
            if case .pack(let id, _) = StoredItem(object.name) { packs.insert(id) }
        }
        for bytes in try await receipts(rig).values {
            let receipt = try Receipt.parse(bytes).claimed
            let manifest = try #require(manifests[receipt.manifest])
            var needed = manifest.publicPart
            var needs = needed.packs.added
            while let base = needed.base {
                needed = try #require(manifests[base.manifest]).publicPart
                needs.formUnion(needed.packs.added)
            }
            #expect(needs.isSubset(of: packs))
        }
    }
}
