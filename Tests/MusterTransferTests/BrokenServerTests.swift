import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterTransfer

@Suite("A server that is not there or breaks off", .timeLimit(.minutes(10)))
struct BrokenServerTests {
    @Test func aRefusedPortIsUnreachable() async throws {
        let server = try TestServer()
        let client = try server.client()
        // The discard port: nothing listens there, and nothing that a test starts ever does.
        #expect(await failure { _ = try await client.get("https://127.0.0.1:9/") } == "unreachable: refused")
    }

    @Test func aNameWithoutAddressIsUnreachable() async throws {
        let client = try TestServer().client()
        let reason = await failure { _ = try await client.get("https://nothing.invalid/") }
        #expect(reason == "unreachable: nameNotResolved")
    }

    @Test func anAnswerCutShortIsNoAnswer() async throws {
        let server = try TestServer()
        let client = try server.client()
        #expect(await failure { _ = try await client.get("\(server.url)/cut") } == "unreachable: connectionLost")
        let body = Received()
        #expect(
            await failure {
                for try await chunk in try await client.download(HTTPRequest(.get, "\(server.url)/cut")) {
                    body.bytes += chunk
                }
            } == "unreachable: connectionLost")
        #expect(body.bytes == Array("only this".utf8))
    }

    final class Received {
        var bytes: [UInt8] = []
    }

    @Test func anUploadCutShortIsUnreachable() async throws {
        let server = try TestServer()
        let client = try server.client()
        let request = HTTPRequest(
            .put, "\(server.url)/cut-upload", body: .bytes([UInt8](repeating: 1, count: 8_000_000)))
        #expect(await failure { _ = try await client.send(request) } == "unreachable: connectionLost")
        #expect(try await client.get("\(server.url)/hello").status == 200)
    }

    @Test func aServerThatHangsUpInTheHandshakeIsUnreachable() async throws {
        let server = try TestServer(.hangUp)
        let client = try server.client()
        #expect(await failure { _ = try await client.get(server.url) } == "unreachable: connectionLost")
    }

    @Test func aSilentServerIsGivenUp() async throws {
        let server = try TestServer()
        let client = try server.client()
        for (timeout, stall) in [(Duration.milliseconds(150), Duration.seconds(60)), (.seconds(60), .seconds(1))] {
            let reason = await failure {
                _ = try await client.get("\(server.url)/hold/never") { request in
                    (request.timeout, request.stallTimeout) = (timeout, stall)
                }
            }
            #expect(reason == "unreachable: timedOut")
        }
    }

    /// It is never silent, and would have it all in the end.
    @Test func aServerThatSipsIsGivenUp() async throws {
        let server = try TestServer()
        let client = try server.client()
        var request = HTTPRequest(
            .put, "\(server.url)/sip", body: .bytes([UInt8](repeating: 1, count: 32 << 20)), timeout: nil,
            stallTimeout: .seconds(1))
        request.leastBytesPerSecond = 1 << 30
        #expect(await failure { _ = try await client.send(request) } == "unreachable: timedOut")
    }

    @Test("what a pack's upload must come to is below its own limit", arguments: [nil, 1 << 30, 64 << 10, 4000, 4, 1])
    func whatAnUploadMustComeTo(limit: Int?) {
        let least = HTTPRequest.leastUploadBytesPerSecond(under: limit)
        #expect(least >= 1 && least <= 16 << 10 && least <= max(1, (limit ?? .max) / 4))
        if limit.map({ $0 >= 64 << 10 }) ?? true { #expect(least == 16 << 10) }
    }

    @Test func aPolicyBringsARequestThroughAllOfIt() async throws {
        let server = try TestServer()
        let client = try server.client()
        let clock = InstantClock()
        let url = server.url
        let bytes = [UInt8](repeating: 3, count: 4_000_000)
        for path in ["cut-upload?times=2", "status?code=503&times=2", "cut?times=2"] {
            let response = try await RetryPolicy().run(random: .seeded(1), clock: clock) {
                try await client.send(HTTPRequest(.put, "\(url)/\(path)", body: .bytes(bytes)))
                    .requireSuccess(from: url)
            }
            #expect(response.status == 200)
        }
        #expect(clock.sleeps.count == 6)
    }
}
