import Crypto
import Foundation
import Glibc
import MusterAPI
import MusterCatalog
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator
@testable import MusterServing

@Suite("Handshakes that are refused")
struct HandshakeTests {
    private static let muchTooOld = Duration.seconds(400 * 86_400)

    /// What the coordinator has counted, as `plane reason`.
    private static func counts(_ server: Server) -> [String: Int] {
        let families = server.service.coordinator.metrics.registry.families
        let samples = families.filter { $0.name == CoordinatorMetrics.handshakeFailed }.flatMap(\.samples)
        return samples.reduce(into: [:]) { counts, sample in
            counts[sample.labels.map(\.value).joined(separator: " ")] = Int(sample.value)
        }
    }

    /// A peer may know that it is refused a moment before that is counted.
    private static func awaitCounts(_ wanted: [String: Int], _ server: Server) async throws {
        let deadline = ContinuousClock.now + .seconds(180)
        while counts(server) != wanted, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(counts(server) == wanted)
    }

    /// The sums of all rows about handshakes, by who and what; and how many rows those are.
    private static func audited(_ server: Server) async throws -> (sums: [String: Int], rows: Int) {
        let coordinator = server.service.coordinator
        try await coordinator.writeDenials(isLast: true)
        let rows = try await coordinator.catalog.auditEntries(limit: 1000).filter {
            $0.action == "denied" && $0.subject.contains("TLS handshake")
        }
        let sums: [String: Int] = try rows.reduce(into: [:]) { sums, row in
            let parts = row.subject.split(separator: " × ", maxSplits: 1)
            sums["\(row.actor): \(parts[1])", default: 0] += try #require(Int(parts[0]))
        }
        return (sums, rows.count)
    }

    private static func files(_ identity: (certificate: String, key: String), _ name: String, _ server: Server) throws
        -> [String]
    {
        let (certificate, key) = (server.rig.directory.file(name + ".pem"), server.rig.directory.file(name + ".key"))
        try identity.certificate.write(toFile: certificate, atomically: true, encoding: .utf8)
        try identity.key.write(toFile: key, atomically: true, encoding: .utf8)
        return ["--cert", certificate, "--key", key]
    }

    @Test func eachIsCountedAndAudited() async throws {
        let other = try await Rig()
        try await Rig.serve { server in
            server.rig.clock.advance(by: .zero - Self.muchTooOld)
            let old = try await server.makeNode("old")
            server.rig.clock.advance(by: Self.muchTooOld)
            let stranger = try Self.files((other.admin.certificate, other.admin.privateKey), "stranger", server)
            let expired = try Self.files((old.certificate, old.tlsKey.pemRepresentation), "expired", server)
            let (agent, admin) = (server.url(.agent) + "/v1/status", server.url(.admin) + "/v1/status")
            for arguments in [
                [admin], stranger + [admin], stranger + [agent], expired + [agent],
                ["--tls-max", "1.2", admin], [admin.replacing("https:", with: "http:")],
            ] {
                let answer = try await ServerTests.curl(server, arguments)
                #expect(answer.status != 0, "\(arguments)")
            }
            try await Self.awaitCounts(
                [
                    "admin no_certificate": 1, "admin untrusted_certificate": 1, "admin old_version": 1,
                    "admin plain_http": 1, "agent untrusted_certificate": 2,
                ], server)
            let who = "anonymous at 127.0.0.1: TLS handshake on the"
            let audited = try await Self.audited(server)
            #expect(
                audited.sums == [
                    "\(who) admin plane: no_certificate": 1, "\(who) admin plane: untrusted_certificate": 1,
                    "\(who) admin plane: old_version": 1, "\(who) admin plane: plain_http": 1,
                    "\(who) agent plane: untrusted_certificate": 2,
                ])
            let check: Muster_V1_AuditCheck = try await server.asAdmin.get(.admin, "/v1/audit/check")
            #expect(check.firstBroken == 0)
        }
    }

    /// As a load balancer does that looks whether the port is open; a peer that knows another authority is no denial either.
    @Test func whoGoesAwayIsCountedAndNotAudited() async throws {
        let other = try await Rig()
        try await Rig.serve { server in
            for _ in 0..<3 { close(try await ServerTests.pool.run { try ServerTests.connect(server.adminPort) }) }
            let authority = server.rig.directory.file("other-authority.pem")
            try other.admin.authority.write(toFile: authority, atomically: true, encoding: .utf8)
            let answer = try await ServerTests.curl(server, ["--cacert", authority, server.url(.agent)])
            #expect(answer.status == 60)
            try await Self.awaitCounts(["admin abandoned": 3, "agent abandoned": 1], server)
            #expect(try await Self.audited(server).rows == 0)
        }
    }

    @Test func aFloodFromOneAddressIsAFewRows() async throws {
        try await Rig.serve { server in
            let plain = server.url(.agent).replacing("https:", with: "http:")
            let times = 60
            // One process, one connection for each request, as the server closes each.
            let answer = try await ServerTests.curl(server, ["\(plain)/[1-\(times)]"])
            #expect(answer.status != 0)
            try await Self.awaitCounts(["agent plain_http": times], server)
            let audited = try await Self.audited(server)
            #expect(audited.sums.values.reduce(0, +) == times)
            // The service may have written once before.
            #expect((1...2).contains(audited.rows))
            #expect(server.service.coordinator.denialAlarms(now: server.rig.clock.now()).isEmpty)
        }
    }

    /// Scanners take no place from those who come to a request.
    @Test func aCrowdOfAddressesHidesNoRequest() throws {
        let (book, now) = (DenialBook(), Timestamp(microseconds: 1_800_000_000_000_000))
        for number in 0..<100_000 {
            book.note(.init(actor: "anonymous at \(number)", what: "TLS handshake", party: .handshakes), at: now)
        }
        book.note(.init(actor: "anonymous at 1", what: "GET /", party: .strangers), at: now)
        let rows = try #require(book.take(at: now)).rows
        #expect(rows.count == DenialBook.mostKinds + 2)
        #expect(rows.map(\.count).reduce(0, +) == 100_001)
        #expect(rows.contains { $0.kind.party == .strangers && $0.count == 1 })
        let rest = try #require(rows.last?.kind)
        #expect(rest.actor == "several addresses" && rest.what == "TLS handshakes of other kinds: more than 1000")
        #expect(book.many(at: now) == nil)
    }
}
