import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterSQLite
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

@Suite("Retention on the admin plane")
struct RetentionTests {
    /// A coordinator that applies no policy by itself: the tests decide when.
    private static func serve(_ body: @escaping @Sendable (Server) async throws -> Void) async throws {
        let rig = try await Rig()
        let settings = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try Data((settings + "retention_every: never\n").utf8).write(to: URL(filePath: rig.place.settings))
        try await rig.serve(body)
    }

    /// Commits so many snapshots of one database, an hour apart.
    private static func fill(_ server: Server, _ count: Int) async throws -> [String] {
        let node = try await server.makeNode()
        var ids: [String] = []
        var parent: Manifest?
        for seed in 0..<count {
            server.rig.clock.advance(by: .seconds(3600))
            let snapshot = try node.makeSnapshot(seed: UInt64(seed), after: parent)
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
            ids.append(snapshot.id.description)
            parent = snapshot.manifest
        }
        return ids
    }

    private static func request(
        _ rules: [String: String], minimumAge: String = "0h",
        scope: (inout Muster_V1_RetentionScope) -> Void = { $0.fleet = true }
    ) -> Muster_V1_RetentionSetRequest {
        var request = Muster_V1_RetentionSetRequest()
        scope(&request.scope)
        request.terms.rules = rules
        request.terms.minAge = minimumAge
        return request
    }

    private static func set(_ server: Server, _ rules: [String: String]) async throws {
        let _: Muster_V1_RetentionState = try await server.asAdmin.post(.admin, "/v1/retention", request(rules))
    }

    private static func list(_ server: Server, _ query: String = "") async throws -> [String] {
        let list: Muster_V1_SnapshotList = try await server.asAdmin.get(.admin, "/v1/snapshots" + query)
        return list.snapshots.map(\.id)
    }

    private static func database(_ server: Server) async throws -> Muster_V1_Database {
        let list: Muster_V1_DatabaseList = try await server.asAdmin.get(.admin, "/v1/databases")
        guard let database = list.databases.first else { throw Unexpected("no database") }
        return database
    }

    private static func apply(_ server: Server) async throws -> Muster_V1_RetentionApplied {
        var request = Muster_V1_RetentionApplyRequest()
        request.databaseIds = [try await database(server).id]
        return try await server.asAdmin.post(.admin, "/v1/retention/apply", request)
    }

    private static func outcomes(
        _ server: Server, _ path: String, _ ids: [String],
        change: (inout Muster_V1_SnapshotHoldRequest) -> Void = { _ in }
    ) async throws -> [Bool] {
        // The three messages begin with the same field, and hold and release have the same second one.
        var request = Muster_V1_SnapshotHoldRequest()
        request.snapshotIds = ids
        change(&request)
        let answer: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(.admin, path, request)
        return answer.outcomes.map(\.done)
    }

    @Test func aRunGivesUpWhatThePreviewSaidAndAnUndoBringsItBack() async throws {
        try await Self.serve { server in
            let ids = try await Self.fill(server, 5)
            try await Self.set(server, ["keep-last": "2"])
            var request = Muster_V1_RetentionPreviewRequest()
            (request.databaseID, request.limit) = (try await Self.database(server).id, 3)
            let page: Muster_V1_RetentionPreview = try await server.asAdmin.post(
                .admin, "/v1/retention/preview", request)
            #expect(page.decisions.map(\.kept) == [true, true, false] && page.kept == 2 && page.expiring == 3)
            #expect(page.decisions.allSatisfy { !$0.reasons.isEmpty && !$0.receivedAt.isEmpty })
            (request.after, request.asOf) = (page.next, page.asOf)
            let rest: Muster_V1_RetentionPreview = try await server.asAdmin.post(
                .admin, "/v1/retention/preview", request)
            #expect((page.decisions + rest.decisions).map(\.snapshotID) == ids.reversed() && rest.next.isEmpty)

            let applied = try await Self.apply(server)
            #expect(applied.results.map(\.marked) == [3] && applied.results.map(\.kept) == [2])
            #expect(try await Self.list(server) == [ids[4], ids[3]])
            #expect(try await Self.list(server, "?expired=true") == [2, 1, 0].map { ids[$0] })
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(ids[0])")
            #expect(shown.expiredBy == applied.run && !shown.graceUntil.isEmpty)
            let manifest = try await server.asAdmin.send(.admin, .get, "/v1/snapshots/\(ids[0])/manifest")
            #expect(manifest.status == 200)
            let database = try await Self.database(server)
            #expect(database.snapshotCount == 2 && database.expiredCount == 3 && database.newestSnapshotID == ids[4])

            var undo = Muster_V1_RetentionUndoRequest()
            undo.run = applied.run
            let undone: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(
                .admin, "/v1/retention/undo", undo)
            #expect(undone.count == 3)
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/retention/undo", undo).status == 404)
            #expect(try await Self.list(server) == ids.reversed())
            // gc runs by itself beside it, and says so too.
            let actions = try await server.service.coordinator.catalog.auditEntries(limit: 100).map(\.action)
            let ours = actions.filter { $0.hasPrefix("retention") }
            #expect(ours == ["retention-undo", "retention-apply", "retention-set"])
        }
    }

    @Test func holdsReleasesAndFarewellsAreAudited() async throws {
        try await Self.serve { server in
            let ids = try await Self.fill(server, 4)
            #expect(
                try await Self.outcomes(server, "/v1/snapshots/hold", [ids[0], ids[1]]) { $0.name = "court" }
                    == [true, true])
            // An id that is misspelt changes nothing.
            var wrong = Muster_V1_SnapshotHoldRequest()
            (wrong.snapshotIds, wrong.name) = ([ids[2], String(repeating: "0", count: 32)], "court")
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/snapshots/hold", wrong).status == 404)
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(ids[2])")
            #expect(shown.holds.isEmpty)
            #expect(try await Self.outcomes(server, "/v1/snapshots/forget", ids) == [false, false, true, false])
            #expect(
                try await Self.outcomes(server, "/v1/snapshots/release", [ids[0], ids[2]]) { $0.name = "court" }
                    == [true, false])
            let entries = try await server.service.coordinator.catalog.auditEntries(limit: 100)
                .filter { $0.action != "gc" }.prefix(4)
            #expect(entries.map(\.action) == ["release 'court'", "forget", "hold 'court'", "hold 'court'"])
            #expect(entries.allSatisfy { entry in ids.contains { entry.subject.contains($0) } })
        }
    }

    @Test func whatIsNoPolicyIsRefusedWithWhatToDo() async throws {
        try await Self.serve { server in
            let requests = [
                Self.request([:]), Self.request(["keep-last": "0"]), Self.request(["keep-all": "1"]),
                Self.request(["keep-daily": "x"]), Self.request(["keep-daily": "1"], minimumAge: "1"),
                Self.request(["keep-daily": "1"]) { _ in },
                Self.request(["keep-daily": "1"]) { ($0.fleet, $0.label) = (true, "a=b") },
                Self.request(["keep-daily": "1"]) { $0.label = "a" },
            ]
            for request in requests {
                let answer = try await server.asAdmin.tryPost(.admin, "/v1/retention", request)
                #expect(answer.status == 400 && answer.code == "invalid" && !answer.error.hint.isEmpty, "\(request)")
            }
            let absent = Self.request(["keep-daily": "1"]) { $0.node = "nobody" }
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/retention", absent).status == 404)
            var remove = Self.request([:])
            remove.remove = true
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/retention", remove).status == 404)
            #expect(try await server.service.coordinator.catalog.policies().isEmpty)
        }
    }

    @Test func aForkWaitsForAPerson() async throws {
        try await Self.serve { server in
            let node = try await server.makeNode()
            let first = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(first.manifest, packs: [first.pack.bytes]).status == 200)
            let fork = try node.makeSnapshot(seed: 2) { part in
                part.forkedFrom = ForkPoint(
                    lineage: first.manifest.publicPart.lineage,
                    head: ManifestReference(snapshot: first.id, manifest: first.manifest.hash))
            }
            #expect(try await server.peer(node).commit(fork.manifest, packs: [fork.pack.bytes]).status == 200)
            try await Self.set(server, ["keep-last": "1"])
            #expect(try await Self.apply(server).results.map(\.alarm) == ["fork"])
            var clear = Muster_V1_AlarmClearRequest()
            (clear.kind, clear.database, clear.node) = ("fork", "app", "alpha")
            let cleared: Muster_V1_AlarmCleared = try await server.asAdmin.post(.admin, "/v1/alarms/clear", clear)
            #expect(cleared.count == 1)
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/alarms/clear", clear).status == 404)
            clear.kind = "stuck"
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/alarms/clear", clear).status == 400)
            #expect(try await Self.apply(server).results.map(\.alarm) == [""])
        }
    }

    /// The service and this test ask at the same time: whoever is first applies the policies.
    @Test func policiesAreAppliedWhenTheirTimeHasCome() async throws {
        try await Rig.serve { server in
            let ids = try await Self.fill(server, 4)
            try await Self.set(server, ["keep-last": "1"])
            server.rig.clock.advance(by: .seconds(3600))
            var listed: [String] = []
            for _ in 0..<1000 where listed.count != 1 {
                _ = try await server.service.coordinator.applyDueRetention()
                listed = try await Self.list(server)
            }
            #expect(listed == [ids[3]])
            #expect(try await server.service.coordinator.applyDueRetention() == nil, "it is not due again")
        }
    }

    @Test func aDatabaseThatFailsKeepsNoOtherFromItsPolicy() async throws {
        try await Rig.serve { server in
            var newest: [String] = []
            var databases: [DatabaseID] = []
            for name in ["alpha", "beta"] {
                let node = try await server.makeNode(name)
                let first = try node.makeSnapshot()
                server.rig.clock.advance(by: .seconds(3600))
                let second = try node.makeSnapshot(seed: 2, after: first.manifest)
                for snapshot in [first, second] {
                    let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
                    #expect(answer.status == 200)
                }
                newest.append(second.id.description)
                databases.append(node.database)
            }
            let bad = try #require(databases.min { "\($0)" < "\($1)" })
            try SQLiteConnection(path: server.rig.place.catalog, access: .readWrite).execute(
                """
                CREATE TRIGGER sick BEFORE UPDATE OF expired_at ON snapshot
                WHEN lower(hex(NEW.database)) = '\(bad)' BEGIN SELECT RAISE(ABORT, 'sick'); END
                """)
            try await Self.set(server, ["keep-last": "1"])
            server.rig.clock.advance(by: .seconds(3600))
            var listed: [String] = []
            for _ in 0..<1000 where listed.count != 3 {
                _ = try await server.service.coordinator.applyDueRetention()
                listed = try await Self.list(server)
            }
            #expect(listed.count == 3 && Set(listed).isSuperset(of: newest), "the first of the second is given up")
        }
    }

    @Test(arguments: [("90m", Duration.seconds(5400)), ("never", nil)])
    func theSettingsSayHowOften(text: String, every: Duration?) throws {
        #expect(try CoordinatorSettings(yaml: "retention_every: \(text)").retentionEvery == every)
        #expect(throws: CoordinatorSetupError.self) { try CoordinatorSettings(yaml: "retention_every: 1s") }
        #expect(throws: CoordinatorSetupError.self) { try CoordinatorSettings(yaml: "retention_every: hourly") }
    }

    @Test func neverMeansNever() async throws {
        try await Self.serve { server in
            let ids = try await Self.fill(server, 3)
            try await Self.set(server, ["keep-last": "1"])
            server.rig.clock.advance(by: .seconds(86_400))
            #expect(try await server.service.coordinator.applyDueRetention() == nil)
            #expect(try await Self.list(server) == ids.reversed())
            #expect(try await Self.apply(server).results.map(\.marked) == [2], "a person may")
        }
    }
}
