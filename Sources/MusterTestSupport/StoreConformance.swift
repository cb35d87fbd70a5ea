package import MusterModel
package import MusterStore

/// What every store must do. A test target runs each claim against a fresh store of its kind.
package struct StoreConformance: Sendable, CustomStringConvertible {
    /// The claim, as a name for the test's report.
    package let description: String
    private let body: @Sendable (_ store: any Store, _ random: RandomSource) async throws -> Void

    init(_ description: String, _ body: @escaping @Sendable (any Store, RandomSource) async throws -> Void) {
        (self.description, self.body) = (description, body)
    }

    /// - Parameter store: fresh; may hold nothing but `format.json`.
    /// - Throws: `ConformanceFailure`, or what the store threw where it should not have.
    package func check(_ store: any Store, random: RandomSource) async throws { try await body(store, random) }

    package static let claims = writing + reading + listing
}

/// A claim that does not hold.
package struct ConformanceFailure: Error, CustomStringConvertible {
    package let description: String
}

func require(_ isTrue: Bool, _ text: String) throws(ConformanceFailure) {
    guard isTrue else { throw ConformanceFailure(description: text) }
}

/// Checks that `body` throws this error and no other.
func requireError(
    _ text: String, _ isExpected: (StoreError) -> Bool, _ body: () async throws(StoreError) -> Void
) async throws(ConformanceFailure) {
    do throws(StoreError) {
        try await body()
    } catch {
        guard isExpected(error) else { throw ConformanceFailure(description: "\(text): threw \(error)") }
        return
    }
    throw ConformanceFailure(description: "\(text): nothing was thrown")
}

extension StoreError {
    var isNotFound: Bool { if case .notFound = self { true } else { false } }
    var isAlreadyExists: Bool { if case .alreadyExists = self { true } else { false } }
    var isTooLarge: Bool { if case .tooLarge = self { true } else { false } }
    var isTooShort: Bool { if case .tooShort = self { true } else { false } }
    var isWriterClosed: Bool { if case .writerClosed = self { true } else { false } }
}

extension RandomSource {
    func packID() throws(ConformanceFailure) -> PackID {
        guard let id = PackID(bytes: bytes(PackID.byteCount)) else {
            throw ConformanceFailure(description: "a random source drew a short id")
        }
        return id
    }

    func objectName() throws(ConformanceFailure) -> ObjectName { .pack(try packID(), Generation(from: self)) }
}

extension Store {
    /// The names of all objects but the store's own record.
    func allNames() async throws(StoreError) -> Set<ObjectName> {
        Set(try await objects(.all, maximumCount: 100_000).map(\.name)).subtracting([.format])
    }
}
