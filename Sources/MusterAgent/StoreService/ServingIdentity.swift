import Crypto
import Logging
import MusterModel
import NIOCore
import NIOSSL
import SwiftASN1
import Synchronization
import X509

/// The node's certificate and key as a server's, read anew when a renewal has written others.
final class ServingIdentity: Sendable {
    private struct Pair {
        let certificatePEM: String
        let chain: [NIOSSLCertificateSource]
        let key: NIOSSLPrivateKeySource
    }

    private let directory: AgentDirectory
    private let authority: [NIOSSLCertificate]
    private let pair: Mutex<Pair>

    init(directory: AgentDirectory) throws {
        self.directory = directory
        authority = try NIOSSLCertificate.fromPEMBytes(
            Array(try PrivateFile.text(at: directory.authorityFile).utf8))
        pair = Mutex(try Self.read(directory))
    }

    /// TLS 1.3 only, and only with a certificate of this fleet.
    var configuration: TLSConfiguration {
        let first = pair.withLock { $0 }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: first.chain, privateKey: first.key)
        configuration.minimumTLSVersion = .tlsv13
        configuration.trustRoots = .certificates(authority)
        // The peer's certificate is required; what it may do is asked of each request.
        configuration.certificateVerification = .noHostnameVerification
        configuration.sslContextCallback = { [self] _, promise in
            var override = NIOSSLContextConfigurationOverride()
            let current = pair.withLock { $0 }
            (override.certificateChain, override.privateKey) = (current.chain, current.key)
            promise.succeed(override)
        }
        return configuration
    }

    /// Takes up what is in the files; keeps what it has where that is no pair, as in the middle of a renewal.
    func reload(logger: Logger) {
        do {
            let read = try Self.read(directory)
            let isNew = pair.withLock { pair in
                defer { pair = read }
                return pair.certificatePEM != read.certificatePEM
            }
            if isNew { logger.info("certificate taken up") }
        } catch {
            logger.warning("certificate not taken up", metadata: ["reason": "\(error)"])
        }
    }

    private static func read(_ directory: AgentDirectory) throws -> Pair {
        let certificatePEM = try PrivateFile.text(at: directory.certificateFile)
        let keyPEM = try PrivateFile.text(at: directory.certificateKeyFile)
        let key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
        guard try Certificate(pemEncoded: certificatePEM).publicKey == Certificate.PublicKey(key.publicKey) else {
            throw AgentDirectoryError.damagedFile(directory.certificateKeyFile)
        }
        return Pair(
            certificatePEM: certificatePEM,
            chain: try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)).map { .certificate($0) },
            key: .privateKey(try NIOSSLPrivateKey(bytes: Array(keyPEM.utf8), format: .pem)))
    }
}
