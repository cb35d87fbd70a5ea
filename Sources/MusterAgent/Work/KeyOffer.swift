import Logging
import MusterAPI
import MusterFormat
import MusterModel

/// Sends the node's key record again that no store has any more: the secret is here, and so is whom it is sealed to.
struct KeyOffer: Sendable {
    let identity: NodeIdentity
    let nodeName: String
    let directory: AgentDirectory
    let coordinator: CoordinatorClient
    let environment: AgentEnvironment

    init(
        _ identity: NodeIdentity, _ nodeName: String, _ directory: AgentDirectory, _ coordinator: CoordinatorClient,
        _ environment: AgentEnvironment
    ) {
        (self.identity, self.nodeName, self.directory) = (identity, nodeName, directory)
        (self.coordinator, self.environment) = (coordinator, environment)
    }

    /// The coordinator asks again where it did not come to pass.
    func send() async {
        do {
            let record = try KeyRecord.make(
                node: identity.node, nodeName: nodeName, secret: identity.secret, scope: identity.scope,
                keyEpoch: identity.keyEpoch, recipients: try recoveryKeys(), signer: identity.signingKey,
                random: environment.random)
            _ = try await coordinator.send(keyRecord: record)
            environment.logger.notice("key record sent again, as no store had it")
        } catch {
            environment.logger.warning("key record not sent", metadata: ["reason": "\(error)"])
        }
    }

    /// Those of the join: nobody but an operator on this machine says who may open what is sealed here.
    private func recoveryKeys() throws -> [RecoveryPublicKey] {
        let lines = try PrivateFile.text(at: directory.recoveryKeysFile).split(separator: "\n")
        return try lines.map { line in
            guard let key = Hex.decode(line).flatMap({ RecoveryPublicKey(bytes: $0) }) else {
                throw AgentDirectoryError.damagedFile(directory.recoveryKeysFile)
            }
            return key
        }
    }
}
