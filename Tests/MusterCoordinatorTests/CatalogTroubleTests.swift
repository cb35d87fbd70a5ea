import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterSQLite
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("A catalog that fails again and again")
struct CatalogTroubleTests {
    private static func catalogAlarms(_ server: Server) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == "catalog" }
    }

    private static func change(_ rig: Rig, _ sql: String) throws {
        try SQLiteConnection(path: rig.place.catalog, access: .readWrite).execute(sql)
    }

    /// What inspections write cannot be written, as on a bad disk: no snapshot is to blame for that.
    @Test func itIsShownAndBlamesNoSnapshot() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let node = try await server.makeNode()
            var snapshots: [TestSnapshot] = []
            for seed in 1...3 as ClosedRange<UInt64> {
                let next = try node.makeSnapshot(seed: seed, after: snapshots.last?.manifest)
                #expect(try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes]).status == 200)
                snapshots.append(next)
            }
            try Self.change(
                rig,
                """
                CREATE TRIGGER bad_disk BEFORE INSERT ON inspected_object BEGIN
                    SELECT RAISE(ABORT, 'as if the disk were bad'); END
                """)
            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = ("scrub", snapshots.map(\.id.description))
            let run: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)

            let service = InspectionService(coordinator: server.service.coordinator)
            var (tries, pauses): ([SnapshotID: Int], [Duration]) = ([:], [])
            for _ in 0..<20 {
                if let pause = await service.round(isOfSnapshots: true, &tries) { pauses.append(pause) }
            }
            #expect(pauses.count == 20 && pauses == pauses.sorted() && tries.isEmpty)
            #expect(pauses.first ?? .zero >= .seconds(10) && pauses.last == .seconds(900))
            let alarm = try #require(try await Self.catalogAlarms(server).first)
            #expect(
                alarm.severity == "critical" && alarm.summary.contains("as if the disk were bad"), "\(alarm.summary)")
            let shown: Muster_V1_Verification = try await server.asAdmin.get(.admin, "/v1/verifications/\(run.run)")
            #expect(shown.state == "running" && shown.unfinished == 0 && shown.waitingCount == 3)

            try Self.change(rig, "DROP TRIGGER bad_disk")
            #expect(await service.round(isOfSnapshots: true, &tries) == nil)
            #expect(try await InspectionTests.finished(server, run.run).passed == 3)
            #expect(try await Self.catalogAlarms(server).isEmpty)
        }
    }

    /// Nobody got the id of such a run, and nobody could ever end it.
    @Test func aRunThatCouldNotBeFilledDoesNotRunForEver() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            try Self.change(
                rig,
                """
                CREATE TRIGGER bad_disk BEFORE INSERT ON verification_item BEGIN
                    SELECT RAISE(ABORT, 'as if the disk were bad'); END
                """)
            var request = Muster_V1_VerificationRequest()
            (request.level, request.snapshotIds) = ("verify", [snapshot.id.description])
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/verifications", request).status >= 500)
            try Self.change(rig, "DROP TRIGGER bad_disk")
            let coordinator = server.service.coordinator
            try await coordinator.fillVerifications()
            #expect(try await coordinator.catalog.unfinishedRuns().isEmpty)
        }
    }

    @Test func workRestsLongerAndLonger() {
        let pauses = (0...12).map { CatalogTroubles.pause(after: $0).inSeconds }
        #expect(pauses == [10, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900, 900])
        let book = CatalogTroubles()
        let now = Timestamp(microseconds: 1_000_000)
        for count in 1...5 {
            #expect(book.shown.isEmpty)
            #expect(book.note(.full, in: .inspection, now: now + .seconds(Int64(count))) == count)
        }
        #expect(book.shown.map(\.trouble.since) == [now + .seconds(1)] && book.shown[0].work == .inspection)
        book.end(.namedInspection)
        #expect(book.shown.count == 1)
        book.end(.inspection)
        #expect(book.shown.isEmpty)
    }
}
