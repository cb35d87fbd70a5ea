import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

/// With the real key of a node: an order opens what it names, to whom it names, while it stands.
@Suite("What an order to restore does not open", .timeLimit(.minutes(10)))
struct RestoreRedTeamTests {
    @Test func theNodeReadsTheGrantedSnapshotAndNothingElse() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let (wanted, others) = (scene.snapshots[1], [scene.snapshots[0], scene.snapshots[2]])
            let grant = try scene.grant(wanted)
            #expect(try await scene.read(scene.manifest(wanted), as: scene.target, grant).status == 403)
            _ = try await scene.begin(grant)
            for path in [scene.manifest(wanted), scene.pack(wanted)] {
                #expect(try await scene.read(path, as: scene.target, grant).status == 200, "\(path)")
                #expect(try await scene.read(path, as: scene.target, nil).status == 404, "without the order")
                #expect(try await scene.read(path, as: scene.stranger, grant).status == 403, "another node with it")
                #expect(try await scene.read(path, as: scene.source, grant).status == 403, "whose snapshot it is")
            }
            let manifest = try await scene.read(scene.manifest(wanted), as: scene.target, grant)
            #expect(manifest.body == wanted.manifest.bytes)
            for other in others {
                for path in [scene.manifest(other), scene.pack(other)] {
                    let answer = try await scene.read(path, as: scene.target, grant)
                    #expect(answer.status == 404 && answer.code == "not_found", "\(path)")
                }
            }
            for path in [
                "/v1/snapshots/\(wanted.id)", "/v1/nodes/\(scene.source.id)/keys",
                "/v1/snapshots/\(wanted.id.description.prefix(8))/manifest",
            ] {
                #expect(try await scene.read(path, as: scene.target, grant).status == 404, "\(path)")
            }
            let list: Muster_V1_SnapshotList = try await server.peer(scene.target).get(
                .agent, "/v1/snapshots?node=source&grant=\(grant.terms.id)")
            #expect(list.snapshots.isEmpty)
        }
    }

    /// The pack's name alone is not enough: another scope's pack may have it too, and a snapshot of another lineage.
    @Test func aPackOfTheReadersOwnIsNotReadUnderAnothersOrder() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let (wanted, unwanted) = (scene.snapshots[0], scene.snapshots[1])
            // Both packs of the other node, under the same names, are the reader's too.
            let packs = [wanted.pack, unwanted.pack]
            let own = try scene.target.makeSnapshot(seed: 9) { part in
                part.packs = PackChanges(added: part.packs.added.union(packs.map(\.id)))
                part.packsSinceParent = part.packs
                part.sealedBytesAdded += packs.reduce(0) { $0 + UInt64($1.bytes.count) }
                part.storedBytes = part.sealedBytesAdded
            }
            let answer = try await server.peer(scene.target).commit(
                own.manifest, packs: [own.pack.bytes] + packs.map(\.bytes))
            #expect(answer.status == 200, "\(answer.error)")
            let branch = try scene.source.makeSnapshot(seed: 8)
            let branched = try await server.peer(scene.source).commit(branch.manifest, packs: [branch.pack.bytes])
            #expect(branched.status == 200, "\(branched.error)")
            let grant = try scene.grant(wanted)
            _ = try await scene.begin(grant)
            #expect(try await scene.read(scene.pack(wanted), as: scene.target, grant).status == 200)
            #expect(try await scene.read(scene.pack(unwanted), as: scene.target, grant).status == 404)
            #expect(try await scene.read(scene.pack(unwanted), as: scene.target, nil).status == 200, "its own")
            #expect(try await scene.read(scene.pack(branch), as: scene.target, grant).status == 404)
        }
    }

    @Test(arguments: ["finished", "expired", "ended"])
    func whatHasEndedOpensNothing(how: String) async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            let run = try await scene.begin(grant)
            #expect(try await scene.read(scene.pack(scene.snapshots[0]), as: scene.target, grant).status == 200)
            switch how {
            case "finished": #expect(try await scene.finish(grant, as: scene.target).status == 200)
            // Nobody has to come by for it.
            case "expired": server.rig.clock.advance(by: .seconds(3600))
            default:
                let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                    .admin, "/v1/nodes/target/retire", Muster_V1_NodeEndRequest())
            }
            for path in [scene.manifest(scene.snapshots[0]), scene.pack(scene.snapshots[0])] {
                let answer = try await scene.read(path, as: scene.target, grant)
                #expect(answer.status == (how == "ended" ? 401 : 403), "\(path)")
                #expect(how == "ended" || answer.code == "not_granted", "\(path)")
            }
            // A node that has ended does not get as far as its order; that is closed all the same.
            let catalog = server.service.coordinator.catalog
            let open = try await catalog.openRestore(
                grant.terms.id, of: scene.target.id, now: server.rig.clock.now())
            #expect(open == nil)
            guard how == "ended" else { return }
            let kept = try await catalog.restores(in: try #require(RunID(run.run)))
            #expect(kept.map(\.state) == [.failed] && kept.allSatisfy(\.bytes.isEmpty), "nothing sealed is kept")
        }
    }

    @Test func noOrderCountsTwice() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let grant = try scene.grant(scene.snapshots[0])
            let twice = try await scene.order([grant, grant])
            #expect(twice.status == 409 && twice.code == "grant_spent")
            _ = try await scene.begin(grant)
            #expect(try await scene.order([grant]).code == "grant_spent")
            #expect(try await scene.finish(grant, as: scene.target).status == 200)
            #expect(try await scene.order([grant]).code == "grant_spent")
            // Its id under other terms, that is for another snapshot.
            let other = try scene.grant(scene.snapshots[1]) { $0.id = grant.terms.id }
            #expect(try await scene.order([other]).code == "grant_spent")
        }
    }

    /// The route holds an order to what is known, whoever brings it.
    @Test func anOrderThatDoesNotFitIsRefused() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let (snapshot, now) = (scene.snapshots[0], server.rig.clock.now())
            let strange = RecoveryKey(from: .system)
            let cases: [(String, RestoreGrant, Int, String)] = [
                ("another scope", try scene.grant(snapshot) { $0.scope = scene.target.scope }, 400, "invalid"),
                ("another source", try scene.grant(snapshot) { $0.sourceNode = scene.stranger.id }, 400, "invalid"),
                (
                    "another key of the source",
                    try scene.grant(snapshot) { $0.sourceKey = scene.stranger.signer.verifyingKey }, 400, "invalid"
                ),
                (
                    "another content",
                    try scene.grant(snapshot) { $0.contentRoot = scene.snapshots[1].manifest.publicPart.contentRoot },
                    400, "invalid"
                ),
                (
                    "a snapshot that is not there",
                    try scene.grant(snapshot) { $0.snapshot = SnapshotID(from: .system) }, 404, "not_found"
                ),
                (
                    "a node that is not there", try scene.grant(snapshot) { $0.targetNode = NodeID(from: .system) },
                    404, "not_found"
                ),
                ("sealed by a stranger", try scene.grant(snapshot, sealer: strange), 400, "invalid"),
                ("sealed to another node", try scene.grant(snapshot, recipient: scene.stranger), 400, "invalid"),
                (
                    "out of time",
                    try scene.grant(snapshot) { ($0.issuedAt, $0.expiresAt) = (now - .seconds(60), now) }, 400, "clock"
                ),
                (
                    "of the future",
                    try scene.grant(snapshot) {
                        ($0.issuedAt, $0.expiresAt) = (now + .seconds(400), now + .seconds(500))
                    }, 400, "clock"
                ),
            ]
            for (what, grant, status, code) in cases {
                let answer = try await scene.order([grant])
                #expect(answer.status == status && answer.code == code, "\(what): \(answer.status) \(answer.error)")
                // One that is good does not carry it along.
                #expect(try await scene.order([try scene.grant(snapshot), grant]).status == status, "\(what)")
            }
            #expect(try await scene.work(scene.target).isEmpty, "nothing of any of them was kept")
        }
    }

    @Test func aGrantKeyIsTakenFromItsNodeOnly() async throws {
        try await Rig.serve { server in
            let scene = try await RestoreScene.make(server)
            let strangers = GrantKey.statement(of: scene.target.id, signer: scene.stranger.signer)
            let another = GrantKey.statement(of: scene.stranger.id, signer: scene.target.signer)
            for statement in [strangers, another, Array(strangers.prefix(32))] {
                let answer = try await scene.publish(scene.target, statement)
                #expect(answer.status == 400 && answer.code == "malformed")
            }
            let node: Muster_V1_Node = try await server.asAdmin.get(.admin, "/v1/nodes/target")
            #expect(Array(node.grantKey) == GrantKey.statement(of: scene.target.id, signer: scene.target.signer))
        }
    }
}
