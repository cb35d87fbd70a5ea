import MusterModel

/// One method for each promise. Each returns what was seen where it held.
extension StoreProbe {
    private static let writers = 32
    private static let sizes = [1, 4096, 300_000]

    func tryReadAfterWrite() async throws(ProbeFailure) -> String {
        for size in Self.sizes {
            let (name, bytes) = (run.newName(), run.random.bytes(size))
            // A store that remembers for a while that a name was not there shows it now.
            try await require(asked { () throws(StoreError) in try await store.byteCount(of: name) } == nil) {
                "a name that was never used has a size"
            }
            try await asked { () throws(StoreError) in try await store.put(name, bytes) }
            try await requireHolds(name, bytes)
        }
        return "\(Self.sizes.count) objects were read at once"
    }

    func tryCreateOnly() async throws(ProbeFailure) -> String {
        let (name, bytes) = (run.newName(), run.random.bytes(10_000))
        try await asked { () throws(StoreError) in try await store.put(name, bytes) }
        let second = try await isMade(name, run.random.bytes(9000))
        try require(!second) { "a second put replaced an object" }
        try await requireHolds(name, bytes)
        try await tryManyWriters()
        return "of \(Self.writers) writers exactly one won"
    }

    private func tryManyWriters() async throws(ProbeFailure) {
        let name = run.newName()
        let bodies = (0..<Self.writers).map { _ in run.random.bytes(10_000) }
        let outcomes = await withTaskGroup(of: (Int, Result<Bool, ProbeFailure>).self) { group in
            for (index, body) in bodies.enumerated() {
                group.addTask {
                    do throws(ProbeFailure) {
                        return (index, .success(try await isMade(name, body)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var winners: [Int] = []
        for (index, outcome) in outcomes where try outcome.get() { winners.append(index) }
        try require(winners.count == 1) { "\(winners.count) of \(Self.writers) writers were told that they won" }
        for winner in winners { try await requireHolds(name, bodies[winner]) }
    }

    func tryRanges() async throws(ProbeFailure) -> String {
        let (name, bytes) = (run.newName(), run.random.bytes(300_000))
        try await asked { () throws(StoreError) in try await store.put(name, bytes) }
        for range in [0..<1, 0..<300_000, 299_999..<300_000, 65_535..<65_537, 100_000..<200_000] {
            let wanted = UInt64(range.lowerBound)..<UInt64(range.upperBound)
            let got = try await asked { () throws(StoreError) in try await store.read(name, range: wanted) }
            try require(got == Array(bytes[range])) { "the bytes \(range) of an object are not those that were put" }
        }
        do throws(StoreError) {
            _ = try await store.read(name, range: 299_999..<300_001)
        } catch .tooShort {
            return "ranges are exact"
        } catch {
            throw .store(error)
        }
        throw .broken("a range past the end of an object was read without an error")
    }

    func tryChecksum() async throws(ProbeFailure) -> String {
        guard let asked = store as? any ProbedStore else { throw .absent("stores of this kind take no checksum") }
        let (name, bytes) = (run.newName(), run.random.bytes(5000))
        guard
            let refuses = try await self.asked({ () throws(StoreError) in
                try await asked.refusesWrongChecksum(name, bytes)
            })
        else { throw .absent("the store takes no checksum") }
        try require(refuses) { "a body with a wrong checksum was taken" }
        let byteCount = try await self.asked { () throws(StoreError) in try await store.byteCount(of: name) }
        try require(byteCount == nil) { "a body with a wrong checksum was refused, and is there all the same" }
        return "a body with a wrong checksum was refused"
    }

    func trySignedURL() async throws(ProbeFailure) -> String {
        guard let asked = store as? any ProbedStore else { throw .absent("stores of this kind have none") }
        let (name, bytes) = (run.newName(), run.random.bytes(5000))
        guard
            let takes = try await self.asked({ () throws(StoreError) in try await asked.takesSignedPut(name, bytes) })
        else { throw .absent("stores of this kind have none") }
        try require(takes) { "a put under a signed URL was refused" }
        try await requireHolds(name, bytes)
        let other = run.random.bytes(4000)
        let again = try await self.asked { () throws(StoreError) in try await asked.takesSignedPut(name, other) }
        try require(again == false) { "a second put under a signed URL replaced an object" }
        let (next, another) = (run.newName(), run.newName())
        let loopholes = try await self.asked { () throws(StoreError) in
            try await asked.loopholesOfSignedPut(next, another, bytes)
        }
        try require(loopholes.isEmpty) { "a signed URL did not keep out \(loopholes.joined(separator: ", "))" }
        return "a put under a signed URL was taken, once, and no other"
    }

    func tryListing() async throws(ProbeFailure) -> String {
        let (name, bytes) = (run.newName(), run.random.bytes(777))
        try await asked { () throws(StoreError) in try await store.put(name, bytes) }
        let listed = try await listed()
        try require(listed.contains(StoredObject(name: name, byteCount: 777))) {
            "an object that was put is not listed with its size"
        }
        try require(Set(listed.map(\.name)).count == listed.count) { "an object is listed twice" }
        for object in listed {
            let byteCount = try await asked { () throws(StoreError) in try await store.byteCount(of: object.name) }
            try require(byteCount == object.byteCount) { "an object is listed that is not there, or has another size" }
        }
        return "\(listed.count) objects were listed"
    }

    /// Deletes all that the probe made.
    func tryDeletion() async throws(ProbeFailure) -> String {
        let (kept, bytes) = (run.newName(), run.random.bytes(100))
        try await asked { () throws(StoreError) in try await store.put(kept, bytes) }
        var count = 0
        for name in run.names where name != kept {
            if try await isDeleted(name) { count += 1 }
            let byteCount = try await asked { () throws(StoreError) in try await store.byteCount(of: name) }
            try require(byteCount == nil) { "an object that was deleted is still there" }
        }
        try await requireHolds(kept, bytes)
        try await require(isDeleted(kept)) { "an object could not be deleted" }
        let left = try await listed()
        try require(left.isEmpty) { "\(left.count) objects that were deleted are listed" }
        return "\(count + 1) objects were deleted"
    }

    private func listed() async throws(ProbeFailure) -> [StoredObject] {
        try await asked { () throws(StoreError) in try await store.objects(run.prefix, maximumCount: 1000) }
    }

    /// - Returns: false if there was no such object.
    private func isDeleted(_ name: ObjectName) async throws(ProbeFailure) -> Bool {
        do throws(StoreError) {
            try await store.delete(name)
            return true
        } catch .notFound {
            return false
        } catch {
            throw .store(error)
        }
    }

    /// - Returns: false if the name was taken.
    private func isMade(_ name: ObjectName, _ bytes: [UInt8]) async throws(ProbeFailure) -> Bool {
        do throws(StoreError) {
            try await store.put(name, bytes)
            return true
        } catch .alreadyExists {
            return false
        } catch {
            throw .store(error)
        }
    }

    private func requireHolds(_ name: ObjectName, _ bytes: [UInt8]) async throws(ProbeFailure) {
        let byteCount = try await asked { () throws(StoreError) in try await store.byteCount(of: name) }
        try require(byteCount == UInt64(bytes.count)) {
            "an object of \(bytes.count) bytes is \(byteCount.map { "one of \($0)" } ?? "not there")"
        }
        let got = try await asked { () throws(StoreError) in
            try await store.read(name, maximumBytes: bytes.count, fresh: true)
        }
        try require(got == bytes) { "an object has other bytes than were put" }
    }

    private func require(_ isTrue: Bool, _ text: () -> String) throws(ProbeFailure) {
        guard isTrue else { throw .broken(text()) }
    }

    private func asked<Value>(_ body: () async throws(StoreError) -> Value) async throws(ProbeFailure) -> Value {
        do {
            return try await body()
        } catch {
            throw .store(error)
        }
    }
}
