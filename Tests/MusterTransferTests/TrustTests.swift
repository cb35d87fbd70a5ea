import Foundation
import MusterTestSupport
import MusterTransfer
import Testing

@Suite("Whom the client trusts, and who trusts it", .timeLimit(.minutes(10)))
struct TrustTests {
    private func reason(_ server: TestServer, _ client: HTTPClient, host: String = "localhost") async -> String {
        await failure { _ = try await client.get("https://\(host):\(server.port)/hello") }
    }

    @Test func aServerOfAnotherAuthorityIsRefused() async throws {
        let server = try TestServer()
        let client = try HTTPClient(tls: TLSFiles(authority: try TestAuthority().authority))
        // Both authorities must live while they are used.
        #expect(await reason(server, client) == "tls: filesUnusable")
        let other = try TestAuthority()
        let stranger = try HTTPClient(tls: TLSFiles(authority: other.authority))
        #expect(await reason(server, stranger) == "tls: serverNotTrusted")
        #expect(await reason(server, try server.client()) == "none")
        withExtendedLifetime(other) {}
    }

    @Test func aServerOfAnotherNameIsRefused() async throws {
        let server = try TestServer()
        #expect(await reason(server, try server.client(), host: "127.0.0.1") == "none")
        #expect(await reason(server, try server.client(), host: "0.0.0.0") == "tls: serverNotTrusted")
    }

    /// An address that somebody else chose: its certificate may be good, and its name may lead here.
    @Test func thisMachineIsRefusedByItsAddressNotByItsName() async throws {
        let server = try TestServer()
        let client = try server.client { $0.refusesLoopback = true }
        for host in ["localhost", "127.0.0.1"] { #expect(await reason(server, client, host: host) == "protocol") }
        #expect(try await server.stats(try server.client()).requests["/hello"] == nil)
        #expect(await reason(server, try server.client()) == "none")
    }

    @Test func aNameIsCheckedWhereverTheConnectionGoes() async throws {
        let server = try TestServer()
        let client = try server.client()
        func reason(name: String) async -> String {
            await failure {
                _ = try await client.get("https://\(name):1/hello") { $0.connectTo = "127.0.0.1:\(server.port)" }
            }
        }
        #expect(await reason(name: "localhost") == "none")
        #expect(await reason(name: "store.invalid") == "tls: serverNotTrusted")
    }

    @Test func anExpiredServerIsRefused() async throws {
        let server = try TestServer(isExpired: true)
        #expect(await reason(server, try server.client()) == "tls: serverCertificateExpired")
    }

    @Test func anOutdatedServerIsRefused() async throws {
        let server = try TestServer(.outdated)
        #expect(await reason(server, try server.client()) == "tls: handshakeFailed")
    }

    @Test func aClientIsKnownByItsCertificate() async throws {
        let server = try TestServer(wantsClients: true)
        let mine = try server.authority.issue("client")
        #expect(await reason(server, try server.client(identity: mine)) == "none")
        #expect(await reason(server, try server.client()) == "tls: clientCertificateRefused")
        let other = try TestAuthority()
        let foreign = try other.issue("client")
        #expect(await reason(server, try server.client(identity: foreign)) == "tls: clientCertificateRefused")
        let expired = try server.authority.issue("old", isExpired: true)
        #expect(await reason(server, try server.client(identity: expired)) == "tls: clientCertificateExpired")
        withExtendedLifetime(other) {}
    }

    @Test func unusableFilesAreNamedAsTheReason() async throws {
        let server = try TestServer(wantsClients: true)
        let mine = try server.authority.issue("client")
        let other = try server.authority.issue("other")
        for identity in [
            TLSFiles.Identity(certificate: "/nothing", key: mine.key),
            TLSFiles.Identity(certificate: mine.certificate, key: "/nothing"),
            TLSFiles.Identity(certificate: mine.certificate, key: other.key),
        ] {
            #expect(await reason(server, try server.client(identity: identity)) == "tls: filesUnusable")
        }
    }
}
