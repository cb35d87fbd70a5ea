import Foundation
import MusterModel
package import MusterStore
import MusterTransfer
import Synchronization

/// A real S3 server on this machine with one bucket; it ends with its last reference, or with the test program.
package final class S3Server: Sendable {
    package enum Kind: String, Sendable {
        case seaweed = "weed"
        case rclone
    }

    package struct Failure: Error { package let text: String }

    package let port: Int
    package let credentialsFile: String
    private let scheme: String
    private let folder: TemporaryDirectory
    private let process: Mutex<ChildProcess>

    /// One for all tests that only need a bucket: each uses a prefix of its own.
    package static let seaweed = Result { try S3Server(.seaweed) }
    package static let rclone = Result { try S3Server(.rclone) }

    /// Blocks until it answers.
    ///
    /// - Parameter tls: paths of a certificate and its key in PEM; nil for plain HTTP.
    package init(_ kind: Kind, tls: (certificate: String, key: String)? = nil) throws {
        folder = try TemporaryDirectory()
        scheme = tls == nil ? "http" : "https"
        credentialsFile = folder.file("server/credentials")
        let script = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../deploy/try.d/s3-server").standardizedFileURL.path(percentEncoded: false)
        let child = try ChildProcess(
            script,
            [kind.rawValue, folder.file("server"), "0", "muster"] + (tls.map { [$0.certificate, $0.key] } ?? []),
            takesInput: true, output: .reader)
        // A machine that runs all tests at once may keep it for long.
        let line = try child.readLine(within: .seconds(240)) ?? ""
        guard line.hasPrefix("ready "), let port = Int(line.dropFirst("ready ".count)) else {
            throw Failure(text: "no S3 server: '\(line)'; are deploy/install-test-servers and its programs there?")
        }
        self.port = port
        process = Mutex(child)
    }

    deinit {
        process.withLock { process in
            process.closeInput()
            // It is killed either way; this only waits until it is gone.
            _ = try? process.end()
        }
    }

    /// - Parameter prefix: a test's own.
    package func address(_ prefix: String, style: S3Address.Style = .path) throws -> S3Address {
        let host = style == .path ? "127.0.0.1" : "localhost"
        return try Self.address(prefix, endpoint: "\(scheme)://\(host):\(port)", style: style)
    }

    /// - Parameter endpoint: of the server, or of what stands before it.
    package static func address(
        _ prefix: String, endpoint: String, style: S3Address.Style = .path, bucket: String = "muster"
    ) throws -> S3Address {
        let text = "s3://\(bucket)/\(prefix)?endpoint=\(endpoint)&style=\(style.rawValue)"
        guard let address = S3Address(text) else { throw Failure(text: "'\(text)' is no address") }
        return address
    }

    package func credentials() throws -> S3Credentials {
        guard let found = S3Credentials(fileText: try String(contentsOfFile: credentialsFile, encoding: .utf8)) else {
            throw Failure(text: "no credentials in \(credentialsFile)")
        }
        return found
    }

    /// The names of the packs of a store that is there.
    package func packs(of address: S3Address) async throws -> Set<ObjectName> {
        var settings = HTTPClient.Settings()
        // A machine that runs all tests at once may keep the server from a connection for long.
        settings.connectTimeout = .seconds(100)
        let store = try await S3Store.open(
            at: address, name: "bucket",
            S3Store.Setup(
                access: S3Access(credentials: try credentials()), spool: nil,
                retry: StoreRetry(random: .seeded(1), clock: ContinuousClock()), clock: RealClock(),
                settings: settings))
        return Set(try await store.objects(.packs, maximumCount: 1000).map(\.name))
    }

    private struct RealClock: WallClock {
        func now() -> Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
    }
}
