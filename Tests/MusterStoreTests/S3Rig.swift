import Foundation
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

/// A place of a test's own in a bucket.
final class S3Rig {
    private static let random = RandomSource.seeded(4)

    let spool: TemporaryDirectory
    private let address: S3Address
    private let authority: String?
    var credentials: S3Credentials
    var clock: any WallClock = RealClock()
    var partBytes = S3Store.partBytes

    init(
        _ server: S3Server, style: S3Address.Style = .path, authority: String? = nil, at address: S3Address? = nil
    ) throws {
        spool = try TemporaryDirectory()
        self.authority = authority
        credentials = try server.credentials()
        self.address = try address ?? server.address("test-\(UUID().uuidString)", style: style)
    }

    private var setup: S3Store.Setup {
        var settings = HTTPClient.Settings()
        // A machine that runs all tests at once may keep the server from a handshake for long.
        settings.connectTimeout = .seconds(100)
        return S3Store.Setup(
            access: S3Access(credentials: credentials, authority: authority), spool: spool.path,
            retry: StoreRetry(
                policy: RetryPolicy(maximumAttempts: 4, firstDelay: .milliseconds(1)), random: Self.random,
                clock: ContinuousClock()),
            clock: clock, settings: settings, partBytes: partBytes)
    }

    func create() async throws -> S3Store {
        try await S3Store.create(at: address, name: "s3", setup, random: Self.random, now: clock.now())
    }

    func open() async throws -> S3Store { try await S3Store.open(at: address, name: "s3", setup) }

    func connection(to port: Int, bucket: String = "muster") throws -> S3Connection {
        let address = try S3Server.address(address.prefix, endpoint: "http://127.0.0.1:\(port)", bucket: bucket)
        return try S3Connection(
            store: "s3", address: address, access: S3Access(credentials: credentials), retry: setup.retry,
            clock: clock, settings: setup.settings)
    }

    func behind(_ port: Int) throws -> S3Store {
        S3Store(
            name: "s3", id: StoreID(from: Self.random), connection: try connection(to: port),
            spool: try SpoolFolder(path: spool.path, storeName: "s3", random: Self.random), partBytes: partBytes)
    }

    func name(_ seed: UInt64) throws -> ObjectName {
        let random = RandomSource.seeded(seed)
        return .pack(try #require(PackID(bytes: random.bytes(32))), Generation(from: random))
    }
}

struct RealClock: WallClock {
    func now() -> Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
}
