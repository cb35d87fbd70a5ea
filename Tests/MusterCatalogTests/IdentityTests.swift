import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Who is in the fleet")
struct IdentityTests {
    @Test func ofParallelJoinsWithOneTokenExactlyOneWins() async throws {
        let fixture = try await Fixture()
        let secret = fixture.random.bytes(32)
        let now = fixture.clock.now()
        #expect(
            try await fixture.catalog.invite(
                secretHash: secret, nodeName: "alpha", now: now, expiresAt: now + .seconds(600)))
        let registrations = try (0..<8).map { _ in try fixture.registration("alpha", secret: secret) }
        let outcomes = try await withThrowingTaskGroup(of: Catalog.TokenState.self) { group in
            for registration in registrations {
                group.addTask { try await fixture.catalog.redeem(registration, now: now) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.filter { $0 == .good }.count == 1)
        #expect(outcomes.filter { $0 == .refused }.count == 7)
        #expect(try await fixture.catalog.nodes().count == 1)
    }

    @Test func theSameJoinAgainGetsTheSameCertificate() async throws {
        let fixture = try await Fixture()
        let secret = fixture.random.bytes(32)
        let now = fixture.clock.now()
        _ = try await fixture.catalog.invite(
            secretHash: secret, nodeName: "alpha", now: now, expiresAt: now + .seconds(600))
        let registration = try fixture.registration("alpha", secret: secret)
        #expect(try await fixture.catalog.redeem(registration, now: now) == .good)
        #expect(
            try await fixture.catalog.redeem(registration, now: now) == .redeemed(certificatePEM: "pem of alpha"))
    }

    @Test func aTokenIsForOneNameAndTenMinutes() async throws {
        let fixture = try await Fixture()
        let secret = fixture.random.bytes(32)
        let now = fixture.clock.now()
        _ = try await fixture.catalog.invite(
            secretHash: secret, nodeName: "alpha", now: now, expiresAt: now + .seconds(600))
        let other = try fixture.registration("beta", secret: secret)
        #expect(try await fixture.catalog.redeem(other, now: now) == .refused)
        let late = try fixture.registration("alpha", secret: secret)
        #expect(try await fixture.catalog.redeem(late, now: now + .seconds(600)) == .refused)
        #expect(try await fixture.catalog.redeem(late, now: now + .seconds(599)) == .good)
    }

    @Test func aTakenNameIsNotInvitedAgain() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.makeNode("alpha")
        let now = fixture.clock.now()
        #expect(
            try await !fixture.catalog.invite(
                secretHash: fixture.random.bytes(32), nodeName: "alpha", now: now, expiresAt: now + .seconds(600)))
    }

    @Test func aRevokedNodesCertificateStopsCountingAndCannotBeRenewed() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        var renewed = try fixture.registration("alpha", secret: []).certificate
        renewed.node = node.id
        let now = fixture.clock.now()
        func renew(_ request: UInt8) async throws -> Catalog.RenewalOutcome {
            try await fixture.catalog.renew(renewed, requestHash: [request], now: now, expiresAt: now + .seconds(900))
        }
        #expect(try await renew(1) == .renewed)
        #expect(try await fixture.catalog.certificate(renewed.fingerprint)?.isRevoked == false)
        try await fixture.catalog.revoke(node.id, at: now)
        #expect(try await fixture.catalog.certificate(renewed.fingerprint)?.isRevoked == true)
        renewed.fingerprint = try fixture.digest()
        #expect(try await renew(2) == .refused)
    }

    @Test func aSignedRenewalCountsOnce() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let now = fixture.clock.now()
        var outcomes: [Catalog.RenewalOutcome] = []
        for _ in 0..<2 {
            var certificate = try fixture.registration("alpha", secret: []).certificate
            certificate.node = node.id
            outcomes.append(
                try await fixture.catalog.renew(
                    certificate, requestHash: [9], now: now, expiresAt: now + .seconds(900)))
        }
        #expect(outcomes == [.renewed, .refused])
    }

    /// Neither certificates nor signatures pile up, however long a node lives or however often it asks.
    @Test func renewalsAreFewAndTheirCertificatesGoWithTime() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        func renew(_ number: Int) async throws -> Catalog.RenewalOutcome {
            var certificate = try fixture.registration("alpha", secret: []).certificate
            certificate.node = node.id
            let now = fixture.clock.now()
            return try await fixture.catalog.renew(
                certificate, requestHash: [UInt8(number)], now: now, expiresAt: now + .seconds(900))
        }
        func count() async throws -> Int? {
            try await fixture.catalog.read { try $0.value("SELECT count(*) FROM certificate", []) }
        }
        for number in 1..<Catalog.mostRenewals { #expect(try await renew(number) == .renewed) }
        #expect(try await renew(100) == .tooMany)
        #expect(try await count() == Catalog.mostRenewals)
        fixture.clock.advance(by: Catalog.renewalWindow + .seconds(1))
        #expect(try await renew(101) == .renewed)
        fixture.clock.advance(by: .seconds(59 * 86_400))
        #expect(try await renew(102) == .renewed)
        #expect(try await count() == 2, "those that ended a month ago are gone")
    }

    @Test func anotherNodesDatabaseIsNotReportedOn() async throws {
        let fixture = try await Fixture()
        let (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        let database = Catalog.Database(
            id: DatabaseID(from: fixture.random), node: alpha.id, nodeName: "alpha", name: "app")
        func report(_ node: Catalog.Node) async throws -> [DatabaseID] {
            try await fixture.catalog.record(
                Catalog.Report(agentVersion: "1", clockOffset: .zero, databases: [database], isWhole: true),
                from: node.id, now: fixture.clock.now())
        }
        #expect(try await report(alpha).isEmpty)
        #expect(try await report(beta) == [database.id])
        #expect(try await fixture.catalog.database(database.id)?.node == alpha.id)
    }

    @Test func aChangedAuditRowIsFound() async throws {
        let fixture = try await Fixture()
        for number in 0..<5 {
            try await fixture.catalog.audit(
                Catalog.AuditRow(
                    actor: "admin", action: "invite", subject: "node \(number)", at: fixture.clock.now()))
        }
        #expect(try await fixture.catalog.checkAudit().firstBroken == nil)
        try await fixture.catalog.pool.write { database in
            try database.execute(sql: "UPDATE audit SET subject = 'another' WHERE number = 3")
        }
        #expect(try await fixture.catalog.checkAudit().firstBroken == 3)
    }
}
