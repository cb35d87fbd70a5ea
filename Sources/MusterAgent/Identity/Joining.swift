import Foundation
package import MusterAPI
import MusterFormat
import MusterModel
import MusterTransfer
import SwiftProtobuf

/// Makes this machine a node of a fleet: keys are made here, and only their public halves leave.
package struct Joining: Sendable {
    private let directory: AgentDirectory
    private let environment: AgentEnvironment

    package init(directory: AgentDirectory, environment: AgentEnvironment) {
        (self.directory, self.environment) = (directory, environment)
    }

    /// Redeems the token and writes the agent's directory; the configuration comes last.
    ///
    /// Keys and request are kept before the token is spent. A join that was cut off is repeated with the same token:
    /// the coordinator gives the same answer to the same request, and to no other.
    package func join(_ token: JoinToken) async throws -> AgentConfiguration {
        guard !directory.isJoined else { throw AgentDirectoryError.alreadyJoined(directory.path) }
        try directory.create()
        let request = try keptRequest(for: token) ?? makeRequest(for: token)
        let answer = try await redeem(request, token)
        guard let receiptKey = Hex.decode(answer.receiptKey).flatMap({ VerifyingKey(bytes: $0) }),
            let node = NodeID(request.nodeID)
        else { throw CoordinatorError.unreadable(path: "/v1/join", reason: "the receipt key is no key") }
        try PrivateFile.write(answer.certificate, to: directory.certificateFile)
        try PrivateFile.write(token.authority, to: directory.authorityFile)
        try PrivateFile.write(Hex.encode(receiptKey.bytes) + "\n", to: directory.receiptKeyFile)
        try PrivateFile.write(token.recoveryKeys.joined(separator: "\n") + "\n", to: directory.recoveryKeysFile)
        let configuration = AgentConfiguration(coordinatorURL: token.url, nodeName: token.nodeName, nodeID: node)
        try directory.write(configuration)
        // It holds nothing that is still worth anything; a leftover does no harm.
        try? FileManager.default.removeItem(atPath: directory.joinRequestFile)
        return configuration
    }

    /// The request of a join with this token that was cut off.
    private func keptRequest(for token: JoinToken) throws -> Muster_V1_JoinRequest? {
        guard let bytes = FileManager.default.contents(atPath: directory.joinRequestFile) else { return nil }
        let request = try Muster_V1_JoinRequest(serializedBytes: bytes)
        return request.tokenSecret == token.secret && request.nodeName == token.nodeName ? request : nil
    }

    private func makeRequest(for token: JoinToken) throws -> Muster_V1_JoinRequest {
        let identity = NodeIdentity(node: NodeID(from: environment.random), from: environment.random)
        let certificateRequest = try CertificateRequest(for: identity.node)
        let record = try KeyRecord.make(
            node: identity.node, nodeName: token.nodeName, secret: identity.secret, scope: identity.scope,
            keyEpoch: identity.keyEpoch, recipients: try recoveryKeys(of: token), signer: identity.signingKey,
            random: environment.random)
        var request = Muster_V1_JoinRequest()
        request.tokenSecret = token.secret
        request.nodeName = token.nodeName
        request.nodeID = identity.node.description
        request.certificateRequest = certificateRequest.request
        request.keyRecord = .init(record)
        request.agentVersion = environment.version
        try identity.write(to: directory)
        try PrivateFile.write(certificateRequest.privateKey, to: directory.certificateKeyFile)
        try PrivateFile.write(try request.serializedBytes() as [UInt8], to: directory.joinRequestFile)
        return request
    }

    private func redeem(
        _ request: Muster_V1_JoinRequest, _ token: JoinToken
    ) async throws -> Muster_V1_JoinResponse {
        let http = try HTTPClient(tls: TLSFiles(authority: token.authority))
        defer { http.shutdown() }
        let coordinator = CoordinatorClient(
            http: http, url: token.url,
            retry: .init(policy: RetryPolicy(maximumAttempts: 4), random: environment.random, clock: ContinuousClock()))
        return try await coordinator.join(request)
    }

    private func recoveryKeys(of token: JoinToken) throws -> [RecoveryPublicKey] {
        let keys = token.recoveryKeys.compactMap { Hex.decode($0).flatMap { RecoveryPublicKey(bytes: $0) } }
        guard keys.count == token.recoveryKeys.count, !keys.isEmpty else { throw TokenDamaged() }
        return keys
    }
}

package struct TokenDamaged: ActionableError {
    package init() {}
    package var summary: String { "that is not a join token" }
    package var hint: String { "Copy the whole word that 'muster node invite NAME' printed." }
    package var isTransient: Bool { false }
}
