import Foundation
import Logging
import MusterAPI
import MusterFormat
import MusterModel
import MusterTransfer

/// Renews the node's certificate at half its life, and after it expired as well.
struct Renewal: Sendable {
    private static let period = Duration.seconds(3600)

    let directory: AgentDirectory
    let identity: NodeIdentity
    let url: String
    let environment: AgentEnvironment

    func run() async throws {
        while !Task.isCancelled {
            do {
                try await renewIfDue()
            } catch {
                let reason = (error as? any ActionableError)?.summary ?? "\(error)"
                environment.logger.error("certificate not renewed", metadata: ["reason": "\(reason)"])
            }
            try await environment.sleep(Self.period)
        }
    }

    func renewIfDue() async throws {
        // The agent and a served store on the same node both renew: key and certificate are of one of them.
        guard let turn = RenewalTurn(directory) else { return }
        defer { turn.end() }
        let life = try CertificateLife(pem: try PrivateFile.text(at: directory.certificateFile))
        guard life.isDueForRenewal(at: environment.clock.now()) else { return }
        let fresh = try CertificateRequest(for: identity.node)
        var request = Muster_V1_RenewRequest()
        request.nodeID = identity.node.description
        request.certificateRequest = fresh.request
        request.signedAt = environment.clock.now().description
        let signed = Array("\(request.nodeID)\0\(request.signedAt)\0\(request.certificateRequest)".utf8)
        request.signature = .init(identity.signingKey.sign(signed, as: .renewal))
        let answer = try await send(request)
        // Key and certificate belong together: the pair is written as one, in two files, and a crash
        // between them is mended by renewing again, which needs neither.
        try PrivateFile.write(fresh.privateKey, to: directory.certificateKeyFile)
        try PrivateFile.write(answer.certificate, to: directory.certificateFile)
        environment.logger.info("certificate renewed")
    }

    /// Without the old certificate: an expired one would end the handshake, and the signature proves who asks.
    private func send(_ request: Muster_V1_RenewRequest) async throws -> Muster_V1_RenewResponse {
        let http = try HTTPClient(tls: TLSFiles(authority: directory.authorityFile))
        defer { http.shutdown() }
        let coordinator = CoordinatorClient(
            http: http, url: url,
            retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: environment.random, clock: ContinuousClock()))
        return try await coordinator.renew(request)
    }
}

/// One renewal at a time in a directory; the kernel ends another process's turn with it.
private struct RenewalTurn {
    private let descriptor: Int32

    /// Nil while another process has it, and where there can be no lock: it is tried again an hour later.
    init?(_ directory: AgentDirectory) {
        descriptor = open(directory.certificateKeyFile + ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return nil }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            return nil
        }
    }

    /// Unlocked by name: a child that is being started meanwhile has the open file too until it runs its program.
    func end() {
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
