package import MusterModel

/// What a probe asks of a store beside what every store does; a store that is none of these is not asked.
package protocol ProbedStore: Store {
    /// Puts bytes under a signed URL, as somebody without our credentials would.
    ///
    /// - Returns: whether the store took them; nil where it hands out no such URLs.
    func takesSignedPut(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool?

    /// Tries what a signed URL for these bytes under that name does not allow.
    ///
    /// - Parameter other: another name that no object has.
    /// - Returns: what the store took all the same, for people.
    func loopholesOfSignedPut(
        _ name: ObjectName, _ other: ObjectName, _ bytes: [UInt8]
    ) async throws(StoreError) -> [String]

    /// Sends bytes together with a checksum that is not theirs; under a signed URL, where it hands these out.
    ///
    /// - Returns: whether the store refused them for that; nil where it takes no checksum.
    func refusesWrongChecksum(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool?

    /// The time by the store's own clock, in whole seconds or better; nil where it tells none.
    func time() async throws(StoreError) -> Timestamp?

    /// Whether the store can keep an object from deletion for a time; nil where such a thing does not exist.
    func locksObjects() async throws(StoreError) -> Bool?

    /// Locks an object for some seconds, tries to be rid of it, and removes it once its time is over.
    ///
    /// Asked only where `locksObjects` says so.
    func tryLock(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> LockTrial
}

/// What became of an object that was locked.
package enum LockTrial: Hashable, Sendable {
    /// Neither deleted nor replaced before its time.
    case kept(for: Duration)
    /// What was done to it all the same, for people.
    case lost(to: String)
    /// Nothing is known but what the store says of itself.
    case untried(because: String)
}

extension ProbedStore {
    /// A store that hands out no such URLs has none.
    package func loopholesOfSignedPut(
        _ name: ObjectName, _ other: ObjectName, _ bytes: [UInt8]
    ) async throws(StoreError) -> [String] { [] }

    package func tryLock(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> LockTrial {
        .untried(because: "there is no way to try it")
    }
}
