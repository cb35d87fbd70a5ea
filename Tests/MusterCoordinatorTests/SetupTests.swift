import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import SwiftASN1
import Testing
import X509

@testable import MusterCoordinator

@Suite("Making a coordinator")
struct SetupTests {
    @Test func aDirectoryThatHoldsAnythingIsRefused() async throws {
        let directory = try TemporaryDirectory()
        #expect(FileManager.default.createFile(atPath: directory.file("a"), contents: Data()))
        let place = CoordinatorDirectory(path: directory.path)
        await #expect(throws: CoordinatorSetupError.directoryNotEmpty(path: place.path)) {
            try await Initialisation(
                directory: place, settings: CoordinatorSettings(), clock: ManualClock(), random: .system
            ).run()
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["a"])
    }

    /// Nothing of ours is in a store before all of them will do: the next attempt draws other keys.
    @Test func aStoreThatIsGivenTwiceIsRefusedAndFreeForTheNextAttempt() async throws {
        let directory = try TemporaryDirectory()
        let link = directory.file("link")
        try FileManager.default.createDirectory(atPath: directory.file("store"), withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.file("store"))
        func initialise(_ name: String, _ stores: [String]) async throws {
            _ = try await Initialisation(
                directory: CoordinatorDirectory(path: directory.file(name)), settings: CoordinatorSettings(),
                stores: stores, clock: ManualClock(), random: .system
            ).run()
        }
        await #expect(throws: CoordinatorSetupError.storeGivenTwice(url: link)) {
            try await initialise("first", [directory.file("store"), link])
        }
        try await initialise("second", [directory.file("store")])
    }

    @Test func everyFileIsForItsOwnerAlone() async throws {
        let rig = try await Rig()
        for name in try FileManager.default.contentsOfDirectory(atPath: rig.place.path) where name != "store" {
            let attributes = try FileManager.default.attributesOfItem(atPath: rig.place.path + "/" + name)
            let mode = try #require(attributes[.posixPermissions] as? Int)
            #expect(mode & 0o077 == 0, "\(name)")
        }
        let own = try FileManager.default.attributesOfItem(atPath: rig.place.path)[.posixPermissions] as? Int
        #expect(own == 0o700)
    }

    @Test func theStoreHoldsTheSecretsForARebuild() async throws {
        let rig = try await Rig()
        let recovery = try RecoveryKey(
            fileText: try String(contentsOfFile: rig.place.recoveryKey, encoding: .utf8))
        let receiptKey = try #require(
            Hex.decode(
                try String(contentsOfFile: rig.place.receiptKey, encoding: .utf8)
                    .trimmingCharacters(in: .whitespacesAndNewlines)))
        let signer = try #require(SigningKey(privateBytes: receiptKey))
        var secrets: [String: [UInt8]] = [:]
        for object in try await rig.store().objects(.coordinator, maximumCount: 10) {
            guard case .coordinatorRecord = StoredItem(object.name) else { continue }
            let bytes = try await rig.store().read(object.name, maximumBytes: 100_000)
            let record = try SealedRecord.parse(bytes).verified(by: signer.verifyingKey)
            secrets[record.name] = try record.openSecret(with: recovery)
        }
        #expect(secrets["receipt-key"] == receiptKey)
        let authority = String(decoding: try #require(secrets["authority-key"]), as: UTF8.self)
        #expect(authority.contains(try String(contentsOfFile: rig.place.authorityKey, encoding: .utf8)))
        #expect(authority.contains(try String(contentsOfFile: rig.place.authority, encoding: .utf8)))
    }

    @Test func theServersCertificateIsReplacedWhenItRunsOutOrNamesChange() async throws {
        let rig = try await Rig()
        let authority = try Authority(
            certificatePEM: try PrivateFile.readText(rig.place.authority),
            keyPEM: try PrivateFile.readText(rig.place.authorityKey))
        func current(_ names: [String] = [], after span: Duration = .zero) throws -> String {
            var settings = CoordinatorSettings(listen: ListenAddress(host: "127.0.0.1", port: 0))
            settings.names = names
            return try ServerIdentity.current(
                in: rig.place, settings: settings, authority: authority, random: .system,
                now: rig.clock.now() + span
            ).certificatePEM
        }
        let first = try current()
        #expect(try current() == first)
        #expect(try current(after: .seconds(182 * 86_400)) == first)
        let second = try current(after: .seconds(184 * 86_400))
        #expect(second != first)
        #expect(try current(["backup.example", "10.1.2.3"], after: .seconds(184 * 86_400)) != second)
        let names = try Certificate(pemEncoded: PrivateFile.readText(rig.place.server)).extensions
            .subjectAlternativeNames
        #expect(names?.count == 5)
    }

    @Test(arguments: [
        ("listen: 127.0.0.1:1\nlisten_admin: 127.0.0.1:2", "unknown key 'listen_admin'"),
        ("limits: {upload: 4}", "unknown limit 'upload'"),
        ("limits: {uploads: 0}", "must be a number"),
        ("listen: [1, 2]", "must be a text"),
        ("- a", "must be a list of"),
    ])
    func aWrongSettingIsAnError(yaml: String, reason: String) throws {
        let error = #expect(throws: CoordinatorSetupError.self) { try CoordinatorSettings(yaml: yaml) }
        #expect(error?.summary.contains(reason) == true)
    }

    @Test func settingsReadBackWhatWasWritten() throws {
        var settings = CoordinatorSettings(listen: ListenAddress(host: "::1", port: 7420))
        settings.advertise = "backup.example"
        #expect(try CoordinatorSettings(yaml: settings.yaml()) == settings)
        let full = try CoordinatorSettings(
            yaml: "admin_listen: 127.0.0.1:9\nlisten: \"[::1]:8\"\nnames: [a, b]\nlimits: {uploads: 3, connections: 9}")
        #expect(full.listen == ListenAddress(host: "::1", port: 8) && full.adminListen.port == 9)
        #expect(full.names == ["a", "b"] && full.limits.uploads == 3 && full.limits.connections == 9)
    }

    @Test(arguments: ["", "127.0.0.1", ":80", "a:b", "a:70000", "::1:80", "a b:1", "a:-1"])
    func aStrangeAddressIsRefused(text: String) {
        #expect(throws: CoordinatorSetupError.badAddress(text: text)) { try ListenAddress(text) }
    }
}
