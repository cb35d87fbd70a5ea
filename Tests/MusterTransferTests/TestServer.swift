import Foundation
import MusterTestSupport
import MusterTransfer
import Testing

/// `https_server.py` as a process of its own, for as long as this object lives.
final class TestServer {
    enum Mode: String {
        case modern = "tls1.3"
        case outdated = "tls1.2"
        /// Closes every connection before the handshake.
        case hangUp = "hang-up"
    }

    let authority: TestAuthority
    let port: Int
    /// It ends when its input closes, or is killed when this object goes.
    private let process: ChildProcess
    var url: String { "https://localhost:\(port)" }

    init(_ mode: Mode = .modern, wantsClients: Bool = false, isExpired: Bool = false) throws {
        authority = try TestAuthority()
        let identity = try authority.issue("server", isExpired: isExpired)
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "https_server.py")
        let arguments =
            [script.path(), "--certificate", identity.certificate, "--key", identity.key, "--mode", mode.rawValue]
            + (wantsClients ? ["--client-authority", authority.authority] : [])
        process = try ChildProcess("/usr/bin/python3", arguments, takesInput: true, output: .reader)
        port = try #require(try process.readLine().flatMap { Int($0) }, "the server did not start")
    }

    func client(
        identity: TLSFiles.Identity? = nil, _ adjust: (inout HTTPClient.Settings) -> Void = { _ in }
    ) throws -> HTTPClient {
        var settings = HTTPClient.Settings()
        // A machine that runs all tests at once may keep the server from a handshake for longer than 10 seconds.
        settings.connectTimeout = .seconds(120)
        adjust(&settings)
        return try HTTPClient(
            tls: TLSFiles(authority: authority.authority, identity: identity), settings: settings)
    }

    /// What the server counted.
    struct Stats: Decodable {
        let connections: Int
        let most_open: Int
        let requests: [String: Int]
    }

    func stats(_ client: HTTPClient) async throws -> Stats {
        let response = try await client.send(.patient("\(url)/stats"))
        return try JSONDecoder().decode(Stats.self, from: Data(response.body))
    }

    struct Echo: Decodable {
        let method: String
        let length: Int
        let sha256: String
        let headers: [String: String]
    }

    func echo(_ request: HTTPRequest, _ client: HTTPClient) async throws -> Echo {
        try JSONDecoder().decode(Echo.self, from: Data(try await client.send(request).body))
    }
}

extension HTTPRequest {
    /// Limits are for tests that ask for them: a loaded machine needs longer than one in production may take.
    static func patient(_ url: String) -> HTTPRequest {
        HTTPRequest(.get, url, timeout: .seconds(500), stallTimeout: .seconds(300))
    }
}

extension HTTPClient {
    func get(_ url: String, _ adjust: (inout HTTPRequest) -> Void = { _ in }) async throws(TransferError)
        -> HTTPResponse
    {
        var request = HTTPRequest.patient(url)
        adjust(&request)
        return try await send(request)
    }
}

/// The kind of the transfer error that `body` throws.
func failure(_ body: () async throws -> Void) async -> String {
    do {
        try await body()
        return "none"
    } catch let error as TransferError {
        return switch error {
        case .unreachable(_, let obstacle, _): "unreachable: \(obstacle)"
        case .tls(_, let fault, _): "tls: \(fault)"
        case .tooLarge: "too large"
        case .protocolFailed: "protocol"
        case .overloaded: "overloaded"
        case .exhausted: "exhausted"
        case .cancelled: "cancelled"
        case .shutDown: "shut down"
        }
    } catch {
        return "\(error)"
    }
}
