import Foundation
import GRDB
package import MusterModel

/// Who a certificate speaks for.
extension Catalog {
    package struct Certificate: Hashable, Sendable {
        package var fingerprint: CertificateFingerprint
        package var role: Role
        /// Set with `.node` only.
        package var node: NodeID?
        package var subject: String
        package var issuedAt: Timestamp
        package var notAfter: Timestamp
        package var isRevoked: Bool

        package init(
            fingerprint: CertificateFingerprint, role: Role, node: NodeID?, subject: String, issuedAt: Timestamp,
            notAfter: Timestamp
        ) {
            (self.fingerprint, self.role, self.node, self.subject) = (fingerprint, role, node, subject)
            (self.issuedAt, self.notAfter, isRevoked) = (issuedAt, notAfter, false)
        }
    }

    package func add(_ certificate: Certificate, audit row: AuditRow? = nil) async throws(CatalogError) {
        try await write(auditing: row) { try Self.insert(certificate, into: $0) }
    }

    package func certificate(_ fingerprint: CertificateFingerprint) async throws(CatalogError) -> Certificate? {
        try await read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT c.*, c.revoked_at IS NOT NULL OR n.state <> 'active' AS is_revoked
                    FROM certificate c LEFT JOIN node n ON n.id = c.node WHERE c.fingerprint = ?
                    """,
                arguments: [fingerprint.blob])
            guard let row else { return nil }
            var certificate = Certificate(
                fingerprint: fingerprint, role: try row.word("role"), node: try row.optionalIdentifier("node"),
                subject: row["subject"], issuedAt: row.time("issued_at"), notAfter: row.time("not_after"))
            certificate.isRevoked = row["is_revoked"] ?? false
            return certificate
        }
    }

    /// Certificates that a rebuild could not find out: those of people, and what was revoked before its end.
    package func certificatesToKeep(
        now: Timestamp
    ) async throws(CatalogError) -> [(certificate: Certificate, revokedAt: Timestamp?)] {
        try await read { database in
            try database.rows(
                """
                SELECT * FROM certificate WHERE not_after > ? AND (node IS NULL OR revoked_at IS NOT NULL)
                ORDER BY fingerprint
                """, [now.microseconds]
            ).map { row in
                let certificate = Certificate(
                    fingerprint: try row.digest("fingerprint"), role: try row.word("role"),
                    node: try row.optionalIdentifier("node"), subject: row["subject"],
                    issuedAt: row.time("issued_at"), notAfter: row.time("not_after"))
                return (certificate, row.optionalTime("revoked_at"))
            }
        }
    }

    package func revoke(_ fingerprint: CertificateFingerprint, at now: Timestamp) async throws(CatalogError) {
        try await write { database in
            try database.execute(
                sql: "UPDATE certificate SET revoked_at = ? WHERE fingerprint = ? AND revoked_at IS NULL",
                arguments: [now.microseconds, fingerprint.blob])
        }
    }

    package enum RenewalOutcome: Hashable, Sendable {
        case renewed
        /// That request was seen before, or the node is not active.
        case refused
        /// The node has had as many lately as one may have.
        case tooMany
    }

    /// So many certificates a node is given within `renewalWindow`: an answer that is lost takes one along, and the agent
    /// asks again with another key an hour later.
    package static let mostRenewals = 8
    package static let renewalWindow = Duration.seconds(30 * 86_400 / 8)
    /// Nobody is let in with a certificate that has ended; its row is left for a look for so long.
    private static let endedCertificateStays = Duration.seconds(30 * 86_400)
    private static let removedAtOnce = 100

    /// Registers a renewed certificate, once for each signed request, and removes old ones of that node.
    ///
    /// - Parameter expiresAt: when the signed request is too old to be accepted anyway.
    package func renew(
        _ certificate: Certificate, requestHash: [UInt8], now: Timestamp, expiresAt: Timestamp,
        audit row: AuditRow? = nil
    ) async throws(CatalogError) -> RenewalOutcome {
        try await write(auditing: row, if: { $0 == .renewed }) { database in
            // What the clock, set back since, calls the future counts for nothing.
            let recent: Int? = try database.value(
                "SELECT count(*) FROM certificate WHERE node = ? AND issued_at BETWEEN ? AND ?",
                [certificate.node?.blob, (now - Self.renewalWindow).microseconds, now.microseconds])
            guard recent ?? 0 < Self.mostRenewals else { return .tooMany }
            try database.execute(
                sql: "DELETE FROM spent_signature WHERE expires_at < ?", arguments: [now.microseconds])
            try database.execute(
                sql: "INSERT INTO spent_signature VALUES (?, ?) ON CONFLICT(hash) DO NOTHING",
                arguments: [Data(requestHash), expiresAt.microseconds])
            guard database.changesCount == 1 else { return .refused }
            let active = try Row.fetchOne(
                database, sql: "SELECT 1 FROM node WHERE id = ? AND state = 'active'",
                arguments: [certificate.node?.blob])
            guard active != nil else { return .refused }
            try database.run(
                """
                DELETE FROM certificate WHERE fingerprint IN
                    (SELECT fingerprint FROM certificate WHERE node = ? AND not_after < ? LIMIT ?)
                """,
                [certificate.node?.blob, (now - Self.endedCertificateStays).microseconds, Self.removedAtOnce])
            try Self.insert(certificate, into: database)
            return .renewed
        }
    }

    static func insert(_ certificate: Certificate, into database: GRDB.Database) throws {
        try database.execute(
            sql: """
                INSERT INTO certificate(fingerprint, role, node, subject, issued_at, not_after)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                certificate.fingerprint.blob, certificate.role.rawValue, certificate.node?.blob, certificate.subject,
                certificate.issuedAt.microseconds, certificate.notAfter.microseconds,
            ])
    }
}
