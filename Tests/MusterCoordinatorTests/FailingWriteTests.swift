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

/// A disk that was mounted anew to be read only, or that fails with every write: what is there can be read all the same.
@Suite("A store that takes no writes")
struct FailingWriteTests {
    static let errors: [StoreError] = [
        .readOnly(store: "main"), .failed(store: "main", object: "", operation: "write", code: EIO),
        .full(store: "main"),
    ]

    @Test(arguments: errors)
    func isPassedOverByTheVeryCommitThatFindsOut(error: StoreError) async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2, before_receipt: 1")
        let sick = Absence()
        try await rig.serve(wrapStore: { UnwritableStore($0, sick, error) }) { server in
            var lineage = try await TestLineage.make(server, count: 2)
            try await ReplicationTests.settle(server)
            let keepers = server.service.coordinator.stores.keepers(of: lineage.node.id)
            sick.name = keepers[0].name
            let next = try lineage.next(base: 0)
            try await lineage.add(next, to: server)
            let answer = try await server.peer(lineage.node).commit(next.manifest)
            let receipt = try Receipt.parse(Array(try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt))
            #expect(receipt.claimed.stores == [keepers[1].name])

            var list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            let told = list.stores.first { $0.name == sick.name }?.state
            #expect(told == "a write failed: \(error.summary)")
            #expect(list.stores.first { $0.name != sick.name }?.state == "ok")

            sick.name = ""
            server.rig.clock.advance(by: .seconds(600))
            try await ReplicationTests.settle(server)
            #expect(try await ReplicationTests.contents(rig, 1) == ReplicationTests.contents(rig, 2))
            list = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.allSatisfy { $0.state == "ok" })
        }
    }

    @Test func whereThereIsNoOtherTheCommitSaysWhy() async throws {
        let rig = try await Rig(stores: 1)
        let sick = Absence()
        try await rig.serve(wrapStore: { UnwritableStore($0, sick, .readOnly(store: "main")) }) { server in
            var lineage = try await TestLineage.make(server, count: 1)
            sick.name = "main"
            let next = try lineage.next(base: 0)
            let refused = try await server.peer(lineage.node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(refused.status == 503 && refused.code == "store_failed" && refused.error.transient)
            sick.name = ""
            try await lineage.add(next, to: server)
        }
    }
}

/// A store that can be read.
private struct UnwritableStore: ForwardingStore {
    let store: any Store
    let sick: Absence
    let error: StoreError

    init(_ store: any Store, _ sick: Absence, _ error: StoreError) {
        (self.store, self.sick, self.error) = (store, sick, error)
    }

    func beginPut() async throws(StoreError) -> any ObjectWriter {
        guard sick.name != name else { throw error }
        return try await store.beginPut()
    }
}
