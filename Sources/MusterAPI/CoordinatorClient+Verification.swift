package import MusterModel

/// Inspections: the admin plane's routes for them.
extension CoordinatorClient {
    /// Begins a run.
    package func verify(
        _ request: Muster_V1_VerificationRequest
    ) async throws(CoordinatorError) -> Muster_V1_Verification {
        try await post("/v1/verifications", request, timeout: .seconds(300), repeatable: false)
    }

    package func verify(
        _ snapshots: [String], level: VerificationLevel
    ) async throws(CoordinatorError) -> Muster_V1_Verification {
        var request = Muster_V1_VerificationRequest()
        request.snapshotIds = snapshots
        request.level = level.rawValue
        return try await verify(request)
    }

    /// - Parameter findingsAfter: `nextFinding` of the answer before.
    package func verification(
        _ run: String, findingsAfter: UInt64 = 0
    ) async throws(CoordinatorError) -> Muster_V1_Verification {
        try await get(
            "/v1/verifications/\(escaped(run))", [("findings_after", findingsAfter == 0 ? "" : String(findingsAfter))])
    }

    package func verifications(
        limit: Int, after: String = ""
    ) async throws(CoordinatorError) -> Muster_V1_VerificationList {
        try await get("/v1/verifications", [("limit", String(limit)), ("after", after)])
    }

    package func verificationNodes(
        _ run: String, limit: Int, after: String = ""
    ) async throws(CoordinatorError) -> Muster_V1_VerificationNodeList {
        try await get("/v1/verifications/\(escaped(run))/nodes", [("limit", String(limit)), ("after", after)])
    }

    package func verificationItems(
        _ run: String, node: String = "", state: String = "", limit: Int, after: String = ""
    ) async throws(CoordinatorError) -> Muster_V1_VerificationItemList {
        try await get(
            "/v1/verifications/\(escaped(run))/items",
            [("node", node), ("state", state), ("limit", String(limit)), ("after", after)])
    }

    /// The newest first.
    ///
    /// - Parameters:
    ///   - name: a name or an id.
    ///   - node: the same, where several nodes have a database of that name; "" for any.
    package func drills(
        ofDatabase name: String, node: String = "", limit: Int
    ) async throws(CoordinatorError) -> Muster_V1_DrillList {
        let query = [("limit", String(limit))] + (node.isEmpty ? [] : [("node", node)])
        return try await get("/v1/databases/\(escaped(name))/drills", query)
    }

    package func coverage() async throws(CoordinatorError) -> Muster_V1_Coverage { try await get("/v1/coverage") }
}
