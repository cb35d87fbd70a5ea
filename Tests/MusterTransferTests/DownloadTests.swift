import Foundation
import MusterTestSupport
import Testing

@testable import MusterTransfer

@Suite("A download", .timeLimit(.minutes(10)))
struct DownloadTests {
    let server: TestServer
    let client: HTTPClient

    init() throws {
        server = try TestServer()
        client = try server.client { $0.downloadBufferBytes = 256 << 10 }
    }

    private func big(_ byteCount: Int) -> HTTPRequest {
        HTTPRequest(
            .get, "\(server.url)/big?bytes=\(byteCount)", timeout: nil, stallTimeout: .seconds(1),
            maximumResponseBytes: byteCount)
    }

    @Test func bringsEveryByte() async throws {
        let download = try await client.download(big(20_000_000))
        #expect(download.head.status == 200)
        #expect(download.head.headers["content-length"] == "20000000")
        var count = 0
        for try await chunk in download {
            count += chunk.count
            #expect(chunk.allSatisfy { $0 == UInt8(ascii: "x") })
        }
        #expect(count == 20_000_000)
    }

    @Test func anEmptyBodyEnds() async throws {
        var request = big(0)
        request.method = .head
        for request in [big(0), request] {
            for try await _ in try await client.download(request) { Issue.record("there was a chunk") }
        }
    }

    @Test func waitsForASlowReader() async throws {
        let download = try await client.download(big(30_000_000))
        var iterator = download.makeAsyncIterator()
        var count = try await iterator.next()?.count ?? 0
        // Longer than `stallTimeout`: a reader's pause is not the server's.
        try await Task.sleep(for: .milliseconds(2500))
        while let chunk = try await iterator.next() { count += chunk.count }
        #expect(count == 30_000_000)
        #expect(download.peakBufferedBytes <= 256 << 10)
        #expect(download.peakBufferedBytes > 64 << 10)
    }

    @Test func anErrorStatusComesWithItsBody() async throws {
        let download = try await client.download(HTTPRequest(.get, "\(server.url)/status?code=503&after=7"))
        #expect(download.head.status == 503)
        #expect(download.head.retryAfter == .seconds(7))
        var body: [UInt8] = []
        for try await chunk in download { body += chunk }
        #expect(body == Array("as you asked".utf8))
    }

    @Test func oneThatIsDroppedGivesItsConnectionBack() async throws {
        let client = try server.client { settings in
            settings.maximumConnections = 1
            settings.downloadBufferBytes = 64 << 10
        }
        for _ in 0..<5 {
            let download = try await client.download(big(50_000_000))
            var iterator = download.makeAsyncIterator()
            _ = try await iterator.next()
        }
        #expect(try await client.get("\(server.url)/hello").status == 200)
    }

    @Test func oneOfACancelledTaskEnds() async throws {
        let (client, request) = (client, HTTPRequest.patient("\(server.url)/hold/x"))
        let task = Task { await failure { for try await _ in try await client.download(request) {} } }
        while try await server.stats(client).requests["/hold/x"] == nil { await Task.yield() }
        task.cancel()
        #expect(await task.value == "cancelled")
    }
}
