/// The audit: the admin plane's routes for it.
extension CoordinatorClient {
    /// - Parameters:
    ///   - since: RFC 3339; "" for the beginning.
    ///   - before: a row's number; 0 for the end.
    package func audit(
        since: String, actor: String, before: UInt64, limit: Int
    ) async throws(CoordinatorError) -> Muster_V1_AuditList {
        try await get(
            "/v1/audit",
            [
                ("since", since), ("actor", actor), ("before", before == 0 ? "" : String(before)),
                ("limit", String(limit)),
            ])
    }

    /// - Parameter row: whose hash is wanted; 0 for none.
    package func auditCheck(row: UInt64) async throws(CoordinatorError) -> Muster_V1_AuditCheck {
        try await get("/v1/audit/check", [("row", row == 0 ? "" : String(row))])
    }
}
