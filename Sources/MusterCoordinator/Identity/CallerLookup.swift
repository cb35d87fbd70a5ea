import MusterCatalog
import MusterFormat
import MusterModel
import NIOCore
import NIOSSL
import Synchronization

/// Turns a connection's certificate into a caller.
///
/// TLS has proven that our authority signed the certificate and that the peer
/// holds its key. Who that is, and whether it still counts, only the catalog knows.
final class CallerLookup: Sendable {
    /// Far below the minute within which a revocation must be felt.
    private static let lifetime = Duration.seconds(20)
    private static let maximumEntries = 20_000

    private struct Entry {
        let caller: Caller
        let notAfter: Timestamp
        let lookedUpAt: Timestamp
    }

    private let catalog: Catalog
    private let clock: any WallClock
    private let known = Mutex<[CertificateFingerprint: Entry]>([:])

    init(catalog: Catalog, clock: any WallClock) { (self.catalog, self.clock) = (catalog, clock) }

    func caller(on channel: any Channel) async throws -> Caller {
        let certificate = try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate
        }.get()
        guard let certificate else { return .anonymous }
        return try await caller(SHA256Hasher.hash(try certificate.toDERBytes()))
    }

    /// Forgets everything, so that a change in the catalog is felt at once.
    func forget() { known.withLock { $0.removeAll() } }

    private func caller(_ fingerprint: CertificateFingerprint) async throws -> Caller {
        let now = clock.now()
        if let entry = known.withLock({ $0[fingerprint] }), entry.lookedUpAt <= now,
            now < entry.lookedUpAt + Self.lifetime, now < entry.notAfter
        {
            return entry.caller
        }
        guard let certificate = try await catalog.certificate(fingerprint), !certificate.isRevoked,
            now < certificate.notAfter, let caller = try await caller(certificate)
        else {
            _ = known.withLock { $0.removeValue(forKey: fingerprint) }
            throw Refusal.unknownCertificate
        }
        known.withLock { known in
            if known.count >= Self.maximumEntries { known.removeAll() }
            known[fingerprint] = Entry(caller: caller, notAfter: certificate.notAfter, lookedUpAt: now)
        }
        return caller
    }

    private func caller(_ certificate: Catalog.Certificate) async throws -> Caller? {
        switch (certificate.role, certificate.node) {
        case (.node, let id?): try await catalog.node(id).map { .node($0.id, $0.scope, name: $0.name) }
        case (.viewer, nil), (.operator, nil), (.admin, nil):
            .person(certificate.role, subject: certificate.subject)
        default: nil
        }
    }
}
