import Foundation
import Glibc
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Synchronization
import Testing

@testable import MusterCoordinator

@Suite("Reading where there are several replicas")
struct ReplicaReadingTests {
    enum Kind: CaseIterable {
        case pack, manifest

        var prefix: ObjectPrefix { self == .pack ? .packs : .manifests }
        func path(of snapshot: TestSnapshot) -> String {
            self == .pack ? "/v1/packs/\(snapshot.pack.id)" : "/v1/snapshots/\(snapshot.id)/manifest"
        }
        func bytes(of snapshot: TestSnapshot) -> [UInt8] {
            self == .pack ? snapshot.pack.bytes : snapshot.manifest.bytes
        }
    }

    /// A snapshot of 10 extents in both stores of the rig.
    private static func fill(_ server: Server) async throws -> (Peer, TestSnapshot) {
        let node = try await server.makeNode()
        let snapshot = try node.makeSnapshot(extents: 10)
        #expect(try await server.peer(node).put(snapshot.pack).status == 200)
        #expect(try await server.peer(node).commit(snapshot.manifest).status == 200)
        try await ReplicationTests.settle(server)
        return (server.peer(node), snapshot)
    }

    private static func flip(_ rig: Rig, _ number: Int, _ prefix: ObjectPrefix) async throws {
        let object = try #require(try await rig.store(number).objects(prefix, maximumCount: 10).first)
        let url = URL(filePath: rig.folder(number) + "/" + object.name.description)
        var bytes = try Data(contentsOf: url)
        bytes[bytes.count / 2] ^= 1
        try FileManager.default.removeItem(at: url)
        try bytes.write(to: url)
    }

    @Test(arguments: Kind.allCases)
    func whatAReaderRefusedComesFromAnotherStoreAndHealsByItself(kind: Kind) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (peer, snapshot) = try await Self.fill(server)
            let (path, sound) = (kind.path(of: snapshot), kind.bytes(of: snapshot))
            let first = try await peer.send(.agent, .get, path)
            #expect(first.body == sound)
            let name = try #require(first.headers["muster-store"])
            let number = try #require(["main": 1, "store2": 2][name])
            try await Self.flip(rig, number, kind.prefix)
            let bad = try await peer.send(.agent, .get, path)
            #expect(bad.headers["muster-store"] == name && bad.body != sound, "nobody can see that without a key")
            let good = try await peer.send(.agent, .get, path + "?refused=\(name)")
            #expect(good.body == sound && good.headers["muster-store"] != name)
            // No scrub is due: the coordinator looks at that replica, and makes it anew.
            for _ in 0..<20_000 {
                let again = try await peer.send(.agent, .get, path)
                #expect(again.body == sound || again.headers["muster-store"] == name)
                if again.body == sound, again.headers["muster-store"] == name { return }
                server.rig.clock.advance(by: .seconds(1))
            }
            Issue.record("the replica is not made anew")
        }
    }

    /// The reader learns of what the coordinator met for it, and can tell in its outcome.
    @Test(arguments: Kind.allCases)
    func aStoreThatHasTheObjectNoMoreIsNamed(kind: Kind) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (peer, snapshot) = try await Self.fill(server)
            let path = kind.path(of: snapshot)
            let first = try await peer.send(.agent, .get, path)
            let name = try #require(first.headers["muster-store"])
            #expect(first.headers["muster-passed-over"] == nil)
            let number = try #require(["main": 1, "store2": 2][name])
            let object = try #require(try await rig.store(number).objects(kind.prefix, maximumCount: 10).first)
            try FileManager.default.removeItem(at: URL(filePath: rig.folder(number) + "/" + object.name.description))
            let answer = try await peer.send(.agent, .get, path)
            #expect(answer.body == kind.bytes(of: snapshot) && answer.headers["muster-passed-over"] == name)
            #expect(answer.headers["muster-store"] != name)
        }
    }

    @Test func aReadersWordMarksNothing() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let (peer, snapshot) = try await Self.fill(server)
            let coordinator = server.service.coordinator
            for kind in Kind.allCases {
                let all = try await peer.send(.agent, .get, kind.path(of: snapshot) + "?refused=main,store2,another")
                #expect(all.body == kind.bytes(of: snapshot), "the last that are asked, but asked they are")
            }
            let replicas = try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
            #expect(replicas.count == 2)
            for replica in replicas {
                try await coordinator.look(into: .pack(replica.pack, replica.store))
                try await coordinator.look(into: .snapshot(snapshot.id, replica.store))
            }
            let now = try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
            #expect(now.map(\.state) == [.present, .present] && now.map(\.generation) == replicas.map(\.generation))
        }
    }

    @Test(arguments: [0, 400 << 10] as [UInt64])
    func aBodyThatBreaksOffGoesOnFromAnotherStore(offset: UInt64) async throws {
        let rig = try await Rig(stores: 2)
        let failing = FailingStore.Place()
        try await rig.serve(wrapStore: { FailingStore($0, failing) }) { server in
            let (peer, snapshot) = try await Self.fill(server)
            let path = Kind.pack.path(of: snapshot)
            let first = try await peer.send(.agent, .get, path)
            let name = try #require(first.headers["muster-store"])
            failing.set(store: name, from: offset)
            let answer = try await peer.send(.agent, .get, path)
            #expect(answer.status == 200 && answer.body == snapshot.pack.bytes)
            // What the coordinator itself met, it looks at: the replica counts as bad.
            for _ in 0..<20_000 {
                let replicas = try await server.service.coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
                if replicas.contains(where: { $0.state == .damaged }) { return }
                await Task.yield()
            }
            Issue.record("nobody looked at the replica")
        }
    }

    @Test func whatWaitsToBeLookedAtIsBounded() {
        let book = SuspicionBook()
        var now = Timestamp(microseconds: 1_000_000_000_000)
        #expect(book.add(.pack(1, 1), by: "alpha", now: now))
        #expect(!book.add(.pack(1, 1), by: "beta", now: now), "it waits already")
        #expect(book.add(.pack(1, 2), by: "beta", now: now), "another store")
        for number in 2..<2000 { _ = book.add(.pack(Int64(number), 1), by: "alpha", now: now) }
        #expect(book.add(.pack(5000, 1), by: "beta", now: now), "one reader does not take the room of all")
        var looked: [Suspicion] = []
        while let next = book.next() {
            looked.append(next)
            book.conclude(next, now: now)
        }
        #expect(looked.count == 512 + 2 && Set(looked).count == looked.count)
        #expect(!book.add(.pack(1, 1), by: "alpha", now: now), "it was read a moment ago")
        now = now + .seconds(601)
        #expect(book.add(.pack(1, 1), by: "alpha", now: now))
    }
}

/// A store of which the medium fails from some byte of each pack on.
private struct FailingStore: Store {
    final class Place: Sendable {
        private let place = Mutex<(store: String, offset: UInt64)?>(nil)

        func set(store: String, from offset: UInt64) { place.withLock { $0 = (store, offset) } }
        func fails(_ store: String, _ range: Range<UInt64>) -> Bool {
            place.withLock { $0.map { $0.store == store && range.upperBound > $0.offset } ?? false }
        }
    }

    private let base: any Store
    private let place: Place

    init(_ base: any Store, _ place: Place) { (self.base, self.place) = (base, place) }

    var name: String { base.name }

    func beginPut() async throws(StoreError) -> any ObjectWriter { try await base.beginPut() }

    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await base.read(name, maximumBytes: maximumBytes, fresh: fresh)
    }

    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        guard !name.description.hasPrefix("packs/") || !place.fails(self.name, range) else {
            throw .failed(store: self.name, object: name.description, operation: "read", code: EIO)
        }
        return try await base.read(name, range: range, fresh: fresh)
    }

    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? { try await base.byteCount(of: name) }
    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor { try await base.list(prefix) }
    func delete(_ name: ObjectName) async throws(StoreError) { try await base.delete(name) }
    func freeBytes() async throws(StoreError) -> UInt64 { try await base.freeBytes() }
}
