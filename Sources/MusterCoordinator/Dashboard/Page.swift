import HTTPTypes
import Hummingbird
import MusterModel
import NIOCore

/// One page, before it is sent.
struct Page {
    /// The entries of the navigation, in their order.
    enum Section: String, CaseIterable {
        case fleet = "Fleet"
        case nodes = "Nodes"
        case verifications = "Verifications"
        case fleetSnapshots = "Fleet snapshots"
        case stores = "Stores"
        case alarms = "Alarms"
        case jobs = "Jobs"
        case audit = "Audit"

        var path: PagePath {
            self == .fleet ? PagePath() : PagePath(rawValue.lowercased().replacing(" ", with: "-"))
        }
    }

    var title: String
    var section: Section?
    /// The page is asked for again after so many seconds, without any script.
    private var again: (seconds: Int, path: PagePath)?
    /// For programs: the word of the refusal that the page tells of.
    var code: String?
    var status = HTTPResponse.Status.ok
    var content: HTML

    init(_ title: String, in section: Section? = nil, @HTMLBuilder content: () throws -> HTML) rethrows {
        (self.title, self.section, self.content) = (title, section, try content())
    }

    /// Lets the page ask for itself again.
    mutating func refresh(every seconds: Int, _ call: Call) { again = (seconds, PagePath(again: call)) }

    func response(for session: OpenSession?, now: Timestamp) -> Response {
        var headers = Self.headers(type: "text/html; charset=utf-8")
        headers[.cacheControl] = "no-store"
        let bytes = document(for: session, now: now).document()
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// What every answer of this plane has: nothing comes from elsewhere, nothing runs, nothing is told to others.
    static func headers(type: String) -> HTTPFields {
        var headers = HTTPFields()
        headers[.contentType] = type
        headers[.contentSecurityPolicy] =
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
            + "base-uri 'none'"
        headers[.xContentTypeOptions] = "nosniff"
        headers[.crossOriginResourcePolicy] = "same-origin"
        for (name, value) in [
            ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Opener-Policy", "same-origin"),
            ("X-Frame-Options", "DENY"),
        ] {
            if let name = HTTPField.Name(name) { headers[name] = value }
        }
        return headers
    }

    private func document(for session: OpenSession?, now: Timestamp) -> HTML {
        tag("html", .of(.lang, "en")) {
            head
            tag("body") {
                tag("a", .class("skip"), .href(.here("main"))) { "Skip to content" }
                banner(session)
                tag("main", .id("main"), .of(.tabindex, "-1"), .of(.dataCode, code)) { content }
                footer(session, now)
            }
        }
    }

    private var head: HTML {
        tag("head") {
            emptyTag("meta", .of(.charset, "utf-8"))
            emptyTag("meta", .of(.name, "viewport"), .of(.content, "width=device-width, initial-scale=1"))
            emptyTag("meta", .of(.name, "color-scheme"), .of(.content, "light dark"))
            if let again {
                emptyTag("meta", .of(.httpEquiv, "refresh"), .of(.content, "\(again.seconds); url=\(again.path)"))
            }
            tag("title") { title + " · Muster" }
            emptyTag("link", .of(.rel, "icon"), .of(.type, "image/svg+xml"), .href(PageAsset.icon.path))
            emptyTag("link", .of(.rel, "stylesheet"), .href(PageAsset.style.path))
        }
    }

    private func banner(_ session: OpenSession?) -> HTML {
        tag("header", .class("banner")) {
            tag("a", .class("brand"), .href(PagePath()), .label("Muster, to the fleet")) {
                tag("span", .class("mark"), .hidden) { "M" }
                tag("span") { "Muster" }
            }
            if let session {
                tag("nav", .label("Pages")) {
                    tag("ul") { for entry in Section.allCases { entryLink(entry) } }
                }
                signOut(session)
            }
        }
    }

    private func entryLink(_ entry: Section) -> HTML {
        tag("li") {
            tag("a", .href(entry.path), .of(.ariaCurrent, entry == section ? "page" : nil)) { entry.rawValue }
        }
    }

    private func signOut(_ session: OpenSession) -> HTML {
        tag("form", .class("who"), .of(.method, "post"), .action(PagePath("sign-out"))) {
            session.formToken
            tag("span", .of(.title, session.subject)) { session.role.rawValue }
            tag("button", .class("quiet"), .of(.type, "submit")) { "Sign out" }
        }
    }

    private func footer(_ session: OpenSession?, _ now: Timestamp) -> HTML {
        tag("footer") {
            tag("p") {
                "Muster \(Coordinator.version), as of "
                PageParts.time(now)
                if let again { ", asked again every \(again.seconds) seconds" }
                if let session { ". Signed in as \(session.subject) (\(session.role.rawValue))." }
            }
        }
    }
}
