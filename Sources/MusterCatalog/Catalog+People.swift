import GRDB
package import MusterModel

/// People and their programs: who has a certificate for the admin plane.
extension Catalog {
    package enum PersonOutcome: Sendable {
        case done
        /// Somebody has a good certificate under that name.
        case nameTaken
        case unknown
        /// Nobody else could change anything afterwards.
        case lastAdmin
    }

    /// Certificates of people, by name and age; those that ended more than a year ago are left out.
    package func people(
        now: Timestamp
    ) async throws(CatalogError) -> [(certificate: Certificate, revokedAt: Timestamp?)] {
        try await read { database in
            try database.rows(
                "SELECT * FROM certificate WHERE node IS NULL AND not_after > ? ORDER BY subject, issued_at",
                [(now - .seconds(366 * 86_400)).microseconds]
            ).map { (try Self.person($0), $0.optionalTime("revoked_at")) }
        }
    }

    /// Good certificates of people that end by then, the first to end first.
    package func peopleRunningOut(
        now: Timestamp, by limit: Timestamp, atMost count: Int = 1000
    ) async throws(CatalogError) -> [Certificate] {
        try await read { database in
            try database.rows(
                """
                SELECT * FROM certificate WHERE node IS NULL AND \(Self.good) AND not_after <= ?
                    AND NOT EXISTS (SELECT 1 FROM certificate l WHERE l.node IS NULL AND l.subject = certificate.subject
                        AND l.role = certificate.role AND l.revoked_at IS NULL AND l.not_after > certificate.not_after)
                ORDER BY not_after, subject LIMIT ?
                """, [now.microseconds, limit.microseconds, count]
            ).map(Self.person)
        }
    }

    /// - Returns: `.done` or `.nameTaken`.
    package func add(
        person certificate: Certificate, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> PersonOutcome {
        try await write(auditing: row, if: { $0 == .done }) { database in
            let taken = try database.row(
                "SELECT 1 FROM certificate WHERE node IS NULL AND subject = ? AND \(Self.good)",
                [certificate.subject, now.microseconds])
            guard taken == nil else { return .nameTaken }
            try Self.insert(certificate, into: database)
            return .done
        }
    }

    /// Every certificate under that name stops counting.
    package func revoke(
        person name: String, at now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> PersonOutcome {
        try await write(auditing: row, if: { $0 == .done }) { database in
            let roles = try database.rows(
                "SELECT role FROM certificate WHERE node IS NULL AND subject = ? AND \(Self.good)",
                [name, now.microseconds]
            ).map { try $0.word("role") as Role }
            guard !roles.isEmpty else { return .unknown }
            let others = try database.row(
                "SELECT 1 FROM certificate WHERE node IS NULL AND subject <> ? AND \(Self.good) AND role = 'admin'",
                [name, now.microseconds])
            guard others != nil || !roles.contains(.admin) else { return .lastAdmin }
            try database.run(
                "UPDATE certificate SET revoked_at = ? WHERE node IS NULL AND subject = ? AND revoked_at IS NULL",
                [now.microseconds, name])
            return .done
        }
    }

    private static func person(_ row: Row) throws -> Certificate {
        Certificate(
            fingerprint: try row.digest("fingerprint"), role: try row.word("role"), node: nil, subject: row["subject"],
            issuedAt: row.time("issued_at"), notAfter: row.time("not_after"))
    }

    private static let good = "revoked_at IS NULL AND not_after > ?"
}
