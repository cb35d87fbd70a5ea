import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("What a rebuild needs is read again and put again")
struct OwnObjectTests {
    enum Harm: CaseIterable { case gone, flipped }

    /// What stands in a store of the coordinator's own.
    enum Part: CaseIterable {
        case authorityKey, receiptKey, state, backup, backupPack

        var prefix: ObjectPrefix {
            switch self {
            case .authorityKey, .receiptKey: .coordinator
            case .state: .states
            case .backup: .catalogBackups
            case .backupPack: .catalogPacks
            }
        }

        func matches(_ name: ObjectName) -> Bool {
            switch (self, StoredItem(name)) {
            case (.authorityKey, .coordinatorRecord(.authorityKey, _)): true
            case (.receiptKey, .coordinatorRecord(.receiptKey, _)): true
            case (.state, .coordinatorState), (.backup, .catalogBackup), (.backupPack, .catalogPack): true
            default: false
            }
        }
    }

    private static func names(_ part: Part, in rig: Rig) async throws -> [ObjectName] {
        try await rig.store(1).objects(part.prefix, maximumCount: 1000).map(\.name).filter(part.matches).sorted()
    }

    private static func harm(_ name: ObjectName, _ harm: Harm, in rig: Rig) throws {
        let file = URL(filePath: rig.folder(1) + "/" + name.description)
        var bytes = try Data(contentsOf: file)
        try FileManager.default.removeItem(at: file)
        guard harm == .flipped else { return }
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: file)
    }

    private static func look(_ server: Server) async throws -> OwnLook {
        let coordinator = server.service.coordinator
        return try await coordinator.careForOwnObjects(
            in: try #require(coordinator.stores.all.first), isHashed: true,
            CopyPace(bytesPerSecond: 0, clock: server.rig.clock))
    }

    private static func damaged(_ server: Server) async throws -> [String] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == "damaged" }.map(\.summary)
    }

    @Test(arguments: Part.allCases, Harm.allCases)
    func whatIsWrongIsPutAgainAndARebuildFindsIt(part: Part, harm: Harm) async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 2)
            let coordinator = server.service.coordinator
            try await coordinator.backUpCatalog()
            try await coordinator.keepFleetState()
            #expect(try await Self.look(server).faults == [])
            let before = try await Self.names(part, in: rig)
            // Only the newest is read; of the backups there is one.
            let name = try #require(before.last)
            try Self.harm(name, harm, in: rig)
            let found = try await Self.look(server)
            #expect(found.faults.count == 1 && found.faults[0].reason.isEmpty == false, "\(found.faults)")
            #expect(harm == .gone || found.faults.map(\.object) == [name.description])
            #expect(try await Self.look(server).faults == [])
            #expect(try await Self.damaged(server) == [])
            let after = try await Self.names(part, in: rig)
            #expect(!Set(after).subtracting(before).isEmpty, "under another name")
        }
        // What stands there still and is bad is found, and is in nothing's way.
        let outcome = try await rig.rebuilt(from: [rig.folder(1)]).outcome
        #expect(outcome.snapshots == 2 && outcome.hasState && outcome.catalogBackup != nil)
        #expect(outcome.findingCount <= (harm == .gone ? 0 : 1), "\(outcome.findings)")
    }

    @Test func anEpochThatIsGoneIsPutUnderItsName() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            try Self.harm(.coordinatorEpoch(1), .gone, in: rig)
            #expect(try await Self.look(server).faults.map(\.object) == ["\(ObjectName.coordinatorEpoch(1))"])
            #expect(try await Self.look(server).faults == [])
        }
    }

    /// While it cannot be put again an alarm names it, and it ends with the cause.
    @Test func anAlarmStandsAsLongAsItIsWrong() async throws {
        let rig = try await Rig(stores: 1)
        let file = rig.folder(1) + "/" + ObjectName.coordinatorEpoch(1).description
        try await rig.serve { server in
            let bytes = try Data(contentsOf: URL(filePath: file))
            try Self.harm(.coordinatorEpoch(1), .flipped, in: rig)
            #expect(try await Self.look(server).faults.count == 1)
            let alarms = try await Self.damaged(server)
            #expect(alarms.count == 1 && alarms[0].contains("coordinator/epoch/") && alarms[0].contains("'main'"))
            try FileManager.default.removeItem(atPath: file)
            try bytes.write(to: URL(filePath: file))
            #expect(try await Self.look(server).faults == [])
            #expect(try await Self.damaged(server) == [])
        }
    }

    /// A period goes by between two looks of the scrub, by the coordinator's clock.
    @Test func aLookIsDueOncePerPeriod() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let store = try #require(coordinator.stores.all.first)
            let pace = CopyPace(bytesPerSecond: 0, clock: rig.clock)
            await coordinator.careForOwnObjectsIfDue(in: store, pace)
            let first = try #require(try await coordinator.ownNote(of: store)).at
            rig.clock.advance(by: .seconds(3600))
            await coordinator.careForOwnObjectsIfDue(in: store, pace)
            #expect(try await coordinator.ownNote(of: store)?.at == first)
            rig.clock.advance(by: .seconds(coordinator.settings.scrub.everySeconds))
            await coordinator.careForOwnObjectsIfDue(in: store, pace)
            #expect(try #require(try await coordinator.ownNote(of: store)).at > first)
        }
    }

    /// The daily listing lacks it, and what this process remembers does not count for more.
    @Test func aStateThatAListingLacksIsPutAgain() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            _ = try await server.makeNode()
            let coordinator = server.service.coordinator
            #expect(try await Self.look(server).faults == [])
            // The audit is as it was written: the state does not change by itself.
            rig.clock.advance(by: .seconds(3601))
            try await coordinator.keepFleetState()
            let newest = try #require(try await Self.names(.state, in: rig).last)
            try Self.harm(newest, .gone, in: rig)
            try await coordinator.keepFleetState()
            #expect(try await !Self.names(.state, in: rig).contains(newest))
            try await coordinator.backUpCatalog()
            try await coordinator.keepFleetState()
            #expect(try await Self.names(.state, in: rig).contains(newest))
        }
    }
}
