import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Join and renew")
struct JoinTests {
    @Test func aTokenRedeemedInParallelLetsExactlyOneIn() async throws {
        try await Rig.serve { server in
            let token = try await server.invite("alpha")
            let requests = try (0..<6).map { _ in try TestNode(name: "alpha").joinRequest(token) }
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for request in requests {
                    group.addTask { try await server.asAnonymous.tryPost(.agent, "/v1/join", request).status }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { $0 == 200 }.count == 1)
            #expect(statuses.allSatisfy { [200, 401].contains($0) })
            _ = try await CollectionTests.collect(server)
            let keys = try await server.rig.store().objects(.nodes, maximumCount: 10)
            #expect(keys.count == 1, "of those that were refused at the last nothing stays")
        }
    }

    @Test func theSameJoinAgainGetsTheSameCertificate() async throws {
        try await Rig.serve { server in
            let request = try TestNode(name: "alpha").joinRequest(try await server.invite("alpha"))
            let first: Muster_V1_JoinResponse = try await server.asAnonymous.post(.agent, "/v1/join", request)
            let second: Muster_V1_JoinResponse = try await server.asAnonymous.post(.agent, "/v1/join", request)
            #expect(first == second)
        }
    }

    @Test func aTokenIsGoodForTenMinutes() async throws {
        try await Rig.serve { server in
            let request = try TestNode(name: "alpha").joinRequest(try await server.invite("alpha"))
            server.rig.clock.advance(by: .seconds(601))
            let answer = try await server.asAnonymous.tryPost(.agent, "/v1/join", request)
            #expect(answer.status == 401 && answer.code == "token_refused")
        }
    }

    @Test func aKeyRecordOfAnotherNodeOrNameIsRefused() async throws {
        try await Rig.serve { server in
            let token = try await server.invite("alpha")
            var request = try TestNode(name: "alpha").joinRequest(token)
            request.nodeID = NodeID(from: .system).description
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/join", request).status == 400)
            var flipped = try TestNode(name: "alpha").joinRequest(token)
            flipped.keyRecord[60] ^= 1
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/join", flipped).status == 400)
            var unsealed = token
            unsealed.recoveryKeys = [Hex.encode(RecoveryKey(from: .system).publicKey.bytes)]
            let elsewhere = try TestNode(name: "alpha").joinRequest(unsealed)
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/join", elsewhere).status == 400)
        }
    }

    @Test func theKeyRecordIsInTheStoreAndOpensWithTheRecoveryKey() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let answer = try await server.asAdmin.send(.admin, .get, "/v1/nodes/alpha/keys")
            let record = try KeyRecord.parse(answer.body).verified(by: node.signer.verifyingKey)
            let file = try String(contentsOfFile: server.rig.place.recoveryKey, encoding: .utf8)
            #expect(try record.openSecret(with: try RecoveryKey(fileText: file)).bytes == node.secret.bytes)
            let objects = try await server.rig.store().objects(.nodes, maximumCount: 10)
            #expect(objects.count == 1)
        }
    }

    @Test func aSignedRenewalGivesOneCertificate() async throws {
        try await Rig.serve { server in
            var node = try await server.makeNode()
            let request = try node.renewRequest(signedAt: server.rig.clock.now())
            let answer = try await server.asAnonymous.tryPost(.agent, "/v1/renew", request)
            #expect(answer.status == 200)
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/renew", request).status == 401, "a replay")
            node.certificate = try Muster_V1_RenewResponse(serializedBytes: answer.body).certificate
            #expect(!node.certificate.isEmpty)
        }
    }

    /// Each makes a row and a signature: no agent needs one every minute.
    @Test func aNodeRenewsOnlySoOften() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            func renew() async throws -> Peer.Answer {
                server.rig.clock.advance(by: .seconds(60))
                return try await server.asAnonymous.tryPost(
                    .agent, "/v1/renew", try node.renewRequest(signedAt: server.rig.clock.now()))
            }
            // The join gave the first.
            for _ in 1..<Catalog.mostRenewals { #expect(try await renew().status == 200) }
            let answer = try await renew()
            #expect(answer.status == 429 && answer.code == "too_many_renewals" && answer.error.transient)
            server.rig.clock.advance(by: Catalog.renewalWindow)
            #expect(try await renew().status == 200)
        }
    }

    @Test func aRenewalOfAnotherClockKeyOrNodeIsRefused() async throws {
        try await Rig.serve { server in
            let (alpha, beta) = (try await server.makeNode("alpha"), try await server.makeNode("beta"))
            let now = server.rig.clock.now()
            let late = try await server.asAnonymous.tryPost(
                .agent, "/v1/renew", try alpha.renewRequest(signedAt: now - .seconds(301)))
            #expect(late.status == 400 && late.code == "clock")
            var forged = try beta.renewRequest(signedAt: now)
            forged.nodeID = alpha.id.description
            #expect(try await server.asAnonymous.tryPost(.agent, "/v1/renew", forged).status == 401)
            let other = try alpha.renewRequest(signedAt: now)
            #expect(try await server.peer(beta).tryPost(.agent, "/v1/renew", other).status == 403)
        }
    }

    @Test(arguments: ["", "a b", "../etc", String(repeating: "a", count: 64), "-a", "ümlaut"])
    func aStrangeNodeNameIsNotInvited(name: String) async throws {
        try await Rig.serve { server in
            var request = Muster_V1_TokenRequest()
            request.nodeName = name
            let answer = try await server.asAdmin.tryPost(.admin, "/v1/tokens", request)
            #expect(answer.status == 400)
        }
    }
}
