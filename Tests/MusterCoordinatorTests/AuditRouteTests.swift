import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import SwiftProtobuf
import Testing

@testable import MusterAgent
@testable import MusterCoordinator

/// Every route by which a person changes something, once.
@Suite("Rows of the audit, route by route", .timeLimit(.minutes(10)))
struct AuditRouteTests {
    /// Does what the routes need and keeps count of them.
    private struct Desk {
        let server: Server
        var done: Set<Route> = []

        private func rows() async throws -> [Catalog.AuditEntry] {
            // What gc did by itself afterwards has a row that says so.
            try await server.service.coordinator.catalog.auditEntries(limit: 1000)
                .filter { $0.actor == "admin" && $0.action != "gc" }
        }

        @discardableResult
        mutating func post(
            _ route: Route, _ path: String, _ message: some Message, action: String
        ) async throws -> Peer.Answer {
            let before = try await rows()
            let answer = try await server.asAdmin.tryPost(.admin, path, message)
            #expect(answer.status == 200, "\(route): \(answer.error)")
            let new = try await rows().dropLast(before.count)
            #expect(new.map(\.action) == [action], "\(route)")
            done.insert(route)
            return answer
        }

        /// What is refused is no change.
        func refuse(_ path: String, _ message: some Message) async throws {
            let before = try await rows()
            #expect(try await server.asAdmin.tryPost(.admin, path, message).status >= 400, "\(path)")
            #expect(try await rows() == before, "\(path)")
        }
    }

    @Test func eachHasExactlyOne() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let node = try await server.makeNode()
            let first = try node.makeSnapshot(seed: 1)
            let second = try node.makeSnapshot(seed: 2, after: first.manifest)
            for snapshot in [first, second] {
                let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
                #expect(answer.status == 200)
            }
            var desk = Desk(server: server)
            try await Self.snapshots(&desk, [first.id.description])
            try await Self.retention(&desk, node.database.description, first.id.description)
            try await Self.stores(&desk)
            try await Self.people(&desk)
            try await Self.nodes(&desk)
            let audited = RouteRule.all.filter { $0.plane == .admin && $0.isAudited }.map(\.route)
            // An order to restore has a row for each grant, before any of it can be acted on: they take sealed grants. So has
            // one that is taken back, in the same transaction: see RestoreTests.
            #expect(Set(audited).subtracting(desk.done) == [.restore, .grantRestore, .cancelRestore])
        }
    }

    private static func snapshots(_ desk: inout Desk, _ ids: [String]) async throws {
        try await desk.post(.createSnapshots, "/v1/snapshots", Muster_V1_SnapshotCreateRequest(), action: "snapshot")
        let drill = Muster_V1_VerificationRequest.with { ($0.level, $0.fleet) = ("drill", true) }
        try await desk.post(.verify, "/v1/verifications", drill, action: "verify")
        var hold = Muster_V1_SnapshotHoldRequest()
        (hold.snapshotIds, hold.name) = (ids, "court")
        try await desk.post(.holdSnapshots, "/v1/snapshots/hold", hold, action: "hold 'court'")
        let release = Muster_V1_SnapshotReleaseRequest.with { ($0.snapshotIds, $0.name) = (ids, "court") }
        try await desk.post(.releaseSnapshots, "/v1/snapshots/release", release, action: "release 'court'")
        let fleet = Muster_V1_FleetSnapshotRequest.with { $0.name = "release" }
        try await desk.post(.createFleetSnapshot, "/v1/fleet-snapshots", fleet, action: "fleet-snapshot")
        try await desk.refuse("/v1/fleet-snapshots", fleet)
        let path = "/v1/fleet-snapshots/release/forget"
        let none = Muster_V1_NodeEndRequest()
        try await desk.post(.forgetFleetSnapshot, path, none, action: "fleet-snapshot-forget")
        try await desk.refuse(path, none)
    }

    private static func retention(_ desk: inout Desk, _ database: String, _ snapshot: String) async throws {
        var set = Muster_V1_RetentionSetRequest()
        (set.scope.fleet, set.terms.rules) = (true, ["keep-last": "1000"])
        try await desk.post(.setRetention, "/v1/retention", set, action: "retention-set")
        let apply = Muster_V1_RetentionApplyRequest.with { $0.databaseIds = [database] }
        try await desk.post(.applyRetention, "/v1/retention/apply", apply, action: "retention-apply")
        let forget = Muster_V1_SnapshotForgetRequest.with { $0.snapshotIds = [snapshot] }
        let answer = try await desk.post(.forgetSnapshots, "/v1/snapshots/forget", forget, action: "forget")
        let run = try Muster_V1_SnapshotOutcomeList(serializedBytes: answer.body).run
        let undo = Muster_V1_RetentionUndoRequest.with { $0.run = run }
        try await desk.post(.undoRetention, "/v1/retention/undo", undo, action: "retention-undo")
        try await desk.refuse("/v1/retention/undo", undo)
        try await desk.post(.runCollection, "/v1/gc", Muster_V1_CollectionRunRequest(), action: "gc-run")
    }

    private static func stores(_ desk: inout Desk) async throws {
        var add = Muster_V1_StoreAddRequest()
        (add.name, add.url) = ("third", desk.server.rig.directory.file("third"))
        try await desk.post(.addStore, "/v1/stores", add, action: "store add")
        try await desk.refuse("/v1/stores", add)
        let none = Muster_V1_NodeEndRequest()
        try await desk.post(.probeStore, "/v1/stores/third/probe", none, action: "store probe")
        let check = Muster_V1_StoreCheckRequest()
        try await desk.post(.checkStore, "/v1/stores/third/check", check, action: "store check")
        try await desk.post(.repairStore, "/v1/stores/third/repair", none, action: "store repair")
        let change = Muster_V1_StoreChangeRequest.with { $0.placement = "draining" }
        try await desk.post(.changeStore, "/v1/stores/third", change, action: "store draining")
    }

    private static func people(_ desk: inout Desk) async throws {
        var person = Muster_V1_PersonRequest()
        person.certificateRequest = try CertificateRequest(name: "vera").request
        (person.name, person.role) = ("vera", "viewer")
        try await desk.post(.addPerson, "/v1/people", person, action: "person-add")
        try await desk.refuse("/v1/people", person)
        let none = Muster_V1_NodeEndRequest()
        try await desk.post(.revokePerson, "/v1/people/vera/revoke", none, action: "person-revoke")
        try await desk.refuse("/v1/people/vera/revoke", none)
        try await desk.post(.openDashboard, "/v1/dashboard", none, action: "dashboard")
    }

    private static func nodes(_ desk: inout Desk) async throws {
        let token = Muster_V1_TokenRequest.with { $0.nodeName = "beta" }
        try await desk.post(.invite, "/v1/tokens", token, action: "invite")
        let coordinator = desk.server.service.coordinator
        let alpha = try #require(try await coordinator.catalog.node(named: "alpha"))
        let alarm = Catalog.Alarm(
            kind: .twins, node: alpha.id, database: nil, summary: "two", hint: "Look.", since: coordinator.clock.now())
        try await coordinator.catalog.raise(alarm, ofNode: alpha.id)
        let clear = Muster_V1_AlarmClearRequest.with { ($0.kind, $0.node) = ("twins", "alpha") }
        try await desk.post(.clearAlarms, "/v1/alarms/clear", clear, action: "alarm-clear")
        try await desk.refuse("/v1/alarms/clear", clear)
        let none = Muster_V1_NodeEndRequest()
        try await desk.post(.revokeNode, "/v1/nodes/alpha/revoke", none, action: "revoke")
        try await desk.refuse("/v1/nodes/alpha/revoke", none)
        try await desk.post(.retireNode, "/v1/nodes/alpha/retire", none, action: "retire")
    }
}
