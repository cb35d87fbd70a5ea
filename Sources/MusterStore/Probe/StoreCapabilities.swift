import MusterModel

/// What a store proved when it was probed, and when.
package struct StoreCapabilities: Codable, Hashable, Sendable {
    package enum Capability: String, Codable, Sendable, CaseIterable {
        /// What was put is read at once, also where it was looked for before.
        case readAfterWrite = "read-after-write"
        /// Of many writers of one name exactly one wins, and nobody changes what stands.
        case createOnly = "create-only"
        /// A body that has not the hash it was sent with gets no name.
        case checksumRefusal = "checksum-refusal"
        case rangeReads = "range-reads"
        /// A listing has what was put, and nothing that was deleted.
        case listing
        /// What was deleted is gone, and nothing beside it.
        case deletion
        /// The store's clock and ours agree.
        case clock
        /// Objects can be kept from deletion for a time that nobody can shorten.
        case objectLock = "object-lock"
        /// An address can be handed out under which somebody else may put one object.
        case signedURLs = "signed-urls"
    }

    package enum Outcome: String, Codable, Sendable {
        case held
        case broken
        /// The store does not offer it, or does not tell.
        case absent
    }

    package struct Finding: Codable, Hashable, Sendable {
        package let capability: Capability
        package let outcome: Outcome
        /// What was seen, for people; one line.
        package let detail: String

        package init(_ capability: Capability, _ outcome: Outcome, _ detail: String) {
            (self.capability, self.outcome, self.detail) = (capability, outcome, detail)
        }
    }

    /// How fast the store was for one caller; medians where there are several.
    package struct Pace: Codable, Hashable, Sendable {
        package let putBytesPerSecond: UInt64
        package let readBytesPerSecond: UInt64
        package let putMicroseconds: UInt64
        package let readMicroseconds: UInt64

        package init(
            putBytesPerSecond: UInt64, readBytesPerSecond: UInt64, putMicroseconds: UInt64, readMicroseconds: UInt64
        ) {
            (self.putBytesPerSecond, self.readBytesPerSecond) = (putBytesPerSecond, readBytesPerSecond)
            (self.putMicroseconds, self.readMicroseconds) = (putMicroseconds, readMicroseconds)
        }
    }

    package let findings: [Finding]
    package let pace: Pace

    package init(findings: [Finding], pace: Pace) { (self.findings, self.pace) = (findings, pace) }

    package func finding(_ capability: Capability) -> Finding? { findings.first { $0.capability == capability } }
    package func has(_ capability: Capability) -> Bool { finding(capability)?.outcome == .held }
    package var broken: [Finding] { findings.filter { $0.outcome == .broken } }
}

/// A use of a store that needs more of it than that it answers.
package enum StoreFeature: String, Sendable, CaseIterable {
    /// Keeping replicas that receipts, repair and restores rely on.
    case replicas
    /// Deleting what nothing refers to.
    case deletion
    /// Rebuilding a coordinator or restoring from the store alone.
    case rebuild
    /// Uploads by signed URLs that bypass the coordinator.
    case signedUploads = "signed-uploads"

    package var needs: Set<StoreCapabilities.Capability> {
        switch self {
        case .replicas: [.readAfterWrite, .createOnly, .rangeReads]
        case .deletion: [.readAfterWrite, .createOnly, .rangeReads, .deletion]
        case .rebuild: [.readAfterWrite, .createOnly, .rangeReads, .listing]
        case .signedUploads: [.readAfterWrite, .createOnly, .rangeReads, .checksumRefusal, .clock, .signedURLs]
        }
    }
}

extension StoreFeature {
    /// What is wanted of every store; the rest is used where it is there.
    package static let ofEveryStore: [StoreFeature] = [.replicas, .deletion, .rebuild]
}

extension StoreCapabilities {
    /// What is wanted of every store and this one lacks something for, each with what none before it has named.
    package var shortfalls: [(feature: StoreFeature, obstacles: [Finding])] {
        var named: Set<Capability> = []
        return StoreFeature.ofEveryStore.compactMap { feature in
            let obstacles = obstacles(to: feature).filter { named.insert($0.capability).inserted }
            return obstacles.isEmpty ? nil : (feature, obstacles)
        }
    }

    /// What keeps the store from a feature, in the order of the findings; a capability that was not probed is missing too.
    package func obstacles(to feature: StoreFeature) -> [Finding] {
        Capability.allCases.filter { feature.needs.contains($0) && !has($0) }.map { capability in
            finding(capability) ?? Finding(capability, .absent, "it was not probed")
        }
    }

    /// - Throws: what is missing, with what to do.
    package func require(_ feature: StoreFeature, of store: String) throws(StoreCapabilityMissing) {
        let obstacles = obstacles(to: feature)
        guard obstacles.isEmpty else {
            throw StoreCapabilityMissing(store: store, feature: feature, obstacles: obstacles)
        }
    }
}

/// A store does not promise what a feature needs.
package struct StoreCapabilityMissing: ActionableError, Equatable {
    package let store: String
    package let feature: StoreFeature
    package let obstacles: [StoreCapabilities.Finding]

    package var summary: String {
        let list = obstacles.map { "\($0.capability.rawValue) (\($0.detail))" }.joined(separator: ", ")
        return "store '\(store)' cannot be used for \(feature.rawValue): it lacks \(list)"
    }

    package var hint: String {
        switch feature {
        case .signedUploads: "Nothing is to be done: uploads to this store go through the coordinator."
        default: "Use another store, or mend its server and run 'muster store probe \(store)' again."
        }
    }

    package var isTransient: Bool { false }
}
