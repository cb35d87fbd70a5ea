import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel
import NIOCore

/// How people come to the dashboard: `muster dashboard open` asks the admin plane for a link, and the link opens a session.
extension Coordinator {
    /// The routes of the dashboard's plane.
    func answerOnDashboard(_ call: Call) async throws -> Response {
        switch call.rule.route {
        case .enterDashboard: try await enterDashboard(call)
        case .signIn: try await signIn(call)
        case .leaveDashboard: try await leaveDashboard(call)
        case .dashboardAsset: try dashboardAsset(call)
        case .fleetPage: try await fleetPage(call)
        case .nodesPage: try await nodesPage(call)
        case .nodePage: try await nodePage(call)
        case .databasePage: try await databasePage(call)
        case .snapshotPage: try await snapshotPage(call)
        case .runsPage: try await runsPage(call)
        case .runPage: try await runPage(call)
        case .fleetSnapshotsPage: try await fleetSnapshotsPage(call)
        case .fleetSnapshotPage: try await fleetSnapshotPage(call)
        case .storesPage: try await storesPage(call)
        case .alarmsPage: try await alarmsPage(call)
        case .jobsPage: try await jobsPage(call)
        case .auditPage: try await auditPage(call)
        case .snapshotFromPage: try await snapshotFromPage(call)
        case .verifyFromPage: try await verifyFromPage(call)
        default: throw Refusal.noRoute
        }
    }

    func openDashboard(_ call: Call) async throws -> Response {
        guard settings.dashboardListen != nil else {
            throw Refusal(
                .conflict, "dashboard_off", "this coordinator has no dashboard",
                hint: "Take 'dashboard_listen: never' out of coordinator.yaml and start it again.")
        }
        guard let certificate = call.certificate else { throw Refusal.anonymous }
        let port: Int
        switch await ports.outcome(of: .dashboard) {
        case .bound(let bound): port = bound
        case .failed(let reason):
            throw Refusal(
                .serviceUnavailable, "dashboard_down", "the dashboard cannot listen: \(reason)",
                hint: "Give it a free port with 'dashboard_listen: HOST:PORT' in coordinator.yaml.")
        }
        let link = sessions.makeLink(for: certificate, now: clock.now())
        try await audit(call, "dashboard", "sign-in link for \(call.caller.role.rawValue)")
        var answer = Muster_V1_DashboardLink()
        answer.url = settings.url(port: port) + PagePath("enter", link.secret).description
        answer.expiresAt = link.expiresAt.description
        return try call.answer(answer)
    }

    /// Where the link leads: a page with a button.
    ///
    /// To open a link is no act of a person: chats make previews of it, mail scanners and browsers fetch it ahead. So it
    /// changes nothing, and only the form on it uses the link up.
    func enterDashboard(_ call: Call) async throws -> Response {
        let (link, now) = (call.parameters[0], clock.now())
        guard sessions.isGood(link: link, now: now) else { throw Self.linkRefused }
        let page = Page("Sign in") {
            PageParts.heading("Sign in")
            tag("p") { "This link opens the fleet's dashboard in this browser. It is good once." }
            tag("form", .class("actions"), .of(.method, "post"), .action(PagePath("enter", link))) {
                tag("button", .class("first"), .of(.type, "submit")) { "Sign in" }
            }
        }
        return page.response(for: nil, now: now)
    }

    /// Opens a session and goes on to the fleet. The form came from a page of this server, so the navigation that
    /// follows has the cookie of `SameSite=Strict`, wherever the link was clicked.
    func signIn(_ call: Call) async throws -> Response {
        guard PageForm.isFromHere(call.request) else { throw PageForm.forged }
        let now = clock.now()
        guard let (secret, certificate) = sessions.open(call.parameters[0], now: now),
            case .person(let role, let subject) = try await callers.caller(of: certificate)
        else { throw Self.linkRefused }
        if let session = call.session { sessions.close(session.secret) }
        try await catalog.audit(
            Catalog.AuditRow(actor: subject, action: "sign-in", subject: "dashboard as \(role.rawValue)", at: now))
        var response = Self.goOn(to: PagePath())
        response.headers[.setCookie] = OpenSession.cookie(secret)
        return response
    }

    private static let linkRefused = Refusal(
        .unauthorized, "link_refused", "this link was used before, or its time is over",
        hint: "Ask for a new one with 'muster dashboard open'.")

    func leaveDashboard(_ call: Call) async throws -> Response {
        _ = try await PageForm(call)
        if let session = call.session { sessions.close(session.secret) }
        let page = Page("Signed out") {
            PageParts.heading("Signed out")
            tag("p") {
                "Open the dashboard again with "
                tag("code") { "muster dashboard open" }
                "."
            }
        }
        var response = page.response(for: nil, now: clock.now())
        response.headers[.setCookie] = OpenSession.noCookie
        return response
    }

    /// Who asks on the dashboard's plane; a session whose certificate counts no more is none.
    func session(of request: Request) async throws -> OpenSession? {
        let isUse = request.uri.queryParameters[Substring(PagePath.byItself)] == nil
        guard let secret = OpenSession.secret(in: request.headers[.cookie]),
            let known = sessions.session(secret, isUse: isUse, now: clock.now())
        else { return nil }
        do {
            guard case .person(let role, let subject) = try await callers.caller(of: known.certificate) else {
                return nil
            }
            return OpenSession(secret: secret, formSecret: known.formSecret, role: role, subject: subject)
        } catch is Refusal {
            sessions.close(secret)
            return nil
        }
    }

    func dashboardAsset(_ call: Call) throws -> Response {
        guard let asset = PageAsset.all.first(where: { $0.name == call.parameters[0] }) else {
            throw Refusal.notFound("asset '\(call.parameters[0].cut(80))'")
        }
        var headers = Page.headers(type: asset.type)
        // Its name changes with its content.
        headers[.cacheControl] = "public, max-age=31536000, immutable"
        return Response(
            status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: asset.text)))
    }

    /// The dashboard's way to say no.
    func refusalPage(_ refusal: Refusal, for session: OpenSession?) -> Response {
        let isStranger = refusal.code == Refusal.anonymous.code
        var page = Page(isStranger ? "Sign in" : "Not done") {
            PageParts.heading(isStranger ? "Sign in" : "That did not work")
            if isStranger {
                tag("p") {
                    "This dashboard is opened from the command line, with the context of an admin, an operator or a "
                    "viewer:"
                }
                tag("pre") { tag("code") { "muster dashboard open" } }
                tag("p", .class("muted")) { "It prints a link that is good once and for five minutes." }
            } else {
                tag("p", .class("lead")) { refusal.summary }
                tag("p") { refusal.hint }
                tag("p") { tag("a", .href(PagePath())) { "To the fleet" } }
            }
        }
        page.status = refusal.status
        page.code = refusal.code
        return page.response(for: session, now: clock.now())
    }
}
