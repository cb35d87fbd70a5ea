import Foundation
package import HTTPTypes
package import MusterModel

/// One of the three listeners.
package enum Plane: String, Sendable, CaseIterable {
    /// What agents reach: they add, and read their own. It has no verb that deletes.
    case agent
    /// What people and their programs reach; every connection has a certificate.
    case admin
    /// What people reach with a browser; a session that the admin plane opened says who they are.
    case dashboard
}

/// What a request can ask for.
package enum Route: String, Sendable, CaseIterable {
    case join, renew, sendKeys
    case missingChunks, putPack, grantUploads, claimPack, commitSnapshot, report, work, finishJob
    case restore, grantRestore, showRestore, cancelRestore, restoreProgress
    case listSnapshots, showSnapshot, readManifest, readPack, readKeys
    case invite, listNodes, showNode, listDatabases, createSnapshots, showJob, verify, showVerification, status
    case listVerifications, listVerificationNodes, listVerificationItems, listDrills, showCoverage
    case showCollection, runCollection
    case showRetention, setRetention, previewRetention, applyRetention, undoRetention
    case holdSnapshots, releaseSnapshots, forgetSnapshots, clearAlarms
    case createFleetSnapshot, listFleetSnapshots, showFleetSnapshot, forgetFleetSnapshot
    case retireNode, revokeNode, listPeople, addPerson, revokePerson
    case listStores, addStore, changeStore, probeStore, showProbe
    case checkStore, showStoreCheck, repairStore, showStoreRepair
    case metrics, listAudit, verifyAudit
    case openDashboard, enterDashboard, signIn, leaveDashboard, dashboardAsset
    case fleetPage, nodesPage, nodePage, databasePage, snapshotPage, runsPage, runPage, storesPage, alarmsPage
    case jobsPage, auditPage, fleetSnapshotsPage, fleetSnapshotPage, snapshotFromPage, verifyFromPage
}

/// Who may do what: the only place that says so, and what the planes' routes are made from.
///
/// What is not in it does not exist. `AuthorisationTests` goes over every cell
/// against a running server.
package struct RouteRule: Sendable {
    package let route: Route
    package let plane: Plane
    package let method: HTTPRequest.Method
    /// Segments between slashes; `*` stands for one of the caller's choice.
    package let path: String
    package let roles: Set<Role>
    /// The most bytes of body that are read.
    package let bodyLimit: Int

    private init(
        _ plane: Plane, _ method: HTTPRequest.Method, _ path: String, _ route: Route, _ roles: Set<Role>,
        bodyLimit: Int = 64 << 10
    ) {
        (self.plane, self.method, self.path, self.route) = (plane, method, path, route)
        (self.roles, self.bodyLimit) = (roles, bodyLimit)
    }

    private static let lookers: Set<Role> = [.viewer, .operator, .admin]
    private static let operators: Set<Role> = [.operator, .admin]

    package static let all: [RouteRule] = [
        RouteRule(.agent, .post, "/v1/join", .join, [.anonymous]),
        RouteRule(.agent, .post, "/v1/renew", .renew, [.anonymous, .node]),
        RouteRule(.agent, .post, "/v1/keys", .sendKeys, [.node]),
        RouteRule(.agent, .post, "/v1/chunks/missing", .missingChunks, [.node], bodyLimit: 512 << 10),
        RouteRule(.agent, .put, "/v1/packs/*", .putPack, [.node], bodyLimit: 64 << 20),
        RouteRule(.agent, .post, "/v1/uploads", .grantUploads, [.node]),
        RouteRule(.agent, .post, "/v1/packs/*/claim", .claimPack, [.node]),
        RouteRule(.agent, .post, "/v1/snapshots", .commitSnapshot, [.node], bodyLimit: 66 << 20),
        RouteRule(.agent, .post, "/v1/report", .report, [.node], bodyLimit: 16 << 20),
        RouteRule(.agent, .post, "/v1/work", .work, [.node]),
        RouteRule(.agent, .post, "/v1/jobs/*/outcome", .finishJob, [.node], bodyLimit: 1 << 20),
        RouteRule(.agent, .post, "/v1/jobs/*/progress", .restoreProgress, [.node]),
        RouteRule(.agent, .get, "/v1/snapshots", .listSnapshots, [.node]),
        RouteRule(.agent, .get, "/v1/snapshots/*", .showSnapshot, [.node]),
        RouteRule(.agent, .get, "/v1/snapshots/*/manifest", .readManifest, [.node]),
        RouteRule(.agent, .get, "/v1/packs/*", .readPack, [.node]),
        RouteRule(.agent, .get, "/v1/nodes/*/keys", .readKeys, [.node]),

        RouteRule(.admin, .get, "/v1/status", .status, lookers),
        RouteRule(.admin, .get, "/metrics", .metrics, lookers),
        RouteRule(.admin, .get, "/v1/audit", .listAudit, lookers),
        RouteRule(.admin, .get, "/v1/audit/check", .verifyAudit, lookers),
        RouteRule(.admin, .get, "/v1/stores", .listStores, lookers),
        RouteRule(.admin, .get, "/v1/nodes", .listNodes, lookers),
        RouteRule(.admin, .get, "/v1/nodes/*", .showNode, lookers),
        RouteRule(.admin, .get, "/v1/databases", .listDatabases, lookers),
        RouteRule(.admin, .get, "/v1/snapshots", .listSnapshots, lookers),
        RouteRule(.admin, .get, "/v1/snapshots/*", .showSnapshot, lookers),
        RouteRule(.admin, .get, "/v1/jobs/*", .showJob, lookers),
        RouteRule(.admin, .get, "/v1/verifications", .listVerifications, lookers),
        RouteRule(.admin, .get, "/v1/verifications/*", .showVerification, lookers),
        RouteRule(.admin, .get, "/v1/verifications/*/nodes", .listVerificationNodes, lookers),
        RouteRule(.admin, .get, "/v1/verifications/*/items", .listVerificationItems, lookers),
        RouteRule(.admin, .get, "/v1/databases/*/drills", .listDrills, lookers),
        RouteRule(.admin, .get, "/v1/coverage", .showCoverage, lookers),
        RouteRule(.admin, .get, "/v1/snapshots/*/manifest", .readManifest, operators),
        RouteRule(.admin, .get, "/v1/packs/*", .readPack, operators),
        RouteRule(.admin, .get, "/v1/nodes/*/keys", .readKeys, operators),
        RouteRule(.admin, .post, "/v1/snapshots", .createSnapshots, operators),
        // Nodes restore their own; what hands a node another one's secret is the second.
        RouteRule(.admin, .post, "/v1/restores", .restore, operators, bodyLimit: 4 << 20),
        RouteRule(.admin, .post, "/v1/restore-grants", .grantRestore, [.admin], bodyLimit: 4 << 20),
        RouteRule(.admin, .get, "/v1/restores/*", .showRestore, lookers),
        RouteRule(.admin, .post, "/v1/restores/*/cancel", .cancelRestore, [.admin]),
        RouteRule(.admin, .post, "/v1/verifications", .verify, operators, bodyLimit: 4 << 20),
        RouteRule(.admin, .post, "/v1/tokens", .invite, [.admin]),
        RouteRule(.admin, .get, "/v1/fleet-snapshots", .listFleetSnapshots, lookers),
        RouteRule(.admin, .get, "/v1/fleet-snapshots/*", .showFleetSnapshot, lookers),
        RouteRule(.admin, .post, "/v1/fleet-snapshots", .createFleetSnapshot, operators),
        RouteRule(.admin, .post, "/v1/fleet-snapshots/*/forget", .forgetFleetSnapshot, [.admin]),
        RouteRule(.admin, .post, "/v1/nodes/*/retire", .retireNode, [.admin]),
        RouteRule(.admin, .post, "/v1/nodes/*/revoke", .revokeNode, [.admin]),
        RouteRule(.admin, .get, "/v1/people", .listPeople, [.admin]),
        RouteRule(.admin, .post, "/v1/people", .addPerson, [.admin]),
        RouteRule(.admin, .post, "/v1/people/*/revoke", .revokePerson, [.admin]),
        RouteRule(.admin, .get, "/v1/retention", .showRetention, lookers),
        RouteRule(.admin, .post, "/v1/retention/preview", .previewRetention, lookers),
        RouteRule(.admin, .post, "/v1/retention", .setRetention, [.admin]),
        RouteRule(.admin, .post, "/v1/retention/apply", .applyRetention, [.admin]),
        RouteRule(.admin, .post, "/v1/retention/undo", .undoRetention, [.admin]),
        RouteRule(.admin, .post, "/v1/snapshots/hold", .holdSnapshots, [.admin]),
        RouteRule(.admin, .post, "/v1/snapshots/release", .releaseSnapshots, [.admin]),
        RouteRule(.admin, .post, "/v1/snapshots/forget", .forgetSnapshots, [.admin]),
        RouteRule(.admin, .post, "/v1/alarms/clear", .clearAlarms, [.admin]),
        RouteRule(.admin, .get, "/v1/gc", .showCollection, lookers),
        RouteRule(.admin, .post, "/v1/gc", .runCollection, [.admin]),
        RouteRule(.admin, .post, "/v1/stores", .addStore, [.admin]),
        RouteRule(.admin, .post, "/v1/stores/*", .changeStore, [.admin]),
        RouteRule(.admin, .get, "/v1/stores/*/probe", .showProbe, lookers),
        RouteRule(.admin, .post, "/v1/stores/*/probe", .probeStore, [.admin]),
        RouteRule(.admin, .get, "/v1/stores/*/check", .showStoreCheck, lookers),
        RouteRule(.admin, .post, "/v1/stores/*/check", .checkStore, operators),
        RouteRule(.admin, .get, "/v1/stores/*/repair", .showStoreRepair, lookers),
        RouteRule(.admin, .post, "/v1/stores/*/repair", .repairStore, operators),
        RouteRule(.admin, .post, "/v1/dashboard", .openDashboard, lookers),

        RouteRule(.dashboard, .get, "/enter/*", .enterDashboard, lookers.union([.anonymous])),
        RouteRule(.dashboard, .post, "/enter/*", .signIn, lookers.union([.anonymous]), bodyLimit: 4 << 10),
        RouteRule(.dashboard, .get, "/assets/*", .dashboardAsset, lookers.union([.anonymous])),
        RouteRule(.dashboard, .get, "/", .fleetPage, lookers),
        RouteRule(.dashboard, .get, "/nodes", .nodesPage, lookers),
        RouteRule(.dashboard, .get, "/nodes/*", .nodePage, lookers),
        RouteRule(.dashboard, .get, "/databases/*", .databasePage, lookers),
        RouteRule(.dashboard, .get, "/snapshots/*", .snapshotPage, lookers),
        RouteRule(.dashboard, .get, "/verifications", .runsPage, lookers),
        RouteRule(.dashboard, .get, "/verifications/*", .runPage, lookers),
        RouteRule(.dashboard, .get, "/fleet-snapshots", .fleetSnapshotsPage, lookers),
        RouteRule(.dashboard, .get, "/fleet-snapshots/*", .fleetSnapshotPage, lookers),
        RouteRule(.dashboard, .get, "/stores", .storesPage, lookers),
        RouteRule(.dashboard, .get, "/alarms", .alarmsPage, lookers),
        RouteRule(.dashboard, .get, "/jobs", .jobsPage, lookers),
        RouteRule(.dashboard, .get, "/audit", .auditPage, lookers),
        RouteRule(.dashboard, .post, "/sign-out", .leaveDashboard, lookers, bodyLimit: 4 << 10),
        RouteRule(.dashboard, .post, "/actions/snapshot", .snapshotFromPage, operators, bodyLimit: 4 << 10),
        RouteRule(.dashboard, .post, "/actions/verify", .verifyFromPage, operators, bodyLimit: 4 << 10),
    ]

    /// - Returns: the caller's segments, percent-decoded, where this rule is for that request.
    func match(plane: Plane, method: HTTPRequest.Method, path: String) -> [String]? {
        guard plane == self.plane, method == self.method else { return nil }
        let wanted = self.path.split(separator: "/", omittingEmptySubsequences: false)
        let given = path.split(separator: "/", omittingEmptySubsequences: false)
        guard wanted.count == given.count else { return nil }
        var parameters: [String] = []
        for (want, have) in zip(wanted, given) {
            if want == "*" {
                guard let text = String(have).removingPercentEncoding, !text.isEmpty else { return nil }
                parameters.append(text)
            } else if want != have {
                return nil
            }
        }
        return parameters
    }
}

extension [RouteRule] {
    /// The rule for a request, with the caller's segments.
    func firstMatch(
        plane: Plane, method: HTTPRequest.Method, path: String
    ) -> (rule: RouteRule, parameters: [String])? {
        for rule in self {
            if let parameters = rule.match(plane: plane, method: method, path: path) { return (rule, parameters) }
        }
        return nil
    }
}
