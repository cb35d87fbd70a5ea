import Crypto
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

/// A node that turned bad, with its real key and certificate, against what others and itself committed before.
@Suite("A node that turned bad", .timeLimit(.minutes(10)))
struct RedTeamTests {
    /// One thing that it tries, and what it gets.
    struct Attempt: Sendable {
        let what: String
        var plane = Plane.agent
        let method: MusterTransfer.HTTPRequest.Method
        let path: String
        var body: [UInt8]?
        let status: Int
        let code: String

        init(
            _ what: String, _ method: MusterTransfer.HTTPRequest.Method, _ path: String, _ body: [UInt8]?,
            _ status: Int, _ code: String, plane: Plane = .agent
        ) {
            (self.what, self.method, self.path, self.body) = (what, method, path, body)
            (self.plane, self.status, self.code) = (plane, status, code)
        }

        init(
            _ what: String, _ method: MusterTransfer.HTTPRequest.Method, _ path: String, _ status: Int, _ code: String
        ) { self.init(what, method, path, nil, status, code) }
    }

    /// Who is attacked, and what of theirs must be as it was.
    struct Victim: Sendable {
        let node: TestNode
        let snapshots: [TestSnapshot]
        let job: String
    }

    private static func makeVictim(_ server: Server) async throws -> Victim {
        let node = try await server.makeNode("victim")
        var snapshots: [TestSnapshot] = []
        for seed in UInt64(1)...3 {
            let snapshot = try node.makeSnapshot(seed: seed, after: snapshots.last?.manifest)
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
            snapshots.append(snapshot)
            server.rig.clock.advance(by: .seconds(60))
        }
        let jobs: Muster_V1_JobList = try await server.asAdmin.post(
            .admin, "/v1/snapshots", Muster_V1_SnapshotCreateRequest())
        guard let job = jobs.jobs.first else { throw Unexpected("no job") }
        return Victim(node: node, snapshots: snapshots, job: job.id)
    }

    /// All that anybody can see of the victim: lists, jobs, and every object of the store, byte for byte.
    private static func state(of victim: Victim, _ server: Server) async throws -> [String: [UInt8]] {
        var state: [String: [UInt8]] = [:]
        for path in [
            "/v1/snapshots?node=victim", "/v1/snapshots?node=victim&expired=true", "/v1/databases?node=victim",
            "/v1/jobs/\(victim.job)", "/v1/snapshots?node=victim&database=app&at=2100-01-01T00:00:00Z",
            "/v1/snapshots?node=victim&database=app&at=\(server.rig.clock.now())",
        ] {
            state[path] = try await server.asAdmin.send(
                .admin, .get, path, headers: ["accept": "application/json"]
            ).body
        }
        let store = try await server.rig.store()
        for prefix in [ObjectPrefix.packs, .manifests, .receipts] {
            for object in try await store.objects(prefix, maximumCount: 10_000) {
                state[object.name.description] = try await store.read(object.name, maximumBytes: 64 << 20)
            }
        }
        return state
    }

    private static func expectUnchanged(
        _ before: [String: [UInt8]], _ victim: Victim, _ server: Server, _ what: String
    ) async throws {
        let after = try await state(of: victim, server)
        for (name, bytes) in before { #expect(after[name] == bytes, "\(what): \(name) is another") }
    }

    // MARK: - Against another node

    @Test func itReachesNothingOfAnotherNode() async throws {
        try await Rig.serve { server in
            let victim = try await Self.makeVictim(server)
            let bad = try await server.makeNode("bad")
            let before = try await Self.state(of: victim, server)
            let attempts =
                try Self.reading(victim) + Self.changing(victim, as: bad, server)
                + Self.traversing(victim) + Self.ruling(victim)
            for attempt in attempts {
                let answer = try await server.peer(bad).send(
                    attempt.plane, attempt.method, attempt.path, attempt.body)
                #expect(
                    answer.status == attempt.status && answer.code == attempt.code,
                    "\(attempt.what): \(answer.status) \(answer.code) \(answer.error.summary)")
                try await Self.expectUnchanged(before, victim, server, attempt.what)
            }
            try await Self.expectAudited(server, by: "bad")
            // Asking what is there tells nothing of what others have.
            var probe = Muster_V1_MissingRequest()
            for snapshot in victim.snapshots {
                for entry in snapshot.pack.entries { probe.chunkIds.append(contentsOf: entry.id.bytes) }
            }
            let missing: Muster_V1_MissingResponse = try await server.peer(bad).post(
                .agent, "/v1/chunks/missing", probe)
            #expect(!probe.chunkIds.isEmpty && missing.present.isEmpty && missing.packs.isEmpty)
            let own: Muster_V1_MissingResponse = try await server.peer(victim.node).post(
                .agent, "/v1/chunks/missing", probe)
            #expect(!own.present.isEmpty, "the same question of the one who has them")
            // It gets no work of others, whatever it says of itself.
            var poll = Muster_V1_WorkRequest()
            poll.bootID = "victim"
            let work: Muster_V1_WorkResponse = try await server.peer(bad).post(.agent, "/v1/work", poll)
            #expect(work.jobs.isEmpty && work.wantedPacks.isEmpty)
            let list: Muster_V1_SnapshotList = try await server.peer(bad).get(
                .agent, "/v1/snapshots?node=victim&pack=\(victim.snapshots[0].pack.id)&expired=true")
            #expect(list.snapshots.isEmpty)
        }
    }

    /// The answers tell it nothing, and the audit tells of it all the same.
    private static func expectAudited(_ server: Server, by name: String) async throws {
        let coordinator = server.service.coordinator
        try await coordinator.writeDenials(isLast: true)
        let denied = try await coordinator.catalog.auditEntries(limit: 1000).filter { row in
            row.action == "denied" && row.actor.hasPrefix("node \(name) at ")
        }
        for path in ["snapshots/*", "snapshots/*/manifest", "packs/*", "nodes/*/keys"] {
            #expect(denied.contains { $0.subject.hasSuffix("GET /v1/\(path): forbidden") }, "\(path)")
        }
    }

    private static func reading(_ victim: Victim) -> [Attempt] {
        let snapshot = victim.snapshots[0]
        return [
            Attempt("read a snapshot", .get, "/v1/snapshots/\(snapshot.id)", 404, "not_found"),
            Attempt(
                "guess a snapshot", .get, "/v1/snapshots/\(snapshot.id.description.prefix(6))", 404, "not_found"),
            Attempt("read a manifest", .get, "/v1/snapshots/\(snapshot.id)/manifest", 404, "not_found"),
            Attempt("read a pack", .get, "/v1/packs/\(snapshot.pack.id)", 404, "not_found"),
            Attempt("read keys", .get, "/v1/nodes/\(victim.node.id)/keys", 404, "not_found"),
            Attempt("read keys by name", .get, "/v1/nodes/victim/keys", 404, "not_found"),
            Attempt("delete a snapshot", .delete, "/v1/snapshots/\(snapshot.id)", 404, "not_found"),
            Attempt("delete a pack", .delete, "/v1/packs/\(snapshot.pack.id)", 404, "not_found"),
            Attempt("overwrite a manifest", .put, "/v1/snapshots/\(snapshot.id)", [1], 404, "not_found"),
        ]
    }

    private static func commit(_ manifest: Manifest, _ packs: [[UInt8]] = []) throws -> [UInt8] {
        var request = Muster_V1_CommitRequest()
        (request.manifest, request.packs) = (Data(manifest.bytes), packs.map { Data($0) })
        return try request.serializedBytes()
    }

    private static func changing(_ victim: Victim, as bad: TestNode, _ server: Server) throws -> [Attempt] {
        let (first, last) = (victim.snapshots[0], victim.snapshots[2])
        let own = try bad.makeSnapshot(seed: 9)
        func forged(_ change: (inout ManifestPublicPart) -> Void) throws -> [UInt8] {
            let snapshot = try bad.makeSnapshot(seed: 9, change: change)
            return try commit(snapshot.manifest, [own.pack.bytes])
        }
        let follower = try forged {
            ($0.database, $0.lineage) = (victim.node.database, last.manifest.publicPart.lineage)
            $0.sequence = 3
            $0.parent = ManifestReference(snapshot: last.id, manifest: last.manifest.hash)
        }
        let needing = try bad.makeSnapshot(seed: 9) {
            $0.packs = PackChanges(added: Set($0.packs.added).union([first.pack.id]))
            $0.packsSinceParent = $0.packs
        }
        var forger = bad
        forger.keys = ScopeKeys(secret: bad.secret, scope: victim.node.scope, epoch: 1)
        let foreign = try forger.makeSnapshot(seed: 9) { $0.scope = victim.node.scope }
        var outcome = Muster_V1_JobOutcome()
        outcome.state = "done"
        var report = Muster_V1_ReportRequest()
        report.clock = server.rig.clock.now().description
        report.databases = [
            .with { ($0.databaseID, $0.name, $0.state) = (victim.node.database.description, "app", "ok") }
        ]
        var renewal = try bad.renewRequest(signedAt: server.rig.clock.now())
        renewal.nodeID = victim.node.id.description
        return [
            Attempt("overwrite a pack", .put, "/v1/packs/\(first.pack.id)", own.pack.bytes, 400, "refused"),
            Attempt("replay a commit", .post, "/v1/snapshots", try commit(last.manifest), 400, "refused"),
            Attempt(
                "commit as another node", .post, "/v1/snapshots", try forged { $0.node = victim.node.id }, 403,
                "not_yours"),
            Attempt(
                "commit into another's scope", .post, "/v1/snapshots",
                try commit(foreign.manifest, [foreign.pack.bytes]), 403,
                "not_yours"),
            Attempt(
                "commit into another's database", .post, "/v1/snapshots",
                try forged { $0.database = victim.node.database }, 403, "not_yours"),
            Attempt("go on with another's lineage", .post, "/v1/snapshots", follower, 403, "not_yours"),
            Attempt(
                "take another's snapshot id", .post, "/v1/snapshots", try forged { $0.snapshot = first.id }, 403,
                "not_yours"),
            Attempt(
                "use another's pack", .post, "/v1/snapshots", try commit(needing.manifest, [own.pack.bytes]), 412,
                "packs_missing"),
            Attempt(
                "finish another's job", .post, "/v1/jobs/\(victim.job)/outcome", try outcome.serializedBytes(), 404,
                "not_found"),
            Attempt("report for another", .post, "/v1/report", try report.serializedBytes(), 403, "not_yours"),
            Attempt("renew as another", .post, "/v1/renew", try renewal.serializedBytes(), 403, "forbidden"),
        ]
    }

    private static func traversing(_ victim: Victim) -> [Attempt] {
        let pack = victim.snapshots[0].pack.id
        return [
            Attempt("climb out of packs", .get, "/v1/packs/..%2F..%2Fformat.json", 404, "not_found"),
            Attempt("climb out of packs by dots", .get, "/v1/packs/../nodes/victim/keys", 404, "not_found"),
            Attempt(
                "name a store's object", .get, "/v1/packs/\(pack.description.prefix(2))%2F\(pack)", 404, "not_found"),
            Attempt("climb out of snapshots", .get, "/v1/snapshots/..%2F..%2Fcatalog.db", 400, "invalid"),
            Attempt("write SQL", .get, "/v1/snapshots/'%20OR%201=1%20--", 400, "invalid"),
            Attempt("put under a path", .put, "/v1/packs/..%2F..%2Fevil", [1, 2, 3], 400, "malformed"),
            Attempt("end a string early", .get, "/v1/nodes/victim%00/keys", 404, "not_found"),
            Attempt("climb out of jobs", .post, "/v1/jobs/..%2F..%2Fx/outcome", [], 404, "not_found"),
        ]
    }

    /// Routes of the other plane, with a certificate that TLS takes there.
    private static func ruling(_ victim: Victim) -> [Attempt] {
        let id = victim.snapshots[0].id
        return [
            ("GET", "/v1/status"), ("GET", "/v1/snapshots/\(id)/manifest"), ("GET", "/v1/nodes/victim/keys"),
            ("POST", "/v1/snapshots/forget"), ("POST", "/v1/retention"), ("POST", "/v1/retention/apply"),
            ("POST", "/v1/gc"), ("POST", "/v1/stores"), ("POST", "/v1/nodes/victim/revoke"), ("POST", "/v1/people"),
            ("POST", "/v1/tokens"), ("POST", "/v1/fleet-snapshots"), ("POST", "/v1/alarms/clear"),
        ].map { method, path in
            Attempt(
                "rule: \(method) \(path)", method == "GET" ? .get : .post, path, method == "GET" ? nil : [], 403,
                "forbidden", plane: .admin)
        }
    }

    // MARK: - Against its own past

    @Test func itChangesNothingOfItsOwnPast() async throws {
        try await Rig.serve { server in
            let victim = try await Self.makeVictim(server)
            let (node, first, last) = (victim.node, victim.snapshots[0], victim.snapshots[2])
            let before = try await Self.state(of: victim, server)
            let other = try node.makeSnapshot(seed: 77)
            let beginning = try node.makeSnapshot(seed: 77) { $0.lineage = first.manifest.publicPart.lineage }
            let taken = try node.makeSnapshot(seed: 77, after: last.manifest) { $0.snapshot = first.id }
            let branch = try node.makeSnapshot(seed: 77, after: first.manifest)
            let attempts = [
                // What is there already is read and dropped.
                Attempt("overwrite a pack", .put, "/v1/packs/\(first.pack.id)", other.pack.bytes, 200, ""),
                Attempt("delete a pack", .delete, "/v1/packs/\(first.pack.id)", 404, "not_found"),
                Attempt(
                    "begin the lineage anew", .post, "/v1/snapshots",
                    try Self.commit(beginning.manifest, [other.pack.bytes]), 409, "forked"),
                Attempt(
                    "take an old id", .post, "/v1/snapshots", try Self.commit(taken.manifest, [taken.pack.bytes]), 403,
                    "not_yours"),
                Attempt(
                    "branch off in the past", .post, "/v1/snapshots",
                    try Self.commit(branch.manifest, [branch.pack.bytes]), 409, "forked"),
                // The same bytes again are the same receipt, and nothing else.
                Attempt("replay a commit", .post, "/v1/snapshots", try Self.commit(last.manifest), 200, ""),
            ]
            for attempt in attempts {
                let answer = try await server.peer(node).send(.agent, attempt.method, attempt.path, attempt.body)
                #expect(
                    answer.status == attempt.status && (answer.status == 200 || answer.code == attempt.code),
                    "\(attempt.what): \(answer.status) \(answer.code) \(answer.error.summary)")
                try await Self.expectUnchanged(before, victim, server, attempt.what)
            }
            let renewal = try node.renewRequest(signedAt: server.rig.clock.now())
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/renew", renewal).status == 200)
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/renew", renewal).status == 401, "a replay")
        }
    }

    /// A capture time is a word of the node: it moves nothing that came before, and expires nothing.
    @Test(arguments: [-3_000, 3_000]) func itReTimesNothing(days: Int) async throws {
        try await Rig.serve { server in
            let victim = try await Self.makeVictim(server)
            let now = server.rig.clock.now()
            func newest(at time: Timestamp) async throws -> [String] {
                let list: Muster_V1_SnapshotList = try await server.asAdmin.get(
                    .admin, "/v1/snapshots?node=victim&database=app&at=\(time)")
                return list.snapshots.map(\.id)
            }
            // The last receipt was a minute ago: what a restore to an earlier time finds stands.
            let times = [now - .seconds(90), now - .seconds(150)]
            var before: [[String]] = []
            for time in times { before.append(try await newest(at: time)) }
            #expect(Set(before).count == 2)
            server.rig.clock.advance(by: .seconds(60))
            let lie = now + .seconds(Int64(days) * 86_400)
            let snapshot = try victim.node.makeSnapshot(seed: 50, after: victim.snapshots[2].manifest) {
                ($0.capturedBegin, $0.capturedEnd) = (lie, lie)
            }
            let answer = try await server.peer(victim.node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200)
            for (time, ids) in zip(times, before) { #expect(try await newest(at: time) == ids) }
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.receivedAt == server.rig.clock.now().description)
        }
    }

    @Test func itPushesNothingOutWithAFlood() async throws {
        try await Rig.serve { server in
            let victim = try await Self.makeVictim(server)
            var report = Muster_V1_ReportRequest()
            report.clock = server.rig.clock.now().description
            report.databases = [
                .with {
                    ($0.databaseID, $0.name, $0.state) = (victim.node.database.description, "app", "ok")
                    ($0.schedule, $0.intervalMilliseconds) = ("every 1m", 60_000)
                }
            ]
            let _: Muster_V1_ReportResponse = try await server.peer(victim.node).post(.agent, "/v1/report", report)
            var policy = Muster_V1_RetentionSetRequest()
            policy.scope.fleet = true
            (policy.terms.rules, policy.terms.minAge) = (["keep-last": "6"], "0h")
            let _: Muster_V1_RetentionState = try await server.asAdmin.post(.admin, "/v1/retention", policy)
            // So many at once that six places would be taken many times.
            var parent = victim.snapshots[2].manifest
            for seed in UInt64(100)..<140 {
                let garbage = try victim.node.makeSnapshot(seed: seed, after: parent)
                let answer = try await server.peer(victim.node).commit(garbage.manifest, packs: [garbage.pack.bytes])
                #expect(answer.status == 200)
                parent = garbage.manifest
                server.rig.clock.advance(by: .milliseconds(500))
            }
            var apply = Muster_V1_RetentionApplyRequest()
            apply.databaseIds = [victim.node.database.description]
            let _: Muster_V1_RetentionApplied = try await server.asAdmin.post(.admin, "/v1/retention/apply", apply)
            for snapshot in victim.snapshots {
                let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
                #expect(shown.expiredAt.isEmpty, "sequence \(shown.sequence) was pushed out")
            }
        }
    }

    @Test(arguments: ["retire", "revoke"]) func afterItsEndItReachesNothingAtAll(verb: String) async throws {
        try await Rig.serve { server in
            let victim = try await Self.makeVictim(server)
            let bad = try await server.makeNode("bad")
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/bad/\(verb)", Muster_V1_NodeEndRequest())
            let before = try await Self.state(of: victim, server)
            for attempt in try Self.reading(victim) + Self.changing(victim, as: bad, server) {
                let answer = try await server.peer(bad).send(.agent, attempt.method, attempt.path, attempt.body)
                #expect(
                    answer.status == 401 && answer.code == "unknown_certificate",
                    "\(attempt.what): \(answer.status) \(answer.code)")
            }
            let own = try await server.asAnonymous.tryPost(
                .agent, "/v1/renew", try bad.renewRequest(signedAt: server.rig.clock.now()))
            #expect(own.status == 401)
            try await Self.expectUnchanged(before, victim, server, verb)
        }
    }
}
