package import MusterModel

/// The admin plane.
extension CoordinatorClient {
    package func invite(_ nodeName: String) async throws(CoordinatorError) -> Muster_V1_TokenResponse {
        var request = Muster_V1_TokenRequest()
        request.nodeName = nodeName
        return try await post("/v1/tokens", request, repeatable: false)
    }

    /// A page of the nodes.
    ///
    /// - Parameter after: `next` of the page before.
    package func nodes(after: String = "", limit: Int) async throws(CoordinatorError) -> Muster_V1_NodeList {
        try await get("/v1/nodes", [("after", after), ("limit", String(limit))])
    }

    /// The fleet's nodes, page after page.
    ///
    /// - Parameter limit: of those that are given; nil for all.
    package func nodes(upTo limit: Int? = nil) async throws(CoordinatorError) -> [Muster_V1_Node] {
        var (nodes, after): ([Muster_V1_Node], String) = ([], "")
        repeat {
            let page = try await self.nodes(after: after, limit: Self.pageRows(limit, nodes.count))
            nodes += page.nodes
            after = page.next
        } while !after.isEmpty && nodes.count < limit ?? .max
        return Array(nodes.prefix(limit ?? .max))
    }

    private static func pageRows(_ limit: Int?, _ have: Int) -> Int { min(1000, (limit ?? .max) - have) }

    /// - Parameter node: a name or an id.
    package func node(_ node: String) async throws(CoordinatorError) -> Muster_V1_Node {
        try await get("/v1/nodes/\(escaped(node))")
    }

    /// A page of the databases.
    ///
    /// - Parameter after: `next` of the page before.
    package func databases(
        node: String, after: String, limit: Int
    ) async throws(CoordinatorError) -> Muster_V1_DatabaseList {
        try await get("/v1/databases", [("node", node), ("after", after), ("limit", String(limit))])
    }

    /// The databases of a node or of the fleet, page after page.
    ///
    /// - Parameters:
    ///   - node: a name or an id; "" for all.
    ///   - after: the id of the last one that is known already.
    ///   - limit: of those that are given; nil for all.
    package func databases(
        node: String = "", after: String = "", upTo limit: Int? = nil
    ) async throws(CoordinatorError) -> [Muster_V1_Database] {
        var (databases, after): ([Muster_V1_Database], String) = ([], after)
        repeat {
            let page = try await self.databases(
                node: node, after: after, limit: Self.pageRows(limit, databases.count))
            databases += page.databases
            after = page.next
        } while !after.isEmpty && databases.count < limit ?? .max
        return Array(databases.prefix(limit ?? .max))
    }

    /// One job for each database that matches.
    package func createSnapshots(
        _ request: Muster_V1_SnapshotCreateRequest
    ) async throws(CoordinatorError) -> Muster_V1_JobList {
        try await post("/v1/snapshots", request, repeatable: false)
    }

    /// Answers when the job has ended, or is as it is after so many seconds, at most 30.
    package func job(_ id: String, waitingSeconds: Int = 0) async throws(CoordinatorError) -> Muster_V1_Job {
        try await get(
            "/v1/jobs/\(escaped(id))", waitingSeconds > 0 ? [("wait", String(min(30, waitingSeconds)))] : [])
    }

    /// Measures what the store promises; takes as long as a few MiB and some hundred requests take there.
    package func probe(store: String) async throws(CoordinatorError) -> Muster_V1_StoreProbe {
        try await post(
            "/v1/stores/\(escaped(store))/probe", Muster_V1_StoreChangeRequest(), timeout: .seconds(600),
            repeatable: false)
    }

    package func lastProbe(ofStore store: String) async throws(CoordinatorError) -> Muster_V1_StoreProbe {
        try await get("/v1/stores/\(escaped(store))/probe")
    }

    /// Begins a check of all that should be in the store, or gives the one under way.
    package func check(
        store: String, level: VerificationLevel
    ) async throws(CoordinatorError) -> Muster_V1_StoreCheck {
        var request = Muster_V1_StoreCheckRequest()
        request.level = level.rawValue
        return try await post("/v1/stores/\(escaped(store))/check", request)
    }

    package func lastCheck(ofStore store: String) async throws(CoordinatorError) -> Muster_V1_StoreCheck {
        try await get("/v1/stores/\(escaped(store))/check")
    }

    package func repair(store: String) async throws(CoordinatorError) -> Muster_V1_StoreRepair {
        try await post("/v1/stores/\(escaped(store))/repair", Muster_V1_StoreChangeRequest(), timeout: .seconds(300))
    }

    package func repairs(ofStore store: String) async throws(CoordinatorError) -> Muster_V1_StoreRepair {
        try await get("/v1/stores/\(escaped(store))/repair")
    }

    package func stores() async throws(CoordinatorError) -> Muster_V1_StoreList { try await get("/v1/stores") }

    package func add(store request: Muster_V1_StoreAddRequest) async throws(CoordinatorError) -> Muster_V1_StoreList {
        try await post("/v1/stores", request, timeout: .seconds(600), repeatable: false)
    }

    /// - Parameter placement: "active", "draining" or "lost".
    package func change(
        store: String, to placement: String
    ) async throws(CoordinatorError) -> Muster_V1_StoreList {
        var request = Muster_V1_StoreChangeRequest()
        request.placement = placement
        return try await post("/v1/stores/\(escaped(store))", request)
    }

    /// A link that signs a browser in once.
    package func openDashboard() async throws(CoordinatorError) -> Muster_V1_DashboardLink {
        try await post("/v1/dashboard", Muster_V1_DashboardLink(), repeatable: false)
    }

    /// - Parameter limit: of the databases and of the nodes that it names.
    package func status(limit: Int = 1000) async throws(CoordinatorError) -> Muster_V1_Status {
        try await get("/v1/status", [("limit", String(limit))])
    }
}
