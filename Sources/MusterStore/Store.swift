/// A place that holds objects, each written once under a name of its own.
///
/// Every store passes one suite, `StoreConformance`. An object is there as a
/// whole or not at all; what `commit` returned for survives a power cut.
package protocol Store: Sendable {
    /// For people and errors.
    var name: String { get }

    /// Begins an object that nobody sees until it is committed.
    func beginPut() async throws(StoreError) -> any ObjectWriter

    /// Puts a small object in one step.
    func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError)

    /// Begins a small object with all its bytes, as far as can be done before it has a name: a store that can
    /// makes them durable now, so that its commit takes less time.
    func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter

    /// Reads a whole object.
    ///
    /// - Parameter maximumBytes: a larger object is an error.
    /// - Parameter fresh: reads the medium and not the memory that caches it, as far as the store can.
    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8]

    /// Reads exactly these bytes; a range that the object does not fill is an error.
    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8]

    /// - Returns: nil if there is no such object.
    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64?

    /// Lists objects page by page, in no promised order.
    ///
    /// What is put or deleted meanwhile may be listed or not; all else is listed once.
    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor

    /// Deletes one object. Only gc calls this.
    func delete(_ name: ObjectName) async throws(StoreError)

    func freeBytes() async throws(StoreError) -> UInt64
}

/// One object on its way into a store. Used by one task at a time; dropped without `commit` it leaves nothing.
package protocol ObjectWriter: AnyObject, Sendable {
    /// Appends. After an error the writer is closed and what was written is gone.
    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError)

    /// Reads back what was written, before it is committed.
    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8]

    /// Makes the object durable and then visible; the writer is closed, whatever the outcome.
    ///
    /// - Throws: `.alreadyExists` if the name is taken. Any error means that no acknowledgement may follow.
    func commit(as name: ObjectName) async throws(StoreError)

    /// Gives up; does nothing if the writer is closed.
    func abort() async
}

package struct StoredObject: Hashable, Sendable {
    package let name: ObjectName
    package let byteCount: UInt64

    package init(name: ObjectName, byteCount: UInt64) { (self.name, self.byteCount) = (name, byteCount) }
}

/// A listing under way. Used by one task at a time.
package protocol ObjectCursor: AnyObject, Sendable {
    /// - Returns: at most 1000 objects; none at the end.
    func nextPage() async throws(StoreError) -> [StoredObject]
}

/// How far a store's readers and listings go in one step.
package enum StoreLimit {
    package static let objectsPerPage = 1000
    /// No single read is longer, whatever a damaged or hostile object says of itself.
    package static let readBytes: UInt64 = 256 << 20
}

extension ObjectWriter {
    package func write(_ bytes: [UInt8]) async throws(StoreError) { try await write(bytes[...]) }
}

extension Store {
    package func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
        let writer = try await prepare(bytes)
        do {
            try await writer.commit(as: name)
        } catch {
            await writer.abort()
            throw error
        }
    }

    package func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        let writer = try await beginPut()
        do {
            try await writer.write(bytes)
        } catch {
            await writer.abort()
            throw error
        }
        return writer
    }

    package func read(_ name: ObjectName, maximumBytes: Int) async throws(StoreError) -> [UInt8] {
        try await read(name, maximumBytes: maximumBytes, fresh: false)
    }

    package func read(_ name: ObjectName, range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        try await read(name, range: range, fresh: false)
    }

    /// Lists everything under a prefix that is known to hold few objects.
    ///
    /// - Parameter maximumCount: more is an error.
    package func objects(_ prefix: ObjectPrefix, maximumCount: Int) async throws(StoreError) -> [StoredObject] {
        let cursor = try await list(prefix)
        var objects: [StoredObject] = []
        while true {
            let page = try await cursor.nextPage()
            guard !page.isEmpty else { return objects }
            objects += page
            guard objects.count <= maximumCount else {
                throw .tooLarge(
                    store: name, object: "listing of '\(prefix)'", byteCount: UInt64(objects.count),
                    limitBytes: UInt64(maximumCount))
            }
        }
    }

    /// Every object under a prefix whose name the layout knows, page by page.
    nonisolated(nonsending) package func eachPage(
        _ prefix: ObjectPrefix, _ body: ([(item: StoredItem, object: StoredObject)]) async throws -> Void
    ) async throws {
        let cursor = try await list(prefix)
        while true {
            let page = try await cursor.nextPage()
            if page.isEmpty { return }
            try await body(page.compactMap { object in StoredItem(object.name).map { ($0, object) } })
        }
    }
}
