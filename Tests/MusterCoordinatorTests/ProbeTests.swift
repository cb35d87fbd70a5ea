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

@Suite("What a store promises is measured and recorded", .timeLimit(.minutes(10)))
struct ProbeTests {
    @Test func aProbeIsRecordedAndShown() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let probe: Muster_V1_StoreProbe = try await server.asAdmin.post(
                .admin, "/v1/stores/main/probe", Muster_V1_StoreChangeRequest())
            let outcomes = Dictionary(uniqueKeysWithValues: probe.findings.map { ($0.capability, $0.outcome) })
            #expect(
                outcomes == [
                    "read-after-write": "held", "create-only": "held", "range-reads": "held", "listing": "held",
                    "deletion": "held", "checksum-refusal": "absent", "clock": "absent", "object-lock": "absent",
                    "signed-urls": "absent",
                ])
            let usable = probe.features.filter(\.lacks.isEmpty).map(\.name)
            #expect(usable == ["replicas", "deletion", "rebuild"])
            #expect(probe.putBytesPerSecond > 0 && probe.readMicroseconds > 0)
            let shown: Muster_V1_StoreProbe = try await server.asAdmin.get(.admin, "/v1/stores/main/probe")
            #expect(shown == probe)
            #expect(try await rig.store().objects(.probes, maximumCount: 10).isEmpty)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/stores/nothing/probe").status == 404)
        }
    }

    @Test func aStoreIsProbedAgainAfterAWeekByItself() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let store = try #require(coordinator.stores.store(named: "main"))
            func at() async throws -> Timestamp? { try await coordinator.catalog.lastProbe(ofStore: store.number)?.at }
            try await coordinator.probeDueStores()
            let first = try #require(try await at())
            rig.clock.advance(by: .seconds(7 * 86_400 - 1))
            try await coordinator.probeDueStores()
            #expect(try await at() == first)
            rig.clock.advance(by: .seconds(1))
            try await coordinator.probeDueStores()
            #expect(try await at() == rig.clock.now())
        }
    }

    @Test func aBrokenPromiseIsSaid() async throws {
        let rig = try await Rig()
        try await rig.serve(wrapStore: { FaultyStore($0, faults: [.flipBit(ofRead: 2, bit: 3)]) }) { server in
            let probe: Muster_V1_StoreProbe = try await server.asAdmin.post(
                .admin, "/v1/stores/main/probe", Muster_V1_StoreChangeRequest())
            let finding = try #require(probe.findings.first { $0.outcome == "broken" })
            #expect(finding.capability == "read-after-write" && finding.detail.contains("other bytes"))
            #expect(probe.features.allSatisfy { $0.lacks.first == "read-after-write" })
        }
    }

    @Test func whatAProbeLeftThatWasCutOffIsRemovedByTheNextOne() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let store = try #require(coordinator.stores.store(named: "main"))
            // Once there is a probe, none is made by itself beside the test.
            _ = try await server.asAdmin.tryPost(.admin, "/v1/stores/main/probe", Muster_V1_StoreChangeRequest())
            let (cut, strange) = (ProbeID(from: .system), ProbeID(from: .system))
            for number: UInt64 in [0, 1, 7, 63] { try await store.store.put(.probe(cut, number), [1]) }
            try await store.store.put(.probe(strange, 0), [1])
            try await coordinator.catalog.set("probe-under-way-\(store.number)", to: cut.bytes)
            _ = try await server.asAdmin.tryPost(.admin, "/v1/stores/main/probe", Muster_V1_StoreChangeRequest())
            let left = try await rig.store().objects(.probes, maximumCount: 100).map(\.name)
            #expect(left == [.probe(strange, 0)], "only what is known by its name is deleted")
        }
    }

    @Test func aStoreThatLacksAPromiseIsNotAdded() async throws {
        let rig = try await Rig()
        let wrap: @Sendable (any Store) -> any Store = { store in
            store.name == "bad" ? FaultyStore(store, faults: [.flipBit(ofRead: 1, bit: 3)]) : store
        }
        try await rig.serve(wrapStore: wrap) { server in
            var request = Muster_V1_StoreAddRequest()
            (request.name, request.url) = ("bad", rig.directory.file("bad"))
            let refused = try await server.asAdmin.tryPost(.admin, "/v1/stores", request)
            #expect(refused.status == 400 && refused.error.summary.contains("read-after-write"))
            (request.name, request.url) = ("good", rig.directory.file("good"))
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/stores", request).status == 200)
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.map(\.name) == ["main", "good"])
            // What was measured at its beginning is kept.
            let shown: Muster_V1_StoreProbe = try await server.asAdmin.get(.admin, "/v1/stores/good/probe")
            #expect(shown.findings.count == StoreCapabilities.Capability.allCases.count)
        }
    }

    private static func record(
        _ server: Server, _ store: OpenStore, broken: StoreCapabilities.Capability?
    ) async throws {
        let findings = StoreCapabilities.Capability.allCases.map { capability in
            StoreCapabilities.Finding(capability, capability == broken ? .broken : .held, "seen")
        }
        let pace = StoreCapabilities.Pace(
            putBytesPerSecond: 1, readBytesPerSecond: 1, putMicroseconds: 1, readMicroseconds: 1)
        server.rig.clock.advance(by: .seconds(1))
        try await server.service.coordinator.catalog.record(
            probe: StoreProving.record(of: StoreCapabilities(findings: findings, pace: pace)),
            ofStore: store.number, at: server.rig.clock.now())
    }

    @Test(arguments: [
        (StoreCapabilities.Capability.createOnly, "critical", "cannot keep replicas"),
        (StoreCapabilities.Capability.deletion, "warning", "gc deletes nothing there"),
        (StoreCapabilities.Capability.listing, "warning", "cannot be rebuilt from alone"),
        (StoreCapabilities.Capability.signedURLs, "", ""),
    ])
    func whatIsWantedOfEveryStoreIsAnAlarmWhereItIsBroken(
        capability: StoreCapabilities.Capability, severity: String, words: String
    ) async throws {
        try await Rig.serve { server in
            let store = try #require(server.service.coordinator.stores.all.first)
            func alarms() async throws -> [Muster_V1_Alarm] {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                return status.alarms.filter { $0.kind == AlarmKind.store.rawValue }
            }
            try await Self.record(server, store, broken: capability)
            let told = try await alarms()
            #expect(told.map(\.severity) == (severity.isEmpty ? [] : [severity]))
            #expect(told.allSatisfy { $0.summary.contains(words) && $0.summary.contains(capability.rawValue) })
            try await Self.record(server, store, broken: nil)
            #expect(try await alarms().isEmpty)
        }
    }

    @Test func whereDeletionIsBrokenGCDeletesNothing() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let store = try #require(server.service.coordinator.stores.all.first)
            let ids = try await CollectionTests.fill(server, try await server.makeNode(), 3)
            try await CollectionTests.forget(server, [ids[0], ids[1]])
            func left() async throws -> Int { try await rig.store(1).objects(.manifests, maximumCount: 100).count }
            try await Self.record(server, store, broken: .deletion)
            #expect(try await CollectionTests.collect(server).forgottenSnapshots == 2)
            #expect(try await left() == 3)
            try await Self.record(server, store, broken: nil)
            _ = try await CollectionTests.collect(server)
            #expect(try await left() == 1)
        }
    }

    @Test func aListingThatIsBrokenIsAFindingOfARebuild() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            _ = try await server.makeNode()
            try await Self.record(server, try #require(coordinator.stores.all.first), broken: .listing)
            try await coordinator.backUpCatalog()
        }
        let findings = try await rig.rebuilt(from: [rig.folder(1)]).outcome.findings
        #expect(findings.count == 1 && findings.allSatisfy { $0.reason.contains("does not list all it holds") })
    }
}
