/// Who is in the fleet, and who may reach it: the admin plane's routes for it.
extension CoordinatorClient {
    package func retire(node: String) async throws(CoordinatorError) -> Muster_V1_NodeEnded {
        try await post("/v1/nodes/\(escaped(node))/retire", Muster_V1_NodeEndRequest(), repeatable: false)
    }

    package func revoke(node: String) async throws(CoordinatorError) -> Muster_V1_NodeEnded {
        try await post("/v1/nodes/\(escaped(node))/revoke", Muster_V1_NodeEndRequest(), repeatable: false)
    }

    package func create(
        fleetSnapshot request: Muster_V1_FleetSnapshotRequest
    ) async throws(CoordinatorError) -> Muster_V1_FleetSnapshot {
        try await whole(try await post("/v1/fleet-snapshots", request, timeout: .seconds(120), repeatable: false))
    }

    package func fleetSnapshots() async throws(CoordinatorError) -> Muster_V1_FleetSnapshotList {
        try await get("/v1/fleet-snapshots")
    }

    package func fleetSnapshot(_ name: String) async throws(CoordinatorError) -> Muster_V1_FleetSnapshot {
        try await whole(try await get(Self.path(ofFleetSnapshot: escaped(name))))
    }

    private static func path(ofFleetSnapshot name: String) -> String { "/v1/fleet-snapshots/\(name)" }

    /// Fetches the pages of items that come after the first one, and puts all in the order of their names.
    private func whole(_ first: Muster_V1_FleetSnapshot) async throws(CoordinatorError) -> Muster_V1_FleetSnapshot {
        let path = Self.path(ofFleetSnapshot: escaped(first.name))
        var fleet = first
        while !fleet.nextItem.isEmpty {
            var page: Muster_V1_FleetSnapshot = try await get(path, [("items_after", fleet.nextItem)])
            // So it ends, whatever the other side answers.
            guard page.nextItem.isEmpty || page.nextItem > fleet.nextItem else {
                throw .unreadable(path: path, reason: "its pages go in a circle")
            }
            page.items = fleet.items + page.items
            fleet = page
        }
        fleet.items.sort { ($0.node, $0.database, $0.databaseID) < ($1.node, $1.database, $1.databaseID) }
        return fleet
    }

    package func forget(fleetSnapshot name: String) async throws(CoordinatorError) -> Muster_V1_FleetSnapshotForgotten {
        try await post(
            "/v1/fleet-snapshots/\(escaped(name))/forget", Muster_V1_NodeEndRequest(), repeatable: false)
    }

    package func people() async throws(CoordinatorError) -> Muster_V1_PersonList { try await get("/v1/people") }

    package func add(
        person request: Muster_V1_PersonRequest
    ) async throws(CoordinatorError) -> Muster_V1_PersonAdded {
        try await post("/v1/people", request, repeatable: false)
    }

    package func revoke(person: String) async throws(CoordinatorError) -> Muster_V1_PersonList {
        try await post("/v1/people/\(escaped(person))/revoke", Muster_V1_NodeEndRequest(), repeatable: false)
    }
}
