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
    private struct Known {
        var entries: [CertificateFingerprint: Entry] = [:]
        /// Counts how often everything was forgotten: what was looked up before is not written down after.
        var forgotten = 0
    }

    private let known = Mutex(Known())

    /// Until when certificates were issued that this catalog may not know; nil where it was never rebuilt.
    private let rebuiltAt: Timestamp?

    init(catalog: Catalog, clock: any WallClock, rebuiltAt: Timestamp?) {
        (self.catalog, self.clock, self.rebuiltAt) = (catalog, clock, rebuiltAt)
    }

    /// - Returns: the caller, and the certificate that says so.
    func caller(on channel: any Channel) async throws -> (Caller, CertificateFingerprint?) {
        let certificate = try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate
        }.get()
        guard let certificate else { return (.anonymous, nil) }
        let bytes = try certificate.toDERBytes()
        let fingerprint: CertificateFingerprint = SHA256Hasher.hash(bytes)
        if let rebuiltAt, try await adopt(bytes, fingerprint, issuedUntil: rebuiltAt) { forget() }
        return (try await caller(of: fingerprint), fingerprint)
    }

    /// Takes up a node's certificate that the authority signed before the catalog was rebuilt and that is not in it.
    ///
    /// The authority's signature, which TLS has checked, says which node it is; one that is revoked stays so, as its
    /// node is not active, or its certificate is in the catalog.
    private func adopt(
        _ bytes: [UInt8], _ fingerprint: CertificateFingerprint, issuedUntil: Timestamp
    ) async throws -> Bool {
        let isCached = known.withLock { $0.entries[fingerprint] != nil }
        guard !isCached, try await catalog.certificate(fingerprint) == nil,
            // What does not read as one of ours is unknown, and refused as such.
            let claim = try? NodeClaim(certificate: bytes), claim.issuedAt <= issuedUntil,
            let node = try await catalog.node(claim.node), node.state == .active
        else { return false }
        try await catalog.restore(
            Catalog.Certificate(
                fingerprint: fingerprint, role: .node, node: claim.node, subject: claim.node.description,
                issuedAt: claim.issuedAt, notAfter: claim.notAfter),
            revokedAt: nil)
        return true
    }

    /// Forgets everything, so that a change in the catalog is felt at once.
    func forget() {
        known.withLock { known in
            known.entries.removeAll()
            known.forgotten += 1
        }
    }

    /// Whom a certificate that was proven before speaks for now.
    func caller(of fingerprint: CertificateFingerprint) async throws -> Caller {
        let now = clock.now()
        let (entry, forgotten) = known.withLock { ($0.entries[fingerprint], $0.forgotten) }
        if let entry, entry.lookedUpAt <= now,
            now < entry.lookedUpAt + Self.lifetime, now < entry.notAfter
        {
            return entry.caller
        }
        guard let certificate = try await catalog.certificate(fingerprint), !certificate.isRevoked,
            now < certificate.notAfter, let caller = try await caller(certificate)
        else {
            _ = known.withLock { $0.entries.removeValue(forKey: fingerprint) }
            throw Refusal.unknownCertificate
        }
        let isCurrent = known.withLock { known in
            guard known.forgotten == forgotten else { return false }
            if known.entries.count >= Self.maximumEntries { known.entries.removeAll() }
            known.entries[fingerprint] = Entry(caller: caller, notAfter: certificate.notAfter, lookedUpAt: now)
            return true
        }
        // Something has changed in between: a revocation, perhaps of this one.
        return isCurrent ? caller : try await self.caller(of: fingerprint)
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
