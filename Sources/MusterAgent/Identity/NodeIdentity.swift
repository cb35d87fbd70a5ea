package import MusterFormat
package import MusterModel

/// Who this node is: its signing key and the secret that its chunks are sealed with.
///
/// Made once, at join; the files are the only copies, but for the scope secret, which
/// is also published sealed to the recovery keys.
package struct NodeIdentity: Sendable {
    package let node: NodeID
    package let signingKey: SigningKey
    package let scope: ScopeID
    package let keyEpoch: UInt32
    package let secret: ScopeSecret

    package init(node: NodeID, from random: RandomSource) {
        self.node = node
        signingKey = SigningKey(from: random)
        scope = ScopeID(from: random)
        keyEpoch = 1
        secret = ScopeSecret(from: random)
    }

    package var keys: ScopeKeys { ScopeKeys(secret: secret, scope: scope, epoch: keyEpoch) }

    /// - Throws: `AgentDirectoryError.damagedFile` naming the file.
    package init(directory: AgentDirectory, node: NodeID) throws {
        self.node = node
        let seed = Hex.decode(try Self.line(directory.signingKeyFile))
        guard let seed, let signingKey = SigningKey(privateBytes: seed) else {
            throw AgentDirectoryError.damagedFile(directory.signingKeyFile)
        }
        let words = try Self.line(directory.scopeKeyFile).split(separator: " ")
        guard words.count == 3, let scope = ScopeID(words[0]), let epoch = UInt32(words[1]),
            let bytes = Hex.decode(words[2]), let secret = ScopeSecret(bytes: bytes)
        else { throw AgentDirectoryError.damagedFile(directory.scopeKeyFile) }
        (self.signingKey, self.scope, keyEpoch, self.secret) = (signingKey, scope, epoch, secret)
    }

    func write(to directory: AgentDirectory) throws {
        try PrivateFile.write(Hex.encode(signingKey.privateBytes) + "\n", to: directory.signingKeyFile)
        try PrivateFile.write(
            "\(scope) \(keyEpoch) \(Hex.encode(secret.bytes))\n", to: directory.scopeKeyFile)
    }

    private static func line(_ path: String) throws -> String {
        let text = try PrivateFile.text(at: path)
        return String(text.prefix { $0 != "\n" })
    }
}
