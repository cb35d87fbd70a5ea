package import MusterModel

/// The 32 random bytes that a scope shares; all its keys come from them.
package struct ScopeSecret: Sendable {
    package static let byteCount = 32
    package let bytes: [UInt8]

    /// - Returns: nil unless `bytes` are exactly 32.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = Array(bytes)
    }

    package init(from random: RandomSource) { bytes = random.bytes(Self.byteCount) }
}

/// The keys of one scope in one epoch, derived once and shared by all lanes.
package struct ScopeKeys: Sendable {
    struct Pair {
        let key: [UInt8]
        let nonceKey: [UInt8]
    }

    package let scope: ScopeID
    package let epoch: UInt32
    private let chunk: Pair
    private let map: Pair
    private let manifest: Pair

    package init(secret: ScopeSecret, scope: ScopeID, epoch: UInt32) {
        (self.scope, self.epoch) = (scope, epoch)
        let salt = scope.bytes + littleEndianBytes(epoch)
        func pair(_ purpose: KeyPurpose) -> Pair {
            let name = "muster/1/\(purpose.rawValue)"
            return Pair(
                key: KeyDerivation.hkdf(secret: secret.bytes, salt: salt, purpose: name + "/key"),
                nonceKey: KeyDerivation.hkdf(secret: secret.bytes, salt: salt, purpose: name + "/nonce"))
        }
        (chunk, map, manifest) = (pair(.chunk), pair(.map), pair(.manifest))
    }

    func pair(for purpose: KeyPurpose) -> Pair {
        switch purpose {
        case .chunk: chunk
        case .map: map
        case .manifest: manifest
        }
    }
}
