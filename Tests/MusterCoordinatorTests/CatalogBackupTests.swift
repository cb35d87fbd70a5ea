import Foundation
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

@Suite("The catalog's own backup")
struct CatalogBackupTests {
    private func makeSnapshot(_ server: Server, _ node: TestNode, after parent: TestSnapshot?) async throws
        -> TestSnapshot
    {
        let next = try node.makeSnapshot(seed: UInt64.random(in: 1...UInt64.max), after: parent?.manifest)
        let answer = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
        guard answer.status == 200 else { throw Unexpected("\(answer.error)") }
        server.rig.clock.advance(by: .seconds(60))
        return next
    }

    private func backups(_ rig: Rig, _ number: Int) async throws -> [ObjectName] {
        try await rig.store(number).objects(.catalogBackups, maximumCount: 100).map(\.name).sorted()
    }

    @Test func whatNoStoreSaysComesBackFromIt() async throws {
        let rig = try await Rig(stores: 2)
        let snapshots = try await rig.serve { server in
            let coordinator = server.service.coordinator
            let node = try await server.makeNode()
            let first = try await makeSnapshot(server, node, after: nil)
            let second = try await makeSnapshot(server, node, after: first)
            var verify = Muster_V1_VerificationRequest()
            (verify.snapshotIds, verify.level) = ([first.id.description], "scrub")
            let run: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", verify)
            for _ in 0..<20_000 {
                let now: Muster_V1_Verification = try await server.asAdmin.get(.admin, "/v1/verifications/\(run.run)")
                if now.state == "finished" { break }
            }
            try await coordinator.backUpCatalog()
            // What came after the backup is in the stores.
            return [first, second, try await makeSnapshot(server, node, after: second)]
        }
        let (before, known) = try await rig.serve { server in
            let catalog = server.service.coordinator.catalog
            let hashes = try await catalog.auditEntries(limit: 1000).map(\.hash)
            return (hashes, try await catalog.snapshot(snapshots[0].id))
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(2)])
        #expect(outcome.findings == [])
        #expect(outcome.snapshots == 3)
        #expect(outcome.catalogBackup != nil)
        #expect(outcome.verdicts == 1)
        try await rebuilt.serve { server in
            let catalog = server.service.coordinator.catalog
            let verified = try await catalog.snapshot(snapshots[0].id)
            #expect(known?.verdict.isEmpty == false)
            #expect(verified?.verdict == known?.verdict)
            let list: Muster_V1_SnapshotList = try await server.asAdmin.get(.admin, "/v1/snapshots")
            #expect(list.snapshots.count == 3)
            // The audit goes on where it was when the backup was taken.
            let audit = try await catalog.auditEntries(limit: 1000)
            #expect(audit.first?.action == "rebuild")
            #expect(audit.dropFirst().map(\.hash) == before.suffix(audit.count - 1))
            #expect(audit.count > 3)
            let broken = try await catalog.checkAudit().firstBroken
            #expect(broken == nil)
        }
    }

    /// The state in the stores says how far the audit went, whatever became of the catalog and its backups.
    @Test func whatOfTheAuditIsLostIsTold() async throws {
        let rig = try await Rig(stores: 1)
        let (kept, rows) = try await rig.serve { server in
            let coordinator = server.service.coordinator
            _ = try await server.makeNode()
            try await coordinator.backUpCatalog()
            let kept = try await coordinator.catalog.auditHead().row
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/alpha/revoke", Muster_V1_NodeEndRequest())
            return (UInt64(kept), UInt64(try await coordinator.catalog.auditHead().row))
        }
        #expect(rows == kept + 1)
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)])
        #expect(outcome.lostAudit == "rows \(rows) to \(rows) of the audit are lost" && outcome.findings == [])
        try await rebuilt.serve { server in
            let check: Muster_V1_AuditCheck = try await server.asAdmin.get(.admin, "/v1/audit/check")
            #expect(check.firstBroken == 0 && check.rows == rows && check.lostFrom == rows && check.lostTo == rows)
            let entry = try await server.service.coordinator.catalog.auditEntries(limit: 1)[0]
            #expect(entry.action == "rebuild" && entry.subject.contains("of the audit are lost"))
        }
    }

    /// A chain that was made anew does not have the row that the stores know.
    @Test func anAuditThatWasMadeAnewIsAFinding() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await server.makeNode()
            let coordinator = server.service.coordinator
            try await coordinator.keepFleetState()
            let known = try await coordinator.catalog.auditEntries(limit: 100).reversed()
            // As somebody would who can write the file.
            let script =
                "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('DELETE FROM audit'); db.commit()"
            let ending = try ChildProcess.run("python3", ["-c", script, rig.place.catalog])
            #expect(ending.status == 0, "\(ending.output)")
            for row in known {
                try await coordinator.catalog.audit(
                    Catalog.AuditRow(actor: row.actor, action: row.action, subject: "forged", at: row.at))
            }
            #expect(try await coordinator.catalog.checkAudit().firstBroken == nil)
            try await coordinator.backUpCatalog()
        }
        let outcome = try await rig.rebuilt(from: [rig.folder(1)]).outcome
        #expect(outcome.findings.map(\.object) == ["audit"])
        #expect(outcome.lostAudit?.hasSuffix("of the audit is not what it was") == true)
    }

    /// It may be made again with the very same bytes, and has to be there then.
    @Test func aPackThatIsDamagedIsPutAgain() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            _ = try await server.makeNode()
            try await coordinator.backUpCatalog()
            let object = try #require(try await rig.store(1).objects(.catalogPacks, maximumCount: 100).first)
            guard case .catalogPack(let id, _) = StoredItem(object.name) else { throw Unexpected("\(object.name)") }
            let good = try await rig.store(1).read(object.name, maximumBytes: Format.maximumPackBytes)
            func put() async throws -> Int {
                let sink = try await CatalogSink(
                    targets: BackupTargets(coordinator.stores.all, logger: coordinator.logger), earlier: 2,
                    catalog: coordinator.catalog, random: .system)
                try await sink.put(id, bytes: good) { _ in }
                let packs = try await rig.store(1).objects(.catalogPacks, maximumCount: 100)
                return packs.count { $0.name.description.contains("\(id)") }
            }
            #expect(try await put() == 1, "it is there")
            let file = URL(filePath: rig.folder(1) + "/" + object.name.description)
            try FileManager.default.removeItem(at: file)
            try Data(good.dropLast(16) + [UInt8](repeating: 0, count: 16)).write(to: file)
            #expect(try await put() == 2)
        }
    }

    @Test func theSecondBackupStoresLittleAndOldOnesAreGivenUp() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let node = try await server.makeNode()
            var last: TestSnapshot?
            for _ in 0..<5 { last = try await makeSnapshot(server, node, after: last) }
            try await coordinator.backUpCatalog()
            func bytes() async throws -> UInt64 {
                try await rig.store(1).objects(.catalogPacks, maximumCount: 1000).reduce(0) { $0 + $1.byteCount }
            }
            let first = try await bytes()
            try await coordinator.backUpCatalog()
            let second = try await bytes()
            #expect(second - first < first / 2, "\(first) \(second)")
            for _ in 0..<2 { try await coordinator.backUpCatalog() }
            let names = try await backups(rig, 1)
            #expect(names.count == 4)
            let discarded = try await coordinator.catalog.discardedObjects(limit: 1000)
            #expect(Set(names.prefix(2).map(\.description)).isSubset(of: discarded))
            #expect(discarded.isDisjoint(with: names.suffix(2).map(\.description)))
        }
    }

    @Test(arguments: [ObjectPrefix.catalogBackups, .catalogPacks])
    func aDamagedBackupIsReplacedByTheOneBefore(prefix: ObjectPrefix) async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await makeSnapshot(server, try await server.makeNode(), after: nil)
            try await server.service.coordinator.backUpCatalog()
            let old = try await rig.store(1).objects(prefix, maximumCount: 100).map(\.name)
            try await server.service.coordinator.backUpCatalog()
            let new = try await rig.store(1).objects(prefix, maximumCount: 100).map(\.name).filter { !old.contains($0) }
            let file = URL(filePath: rig.folder(1) + "/" + (try #require(new.first)).description)
            var bytes = try Data(contentsOf: file)
            bytes[bytes.count / 3] ^= 1
            try FileManager.default.removeItem(at: file)
            try bytes.write(to: file)
        }
        let outcome = try await rig.rebuilt(from: [rig.folder(1)]).outcome
        #expect(outcome.catalogBackup != nil)
        #expect(outcome.findings.count <= 1)
        #expect(outcome.snapshots == 1)
    }

    /// The newest but one cannot be read for a moment: what it needs is needed all the same.
    @Test func whatIsGivenUpDoesNotFollowFromWhatReadsWell() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let node = try await server.makeNode()
            var last: TestSnapshot?
            for _ in 0..<2 {
                for _ in 0..<3 { last = try await makeSnapshot(server, node, after: last) }
                try await coordinator.backUpCatalog()
            }
            let shelf = CatalogShelf(store: try await rig.store(1), signer: coordinator.receiptKey.verifyingKey)
            let second = try #require(try await shelf.newest(1).first)
            let file = rig.folder(1) + "/" + second.name.description
            try FileManager.default.moveItem(atPath: file, toPath: file + "-aside")
            try Data("unreadable".utf8).write(to: URL(filePath: file))
            last = try await makeSnapshot(server, node, after: last)
            try await coordinator.backUpCatalog()
            try FileManager.default.removeItem(atPath: file)
            try FileManager.default.moveItem(atPath: file + "-aside", toPath: file)
            let kept = try await shelf.newest(2)
            #expect(kept.map(\.name).last == second.name)
            let needed = Set(kept.flatMap(\.manifest.publicPart.packs.added).map(\.description))
            let discarded = try await coordinator.catalog.discardedObjects(limit: 1000)
            #expect(!discarded.contains { name in needed.contains { name.contains($0) } })
            #expect(discarded.contains { $0.hasPrefix("catalog/backups/") })
        }
    }

    /// What the catalog that was lost kept of itself goes once the new one has kept as much.
    @Test func aRebuiltCoordinatorGivesUpTheBackupsOfTheOneBefore() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await makeSnapshot(server, try await server.makeNode(), after: nil)
            for _ in 0..<2 { try await server.service.coordinator.backUpCatalog() }
        }
        let before = Set(try await backups(rig, 1).map(\.description))
        let packs = Set(try await rig.store(1).objects(.catalogPacks, maximumCount: 100).map(\.name.description))
        #expect(before.count == 2 && !packs.isEmpty)
        let (rebuilt, _) = try await rig.rebuilt(from: [rig.folder(1)])
        try await rebuilt.serve { server in
            let coordinator = server.service.coordinator
            try await coordinator.backUpCatalog()
            let early = try await coordinator.catalog.discardedObjects(limit: 1000)
            #expect(early.isDisjoint(with: packs))
            try await coordinator.backUpCatalog()
            let late = try await coordinator.catalog.discardedObjects(limit: 1000)
            #expect(late.isSuperset(of: before.union(packs)))
        }
    }

    /// Listings cost money at S3, and answer what was asked a moment ago.
    @Test func anIdleHourListsNextToNothing() async throws {
        let rig = try await Rig(stores: 2)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            _ = try await makeSnapshot(server, try await server.makeNode(), after: nil)
            try await ReplicationTests.settle(server)
            func letAnHourPass() async throws {
                for second in stride(from: 0, to: 3600, by: 5) {
                    rig.clock.advance(by: .seconds(5))
                    try await coordinator.lookForSuccessor()
                    guard second % 30 == 0 else { continue }
                    #expect(try await coordinator.mayWrite())
                    try await coordinator.collectIfWanted()
                    try await coordinator.keepFleetState()
                    try await coordinator.applyDueRetention()
                    _ = try await coordinator.backUpCatalogIfDue(every: .seconds(3600))
                }
            }
            for _ in 0..<2 { try await letAnHourPass() }
            _ = hooks.takeListings()
            let before = try await backups(rig, 1).count
            try await letAnHourPass()
            #expect(try await backups(rig, 1).count > before)
            let listings = hooks.takeListings()
            #expect(Set(listings.keys).isSubset(of: ["coordinator/epoch/"]), "\(listings)")
            // Once for each store; the service may look at the same moment.
            #expect(listings.values.reduce(0, +) <= 4, "\(listings)")
        }
    }

    /// Stores fail where they like: at the first look, at a pack, at the manifest.
    @Test(arguments: [ObjectName.Part.free, .pack, .manifest])
    func oneThatFailsKeepsTheOthersFromNothing(part: ObjectName.Part) async throws {
        let rig = try await Rig(stores: 2)
        let sickness = SickPart()
        try await rig.serve(wrapStore: { $0.name == "main" ? SickPartStore($0, sickness) : $0 }) { server in
            let coordinator = server.service.coordinator
            _ = try await makeSnapshot(server, try await server.makeNode(), after: nil)
            try await coordinator.backUpCatalog()
            let first = try #require(coordinator.stores.store(named: "main"))
            let second = try #require(coordinator.stores.store(named: "store2"))
            let before = try #require(try await coordinator.lastCatalogBackup(in: first))
            sickness.part = part
            // The service may take one of its own from here on.
            server.rig.clock.advance(by: .seconds(3600))
            try await coordinator.backUpCatalog()
            #expect(try await backups(rig, 2).count >= 2)
            #expect(try await backups(rig, 1).count == 1)
            #expect(try await coordinator.lastCatalogBackup(in: first) == before)
            #expect(try await coordinator.lastCatalogBackup(in: second) == server.rig.clock.now())

            func alarms() async throws -> [Muster_V1_Alarm] {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                return status.alarms.filter { $0.kind == "backup_overdue" }
            }
            #expect(try await alarms().isEmpty)
            server.rig.clock.advance(by: .seconds(2 * 3600 + 1))
            #expect(try await alarms().map(\.store) == ["main"])
            sickness.part = nil
            try await coordinator.backUpCatalog()
            #expect(try await alarms().isEmpty)
        }
        let outcome = try await rig.rebuilt(from: [rig.folder(2)]).outcome
        #expect(outcome.catalogBackup != nil && outcome.findings == [])
    }

    @Test func whereNoneIsLeftItFails() async throws {
        let rig = try await Rig(stores: 2)
        let sickness = SickPart()
        try await rig.serve(wrapStore: { SickPartStore($0, sickness) }) { server in
            sickness.part = .manifest
            await #expect(throws: StoreError.self) { try await server.service.coordinator.backUpCatalog() }
            sickness.part = nil
        }
    }

    @Test func whereNoStoreAnswersTheCatalogIsNotCopied() async throws {
        let rig = try await Rig(stores: 2)
        let sickness = SickPart()
        try await rig.serve(wrapStore: { SickPartStore($0, sickness) }) { server in
            let copies = Mutex(0)
            for part in [ObjectName.Part.manifest, .free] {
                sickness.part = part
                await #expect(throws: (any Error).self) {
                    try await server.service.coordinator.backUpCatalog { copies.withLock { $0 += 1 } }
                }
                let copied = copies.withLock { $0 }
                #expect(copied == 1, "\(part)")
            }
            sickness.part = nil
        }
    }

    @Test func onlyACopyInVainPutsTheNextOff() {
        typealias Outcome = CatalogBackupService.Outcome
        func waitedSeconds(_ period: Duration, _ outcomes: [Outcome]) -> [Int64] {
            var pauses = CatalogBackupService.Pauses(period: period)
            return outcomes.map { pauses.next(after: $0).components.seconds }
        }
        #expect(waitedSeconds(.seconds(3600), [.notCopied, .notCopied, .well]) == [30, 30, 30])
        let vain = [Outcome](repeating: .copiedInVain, count: 4)
        #expect(waitedSeconds(.seconds(150), vain) == [60, 120, 150, 150])
        let mixed: [Outcome] = [.copiedInVain, .notCopied, .copiedInVain, .well, .copiedInVain]
        #expect(waitedSeconds(.seconds(3600), mixed) == [60, 30, 120, 30, 60])
        #expect(waitedSeconds(.seconds(86_400), vain + vain).last == 3600)
    }

    @Test func oneIsTakenAtShutdown() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await server.service.coordinator.backUpCatalogIfDue(every: .seconds(3600))
            rig.clock.advance(by: .seconds(600))
        }
        #expect(try await backups(rig, 1).count == 1)
        // Not again where the last one is young.
        try await rig.serve { _ in }
        #expect(try await backups(rig, 1).count == 1)
    }

    @Test func itIsTakenWhenItIsDue() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            _ = try await coordinator.backUpCatalogIfDue(every: .seconds(3600))
            let early = try await coordinator.backUpCatalogIfDue(every: .seconds(3600))
            #expect(!early)
            rig.clock.advance(by: .seconds(3600))
            let due = try await coordinator.backUpCatalogIfDue(every: .seconds(3600))
            let taken = try await backups(rig, 1)
            #expect(due && taken.count == 1)
        }
    }
}
