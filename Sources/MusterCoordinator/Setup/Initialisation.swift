import Crypto
import Foundation
package import MusterAPI
import MusterCatalog
import MusterFormat
package import MusterModel
package import MusterStore
import X509

/// Makes a new coordinator: authority, keys, first store, catalog, and the first admin.
package struct Initialisation: Sendable {
    package let directory: CoordinatorDirectory
    package var settings: CoordinatorSettings
    /// Where the first stores are; none for a folder in the directory.
    package var stores: [String]
    /// For those of them that are at S3 servers.
    package var storeAccess: S3Access?
    /// Where the private recovery key goes; nil for a file in the directory. It must be taken offline.
    package var recoveryKeyFile: String?

    private let clock: any WallClock
    private let random: RandomSource

    package init(
        directory: CoordinatorDirectory, settings: CoordinatorSettings, stores: [String] = [],
        storeAccess: S3Access? = nil, recoveryKeyFile: String? = nil, clock: some WallClock, random: RandomSource
    ) {
        (self.directory, self.settings) = (directory, settings)
        (self.stores, self.storeAccess) = (stores, storeAccess)
        (self.recoveryKeyFile, self.clock, self.random) = (recoveryKeyFile, clock, random)
    }

    /// What the caller has to tell or keep.
    package struct Outcome: Sendable {
        package let admin: AdminContext
        package let recoveryKeyFile: String
        package let storeURLs: [String]
        /// What the stores cannot be used for, one line each.
        package let shortfalls: [String]
    }

    /// Does it all; the settings come last, so that a directory that was left halfway does not start.
    package func run() async throws -> Outcome {
        try directory.makeEmpty()
        let now = clock.now()
        let authority = try Authority.make(random: random, now: now)
        let receiptKey = SigningKey(from: random)
        let recoveryKey = RecoveryKey(from: random)
        try PrivateFile.write(authority.keyPEM, to: directory.authorityKey)
        try PrivateFile.write(try authority.certificatePEM, to: directory.authority)
        try PrivateFile.write(Hex.encode(receiptKey.privateBytes) + "\n", to: directory.receiptKey)
        let recoveryPath = recoveryKeyFile ?? directory.recoveryKey
        try PrivateFile.write(Self.text(of: recoveryKey), to: recoveryPath)
        _ = try ServerIdentity.current(
            in: directory, settings: settings, authority: authority, random: random, now: now)

        let founding = StoreFounding(
            authority: authority, receiptKey: receiptKey, recoveryKeys: [recoveryKey.publicKey],
            epoch: Coordinator.firstEpoch, clock: Moment(at: now), random: random,
            reach: StoreReach(
                random: random,
                nodes: try NodeStoreAccess(
                    authority: authority, directory: directory, random: random, now: now, patience: Self.patience),
                s3: try S3StoreAccess(directory: directory, random: random, clock: clock, patience: Self.patience)))
        let proving = StoreProving(clock: clock, random: random)
        var made: [(name: String, founded: StoreFounding.Founded)] = []
        for (index, text) in (stores.isEmpty ? [directory.store] : stores).enumerated() {
            let name = Self.storeName(index)
            let known = made.map(\.founded.identity)
            let founded = try await founding.make(
                at: text, name: name, storeAccess,
                admit: { if known.contains($0) { throw CoordinatorSetupError.storeGivenTwice(url: text) } },
                prove: { try await proving.measureForReplicas($0, named: name) })
            made.append((name, founded))
        }
        for store in made { try await founding.keepSecrets(in: store.founded) }
        // SQLite gives -wal and -shm the mode of the file it finds, and an empty file is an empty database.
        try PrivateFile.write([], to: directory.catalog)
        let catalog = try Catalog(path: directory.catalog, names: .stored) { Coordinator.hash($0) }
        for (name, founded) in made {
            let entry = try await catalog.add(store: name, url: founded.url, identity: founded.identity, at: now)
            try await catalog.record(
                probe: StoreProving.record(of: founded.capabilities), ofStore: entry.number, at: now)
        }
        try await catalog.set(PinnedSetting.recoveryKeys, to: recoveryKey.publicKey.bytes)
        let admin = try await AdminIssue(authority: authority, settings: settings, random: random).make(
            catalog, now: now)
        try await catalog.audit(Catalog.AuditRow(actor: "init", action: "init", subject: directory.path, at: now))
        try await catalog.close()
        try PrivateFile.write(settings.yaml(), to: directory.settings)
        return Outcome(
            admin: admin, recoveryKeyFile: recoveryPath, storeURLs: made.map(\.founded.url),
            shortfalls: made.flatMap { name, founded in Self.shortfalls(of: founded.capabilities, name) })
    }

    private static func shortfalls(of capabilities: StoreCapabilities, _ store: String) -> [String] {
        StoreFeature.ofEveryStore.compactMap { feature -> String? in
            do throws(StoreCapabilityMissing) {
                try capabilities.require(feature, of: store)
                return nil
            } catch {
                return error.summary
            }
        }
    }

    /// How long a store's server may take to answer at all.
    private static let patience = Duration.seconds(10)

    /// What a store is called that nobody gave a name.
    static func storeName(_ index: Int) -> String { index == 0 ? "main" : "store\(index + 1)" }

    private static func text(of key: RecoveryKey) -> String {
        key.fileText(comments: [
            "Muster recovery key. Whoever has it can read every backup of this fleet.",
            "Without it nothing can be restored on another machine. Keep it offline, in two places,",
            "and remove it from this machine.",
        ])
    }
}

/// Makes an admin's certificate, and what the admin's commands are to know.
struct AdminIssue: Sendable {
    let authority: Authority
    let settings: CoordinatorSettings
    let random: RandomSource

    func make(
        _ catalog: Catalog, name: String = "admin", now: Timestamp, audit row: Catalog.AuditRow? = nil
    ) async throws -> AdminContext {
        let key = try Authority.drawKey(random)
        let issued = try authority.issueClient(
            publicKey: Certificate.PublicKey(key.publicKey), commonName: name, lifetime: Authority.adminLifetime,
            random: random, now: now)
        try await catalog.add(
            Catalog.Certificate(
                fingerprint: issued.fingerprint, role: .admin, node: nil, subject: name, issuedAt: now,
                notAfter: issued.notAfter), audit: row)
        return AdminContext(
            url: settings.url(port: settings.adminListen.port), authority: try authority.certificatePEM,
            certificate: issued.pem, privateKey: key.pemRepresentation)
    }
}
