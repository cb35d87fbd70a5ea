import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel
import NIOCore

/// What operators and admins can start from a page. Nothing here deletes, and nothing frees anything.
extension Coordinator {
    func snapshotFromPage(_ call: Call) async throws -> Response {
        let form = try await PageForm(call)
        let database = try await database(of: form)
        guard database.state != Catalog.removedState else {
            throw Refusal.invalid(
                "database '\(database.name)' is protected no more", hint: "Add it again on its node.")
        }
        _ = try await orderSnapshots(of: [database], labels: [:], for: call)
        return Self.goOn(to: Page.Section.jobs.path)
    }

    func verifyFromPage(_ call: Call) async throws -> Response {
        let form = try await PageForm(call)
        guard let level = VerificationLevel(rawValue: form["level"]), PageActions.levels.contains(level) else {
            throw Refusal.invalid("level '\(form["level"].cut(40))' is none", hint: "Choose one of the list.")
        }
        var request = Muster_V1_VerificationRequest()
        request.level = level.rawValue
        if form["database"].isEmpty {
            request.fleet = true
        } else {
            request.database = try await database(of: form).id.description
        }
        let run = try await begin(request, for: call)
        return Self.goOn(to: PagePath("verifications", run.description))
    }

    private func database(of form: PageForm) async throws -> Catalog.Database {
        guard let id = DatabaseID(form["database"]), let database = try await catalog.database(id) else {
            throw Refusal.notFound("database '\(form["database"].cut(80))'")
        }
        return database
    }

    /// To a page that can be loaded again without doing it again.
    static func goOn(to path: PagePath) -> Response {
        var headers = Page.headers(type: "text/html; charset=utf-8")
        headers[.location] = path.description
        headers[.cacheControl] = "no-store"
        return Response(status: .seeOther, headers: headers, body: ResponseBody())
    }
}

/// The forms of what can be started.
enum PageActions {
    static let levels: [VerificationLevel] = [.check, .scrub, .verify, .drill]

    static func forms(for database: Catalog.Database, _ session: OpenSession) -> HTML {
        guard database.state != Catalog.removedState else { return HTML() }
        return tag("div", .class("actions")) {
            tag("form", .of(.method, "post"), .action(PagePath("actions", "snapshot"))) {
                session.formToken
                hidden("database", database.id.description)
                tag("button", .class("first"), .of(.type, "submit")) { "Take a snapshot now" }
            }
            if database.newestSnapshot != nil {
                tag("form", .of(.method, "post"), .action(PagePath("actions", "verify"))) {
                    session.formToken
                    hidden("database", database.id.description)
                    levelChoice
                    tag("button", .of(.type, "submit")) { "Verify the newest snapshot" }
                }
            }
        }
    }

    static func fleetForm(_ session: OpenSession) -> HTML {
        tag("div", .class("actions")) {
            tag("form", .of(.method, "post"), .action(PagePath("actions", "verify"))) {
                session.formToken
                levelChoice
                tag("button", .class("first"), .of(.type, "submit")) { "Verify the whole fleet" }
                tag("span", .class("muted")) { "the newest snapshot of each database" }
            }
        }
    }

    private static var levelChoice: HTML {
        HTML.joined([
            tag("label", .of(.for, "level")) { "Level" },
            tag("select", .id("level"), .of(.name, "level")) {
                for level in levels {
                    tag("option", .of(.value, level.rawValue), .flag(.selected, if: level == .verify)) {
                        level.rawValue
                    }
                }
            },
        ])
    }

    private static func hidden(_ name: String, _ value: String) -> HTML {
        emptyTag("input", .of(.type, "hidden"), .of(.name, name), .of(.value, value))
    }
}
