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
        try await post("/v1/fleet-snapshots", request, timeout: .seconds(120), repeatable: false)
    }

    package func fleetSnapshots() async throws(CoordinatorError) -> Muster_V1_FleetSnapshotList {
        try await get("/v1/fleet-snapshots")
    }

    package func fleetSnapshot(_ name: String) async throws(CoordinatorError) -> Muster_V1_FleetSnapshot {
        try await get("/v1/fleet-snapshots/\(escaped(name))")
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
