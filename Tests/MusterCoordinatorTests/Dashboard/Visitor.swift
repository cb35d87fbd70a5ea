import Foundation
import MusterAPI
import MusterCatalog
import MusterModel
import MusterTransfer
import Testing

@testable import MusterCoordinator

/// A browser, as far as the server can tell: it keeps the cookie and sends forms from the pages that it was given.
final class Visitor {
    let peer: Peer
    private(set) var cookie = ""

    init(_ server: Server) { peer = server.asAnonymous }

    /// Opens the link that a context of the admin plane asked for.
    func signIn(as admin: Peer) async throws -> Peer.Answer {
        let link: Muster_V1_DashboardLink = try await admin.post(.admin, "/v1/dashboard", Muster_V1_DashboardLink())
        return try await open(link.url)
    }

    /// Opens a link, and presses the button on the page that it leads to.
    func open(_ url: String) async throws -> Peer.Answer {
        let path = try #require(URL(string: url)?.path)
        let page = try await get(path)
        guard page.status == 200 else { return page }
        #expect(String(decoding: page.body, as: UTF8.self).contains("action=\"\(path)\""))
        return try await press(path)
    }

    func press(
        _ path: String, headers: [String: String] = ["sec-fetch-site": "same-origin"]
    ) async throws -> Peer.Answer {
        let answer = try await send(path, [:], headers: headers)
        cookie = (answer.headers["set-cookie"] ?? "").split(separator: ";").first.map(String.init) ?? ""
        return answer
    }

    func get(_ path: String) async throws -> Peer.Answer {
        try await peer.send(.dashboard, .get, path, headers: cookie.isEmpty ? [:] : ["cookie": cookie])
    }

    /// The text of a page that must be there.
    func page(_ path: String) async throws -> String {
        let answer = try await get(path)
        #expect(answer.status == 200, "\(path)")
        return String(decoding: answer.body, as: UTF8.self)
    }

    func send(
        _ path: String, _ fields: [String: String], headers: [String: String] = ["sec-fetch-site": "same-origin"]
    ) async throws -> Peer.Answer {
        let body = fields.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        var all = ["content-type": "application/x-www-form-urlencoded", "cookie": cookie]
        all.merge(headers) { _, new in new }
        return try await peer.send(.dashboard, .post, path, Array(body.utf8), headers: all)
    }

    /// The secret that the forms of this session hold.
    func formToken() async throws -> String {
        let page = try await page("/jobs")
        return String(try #require(page.firstMatch(of: #/name="form_token" value="([0-9a-f]{64})"/#)).output.1)
    }
}

extension Peer.Answer {
    /// The word of a refusal on the dashboard's plane.
    var pageCode: String? {
        String(decoding: body, as: UTF8.self).firstMatch(of: #/data-code="([a-z_]*)"/#).map { String($0.output.1) }
    }
}
