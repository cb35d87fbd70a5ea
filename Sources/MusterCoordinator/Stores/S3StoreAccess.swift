import Crypto
import Foundation
import MusterFormat
import MusterModel
import MusterStore
import MusterTransfer

/// What the coordinator uses stores at S3 servers with.
///
/// Credentials are in files of mode 0600 in the coordinator's directory, one for each address, and in the fleet's state,
/// which is sealed to the recovery keys; never in the catalog, an answer, a log or the audit. A file is read whenever
/// its store is opened: new credentials are written into it.
struct S3StoreAccess: Sendable {
    private struct Record: Codable {
        /// For people.
        let url: String
        let access: S3Access
    }

    private let directory: CoordinatorDirectory
    private let random: RandomSource
    private let clock: any WallClock
    private let patience: Duration

    /// - Parameter patience: how long a server may take to answer at all.
    init(
        directory: CoordinatorDirectory, random: RandomSource, clock: any WallClock, patience: Duration
    ) throws(CoordinatorSetupError) {
        (self.directory, self.random) = (directory, random)
        (self.clock, self.patience) = (clock, patience)
        try PrivateFile.makeDirectory(directory.spool)
    }

    func open(_ address: S3Address, name: String) async throws(StoreError) -> S3Store {
        let access = try access(to: address, of: name)
        return try await S3Store.open(at: address, name: name, setup(access, spool: directory.spool))
    }

    /// Makes a store where there is none; its credentials are kept once it is made.
    func make(_ address: S3Address, name: String, _ access: S3Access) async throws -> S3Store {
        let store = try await S3Store.create(
            at: address, name: name, setup(access, spool: directory.spool), random: random, now: clock.now())
        try keep(access, for: address)
        return store
    }

    func keep(_ access: S3Access, for address: S3Address) throws {
        try PrivateFile.makeDirectory(directory.credentials)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let record = Record(url: address.description, access: access)
        try PrivateFile.write(Array(try encoder.encode(record)), to: path(of: address))
    }

    /// - Returns: nil where there are none that can be read.
    func kept(for address: S3Address) -> S3Access? {
        // Whoever needs them says which file cannot be read.
        guard let text = try? PrivateFile.readText(path(of: address)) else { return nil }
        // As above.
        return try? JSONDecoder().decode(Record.self, from: Data(text.utf8)).access
    }

    private func access(to address: S3Address, of store: String) throws(StoreError) -> S3Access {
        guard let access = kept(for: address) else {
            throw .unavailable(store: store, reason: "its credentials cannot be read from \(path(of: address))")
        }
        return access
    }

    private func path(of address: S3Address) -> String {
        let hash = SHA256.hash(data: Array(address.description.utf8))
        return directory.credentials + "/" + Hex.encode(hash).prefix(32) + ".json"
    }

    private func setup(_ access: S3Access, spool: String?) -> S3Store.Setup {
        Self.setup(access, spool: spool, random: random, clock: clock, patience: patience)
    }

    static func setup(
        _ access: S3Access, spool: String?, random: RandomSource, clock: any WallClock, patience: Duration
    ) -> S3Store.Setup {
        var settings = HTTPClient.Settings()
        // Others wait meanwhile, and there are other stores.
        settings.connectTimeout = patience
        return S3Store.Setup(
            access: access, spool: spool,
            retry: StoreRetry(random: random, clock: ContinuousClock(), stallTimeout: max(patience, .seconds(60))),
            clock: clock, settings: settings)
    }
}
