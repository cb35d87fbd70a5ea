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

/// What of the fleet is in no receipt.
extension RebuildTests {
    /// The text of proto/format.md, byte for byte: what is stored must be read later.
    @Test func theStateIsTheOneOfTheFormat() throws {
        let state = FleetState(
            epoch: 2, number: 7, settings: "listen: \"127.0.0.1:7420\"\n",
            stores: [.init(name: "main", url: "file:///srv/main/", site: "a", node: nil, state: "active")],
            nodes: [
                .init(
                    id: "0a", name: "berlin", scope: "0b", signingKey: "0c", keyObject: "nodes/0a/keys-1.0d",
                    state: "revoked", joinedAt: 5)
            ],
            certificates: [
                .init(
                    fingerprint: "0e", role: "admin", node: nil, subject: "admin", issuedAt: 1, notAfter: 2,
                    revokedAt: 3)
            ], retention: "{}", catalogScope: "0f")
        let text = #"""
            {"catalogScope":"0f","certificates":[{"fingerprint":"0e","issuedAt":1,"notAfter":2,"revokedAt":3,\#
            "role":"admin","subject":"admin"}],"epoch":2,"nodes":[{"id":"0a","joinedAt":5,\#
            "keyObject":"nodes/0a/keys-1.0d","name":"berlin","scope":"0b","signingKey":"0c","state":"revoked"}],\#
            "number":7,"retention":"{}","settings":"listen: \"127.0.0.1:7420\"\n","stores":[{"name":"main",\#
            "site":"a","state":"active","url":"file:///srv/main/"}],"version":1}
            """#
        #expect(String(decoding: try state.encoded(), as: UTF8.self) == text)
    }

    @Test func olderStatesAreGivenUp() async throws {
        try await rig.serve { server in
            for name in ["a", "b", "c", "d"] { _ = try await server.makeNode(name) }
            let coordinator = server.service.coordinator
            // In this order: gc deletes some of them meanwhile, and whatever is still there was given up before.
            let discarded = try await coordinator.catalog.discardedObjects(limit: 100)
            let states = try await rig.store(1).objects(.states, maximumCount: 100).map(\.name).sorted()
            #expect(states.count >= 2)
            #expect(discarded.isSuperset(of: states.dropLast(2).map(\.description)))
            #expect(discarded.isDisjoint(with: states.suffix(2).map(\.description)))
            let newest = try #require(states.last)
            #expect(newest >= .coordinatorState(epoch: 1, number: 4), "one for each node that joined")
            // Nothing changed: nothing is written.
            try await coordinator.keepFleetState()
            let after = try await rig.store(1).objects(.states, maximumCount: 100).map(\.name).max()
            #expect(after == newest)
        }
    }

    @Test func aChangeThatNoStoreKeepsIsNotAnswered() async throws {
        let absence = Absence()
        try await rig.serve(wrapStore: { AbsentStore($0, absence) }) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200)
            absence.name = "main"
            var hold = Muster_V1_SnapshotHoldRequest()
            (hold.snapshotIds, hold.name) = ([snapshot.id.description], "audit")
            let refused = try await server.asAdmin.tryPost(.admin, "/v1/snapshots/hold", hold)
            #expect(refused.status == 503 && refused.code == "not_kept")
            absence.name = ""
            rig.clock.advance(by: .seconds(60))
            try await server.service.coordinator.keepFleetState()
        }
        let outcome = try await rig.rebuilt(from: [store]).outcome
        #expect(outcome.holds == 1)
    }

    @Test func aDamagedStateIsReplacedByTheOneBefore() async throws {
        _ = try await makeHistory(1)
        let states = try await rig.store(1).objects(.states, maximumCount: 100).map(\.name).sorted()
        #expect(states.count > 1)
        let newest = try #require(states.last)
        try damage(newest)
        let outcome = try await rig.rebuilt(from: [store]).outcome
        #expect(outcome.hasState)
        #expect(outcome.findings.map(\.object) == [newest.description])
    }

    /// An older state under the name of a newer one says what was, not what is.
    @Test func aStateUnderAnotherNameIsNotTaken() async throws {
        _ = try await makeHistory(1)
        let states = try await rig.store(1).objects(.states, maximumCount: 100).map(\.name).sorted()
        let oldest = try #require(states.first)
        let later = ObjectName.coordinatorState(epoch: 1, number: 1000)
        try FileManager.default.copyItem(at: file(oldest), to: file(later))
        let outcome = try await rig.rebuilt(from: [store]).outcome
        #expect(outcome.findings.map(\.object) == [later.description])
        #expect(outcome.nodes == 1)
    }

    @Test func holdsPoliciesAndRevocationsOfAMomentAgoAreBack() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1, before_receipt: 1")
        let (node, gone, snapshot) = try await rig.serve { server in
            let node = try await server.makeNode("alpha")
            let gone = try await server.makeNode("beta")
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200)
            var hold = Muster_V1_SnapshotHoldRequest()
            (hold.snapshotIds, hold.name, hold.reason) = ([snapshot.id.description], "audit", "for the year")
            let held: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(
                .admin, "/v1/snapshots/hold", hold)
            #expect(held.count == 1)
            var policy = Muster_V1_RetentionSetRequest()
            policy.scope.fleet = true
            policy.terms.rules = ["keep-last": "3"]
            let _: Muster_V1_RetentionState = try await server.asAdmin.post(.admin, "/v1/retention", policy)
            try await server.service.coordinator.catalog.revoke(gone.id, at: server.rig.clock.now())
            try await server.service.coordinator.keepFleetState()
            return (node, gone, snapshot)
        }
        // One store is given; the other is found by what the first one says.
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(2)])
        #expect(outcome.findings == [])
        #expect(outcome.holds == 1)
        #expect(outcome.policies == 1)
        #expect(outcome.snapshots == 1)
        try await rebuilt.serve { server in
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.holds.map(\.name) == ["audit"])
            let state: Muster_V1_RetentionState = try await server.asAdmin.get(.admin, "/v1/retention")
            #expect(state.policies.map(\.scope) == ["fleet"])
            #expect(server.service.coordinator.settings.placement.replicas == 1)
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(stores.stores.map(\.name).sorted() == ["main", "store2"])
            // The one goes on, the other does not come back in; the admin of before is the admin.
            let own = try await server.peer(node).send(.agent, .get, "/v1/snapshots")
            #expect(own.status == 200)
            let other = try await server.peer(gone).send(.agent, .get, "/v1/snapshots")
            #expect(other.status == 401)
            let before = Peer(server: server, identity: rig.adminIdentity)
            let status = try await before.send(.admin, .get, "/v1/status")
            #expect(status.status == 200)
        }
    }
}
