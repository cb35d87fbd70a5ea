import Foundation
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterTransfer

@Suite("The HTTPS client", .timeLimit(.minutes(10)))
struct HTTPClientTests {
    let server: TestServer
    let client: HTTPClient

    init() throws {
        server = try TestServer()
        client = try server.client()
    }

    @Test func returnsStatusHeadersAndBody() async throws {
        let response = try await client.get("\(server.url)/hello")
        #expect(response.status == 200)
        #expect(response.body == Array("hello".utf8))
        #expect(response.headers["x-twice"] == "a, b")
        #expect(response.headers["x-empty"] == "")
        #expect(try await client.get("\(server.url)/nothing").status == 404)
    }

    @Test(arguments: HTTPRequest.Method.allCases)
    func sendsEveryMethod(method: HTTPRequest.Method) async throws {
        let body = [UInt8](repeating: 7, count: 3_000_000)
        let hasBody = method == .put || method == .post
        let request = HTTPRequest(
            method, "\(server.url)/echo", headers: ["X-One": "1", "X-Empty": ""], body: hasBody ? .bytes(body) : .none)
        guard method != .head else {
            let response = try await client.send(request)
            #expect(response.status == 200 && response.body.isEmpty)
            return
        }
        let echo = try await server.echo(request, client)
        #expect(echo.method == method.rawValue)
        #expect(echo.length == (hasBody ? body.count : 0))
        #expect(echo.headers["x-one"] == "1" && echo.headers["x-empty"] == "")
        #expect(echo.headers["user-agent"] == "muster")
        #expect(echo.headers["accept-encoding"] == nil && echo.headers["expect"] == nil)
    }

    @Test(arguments: [HTTPRequest.Method.put, .post])
    func anEmptyBodyHasALength(method: HTTPRequest.Method) async throws {
        let echo = try await server.echo(HTTPRequest(method, "\(server.url)/echo"), client)
        #expect(echo.headers["content-length"] == "0")
    }

    @Test func aBodyIsReadPieceByPiece() async throws {
        let body = RandomSource.seeded(5).bytes(3_000_000)
        let longest = Mutex(0)
        let source = RequestSource(byteCount: body.count) { range in
            longest.withLock { $0 = max($0, range.count) }
            return Array(body[range])
        }
        let pieces = try await server.echo(HTTPRequest(.put, "\(server.url)/echo", body: .source(source)), client)
        let whole = try await server.echo(HTTPRequest(.put, "\(server.url)/echo", body: .bytes(body)), client)
        #expect(pieces.length == body.count && pieces.sha256 == whole.sha256)
        #expect(longest.withLock { $0 } <= 512 << 10)
    }

    @Test func aBodyThatCannotBeReadEndsTheRequest() async throws {
        let source = RequestSource(byteCount: 3_000_000) { range in
            range.lowerBound == 0 ? [UInt8](repeating: 0, count: range.count) : nil
        }
        await #expect(throws: TransferError.self) {
            _ = try await client.send(HTTPRequest(.put, "\(server.url)/echo", body: .source(source)))
        }
        #expect(try await client.get("\(server.url)/hello").status == 200)
    }

    @Test func reusesItsConnections() async throws {
        for _ in 0..<50 { _ = try await client.get("\(server.url)/hello") }
        #expect(try await server.stats(client).connections == 1)
    }

    @Test func opensNoMoreConnectionsThanAllowed() async throws {
        let client = try server.client { $0.maximumConnections = 3 }
        let url = server.url
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<60 { group.addTask { try await client.get("\(url)/hello").status } }
            for try await status in group { #expect(status == 200) }
        }
        #expect(try await server.stats(client).connections <= 3)
    }

    @Test func aKeptConnectionThatTheServerClosedIsReplaced() async throws {
        for round in 0..<20 {
            _ = try await client.get("\(server.url)/close-after")
            let echo = try await server.echo(
                HTTPRequest(.put, "\(server.url)/echo", body: .bytes([UInt8](repeating: 1, count: 100_000))), client)
            #expect(echo.length == 100_000, "round \(round)")
        }
    }

    @Test func aBodyStartsAgainWhenAKeptConnectionBreaks() async throws {
        let body = (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
        // libcurl tries again by itself only on a connection that had been used before.
        let echo = try await server.echo(HTTPRequest(.put, "\(server.url)/echo", body: .bytes(body)), client)
        let request = HTTPRequest(.put, "\(server.url)/drop?times=1", body: .bytes(body))
        let response = try await client.send(request)
        #expect(String(decoding: response.body, as: UTF8.self) == echo.sha256)
        #expect(try await server.stats(client).requests["/drop"] == 2)
    }

    @Test func timeInLineDoesNotCountAgainstARequest() async throws {
        let client = try server.client { $0.maximumConnections = 1 }
        let url = server.url
        let first = Task { try await client.get("\(url)/hold/line").status }
        while try await server.stats(self.client).requests["/hold/line"] == nil { await Task.yield() }
        let second = Task { try await client.get("\(url)/hello") { $0.timeout = .milliseconds(300) }.status }
        // Longer than its timeout, to be sure that it would have been over.
        try await Task.sleep(for: .milliseconds(700))
        _ = try await self.client.get("\(url)/release/line")
        #expect(try await first.value == 200)
        #expect(try await second.value == 200)
    }

    @Test func doesNotFollowARedirect() async throws {
        let response = try await client.get("\(server.url)/redirect")
        #expect(response.status == 302)
        #expect(try await server.stats(client).requests["/hello"] == nil)
    }

    @Test(arguments: ["", "&unsized=1"])
    func refusesALargerBodyThanAllowed(unsized: String) async throws {
        let url = "\(server.url)/big?bytes=100001\(unsized)"
        #expect(await failure { _ = try await client.get(url) { $0.maximumResponseBytes = 100_000 } } == "too large")
        let whole = try await client.get(url) { $0.maximumResponseBytes = 100_001 }
        #expect(whole.body.count == 100_001)
        #expect(
            await failure {
                var request = HTTPRequest(.get, url)
                request.maximumResponseBytes = 100_000
                for try await _ in try await client.download(request) {}
            } == "too large")
    }

    @Test func refusesLongHeaders() async throws {
        #expect(try await client.get("\(server.url)/heads?count=10").status == 200)
        #expect(await failure { _ = try await client.get("\(server.url)/heads?count=17") } == "too large")
    }

    @Test(arguments: [
        ["A\r\nB": "1"], ["A": "1\r\nB: 2"], ["": "1"], ["A:": "1"], ["A": "1\u{0}"], ["A B": "1"],
    ])
    func refusesAHeaderThatWouldBecomeTwo(headers: [String: String]) async throws {
        let request = HTTPRequest(.get, "\(server.url)/hello", headers: headers)
        #expect(await failure { _ = try await client.send(request) } == "protocol")
    }

    @Test(arguments: ["http", "ftp", "file", "HTTPS+x"])
    func refusesWhatIsNotHTTPS(scheme: String) async throws {
        #expect(await failure { _ = try await client.get("\(scheme)://localhost:\(server.port)/hello") } == "protocol")
    }

    @Test func libcurlItselfRefusesPlainHTTP() throws {
        let easy = try EasyHandle()
        try easy.configureConnection(tls: TLSFiles(authority: "/nothing"), settings: .init())
        try easy.configure(HTTPRequest(.get, "http://localhost:\(server.port)/hello"))
        let multi = try MultiHandle(maximumConnectionsPerServer: 1)
        try multi.add(easy)
        try multi.perform()
        let done = try #require(multi.nextDone())
        multi.remove(easy)
        let error = TransferError(code: done.code, detail: "", server: "s")
        #expect(error == .protocolFailed(server: "s", code: 1, detail: "Unsupported protocol"))
        #expect(easy.failureText.contains("not supported or disabled"))
    }

    @Test func anErrorNamesTheServerAndNotTheSecretsOfItsAddress() async throws {
        let url = "https://user:password@localhost:\(server.port)/cut?token=secret"
        do {
            _ = try await client.get(url)
            Issue.record("nothing was thrown")
        } catch {
            #expect(error.summary.hasPrefix("server localhost:\(server.port) cannot be reached"))
            #expect(!error.description.contains("secret") && !error.description.contains("password"))
            #expect(error.isTransient)
        }
    }

    @Test func tellsHowManyBytesWereSent() async throws {
        let counts = Mutex<[Int]>([])
        let body = [UInt8](repeating: 1, count: 2_000_000)
        let request = HTTPRequest(.put, "\(server.url)/echo", body: .bytes(body)) { count in
            counts.withLock { $0.append(count) }
        }
        _ = try await client.send(request)
        let seen = counts.withLock { $0 }
        #expect(seen == seen.sorted())
        #expect(seen.last == body.count && seen.count > 2)
    }

    @Test func sendsNoFasterThanAllowed() async throws {
        let body = [UInt8](repeating: 1, count: 300_000)
        let request = HTTPRequest(
            .put, "\(server.url)/echo", body: .bytes(body), maximumSendBytesPerSecond: 200_000)
        let start = ContinuousClock.now
        _ = try await client.send(request)
        // A lower bound: a busy machine only makes it longer.
        #expect(ContinuousClock.now - start > .milliseconds(700))
    }

    @Test func takesNoProxyFromTheEnvironment() async {
        // In a process of its own, as other threads may read the environment meanwhile.
        await #expect(processExitsWith: .success) {
            let unusable = "http://127.0.0.1:9"
            for name in ["https_proxy", "HTTPS_PROXY", "all_proxy"] { #expect(setenv(name, unusable, 1) == 0) }
            let server = try TestServer()
            #expect(try await server.client().get("\(server.url)/hello").status == 200)
        }
    }
}
