package import MusterModel
package import MusterTransfer

/// A store that another node keeps: `muster store serve` there, and this at the coordinator, its only client.
///
/// `proto/node-store.md` is the protocol. The server is known by its node's id: its certificate must hold the name
/// that only this node gets, wherever the connection goes.
///
/// What fails on the way is tried again. A put whose answer was lost may then find its own object: it counts as done if
/// the object that stands there has the same bytes. So two writers of the same bytes under one name may both be
/// told that they made it, if a connection broke meanwhile.
package final class NodeStore: Store {
    /// Where the store listens, and whose it is.
    package struct Place: Hashable, Sendable {
        package let host: String
        package let port: Int
        package let node: NodeID

        package init(host: String, port: Int, node: NodeID) { (self.host, self.port, self.node) = (host, port, node) }
    }

    package let name: String
    let connection: NodeStoreConnection
    let spool: SpoolFolder

    /// Opens no connection yet.
    ///
    /// - Parameter tls: the fleet's authority, and the coordinator's certificate for stores.
    /// - Parameter spool: an existing folder for objects on their way; a crash leaves nothing in it.
    package init(
        name: String, place: Place, tls: TLSFiles, spool: String, retry: StoreRetry,
        settings: HTTPClient.Settings = HTTPClient.Settings()
    ) throws(StoreError) {
        self.name = name
        connection = try NodeStoreConnection(store: name, place: place, tls: tls, retry: retry, settings: settings)
        self.spool = try SpoolFolder(path: spool, storeName: name, random: retry.random)
    }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        NodeObjectWriter(store: self, file: try await spool.makeFile())
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        let answer: HTTPResponse
        do {
            answer = try await connection.ask(
                connection.request(.get, name, fresh: fresh, maximumResponseBytes: maximumBytes), about: name)
        } catch .tooLarge {
            throw try await tooLarge(name, limitBytes: maximumBytes)
        }
        try connection.require(200, answer, about: name)
        guard answer.body.count <= maximumBytes else { throw try await tooLarge(name, limitBytes: maximumBytes) }
        return answer.body
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        guard UInt64(range.count) <= StoreLimit.readBytes else {
            throw .tooLarge(
                store: self.name, object: name.description, byteCount: UInt64(range.count),
                limitBytes: StoreLimit.readBytes)
        }
        guard !range.isEmpty else { return try await readNothing(name, at: range.lowerBound) }
        var request = connection.request(.get, name, fresh: fresh, maximumResponseBytes: range.count)
        request.headers["range"] = "bytes=\(range.lowerBound)-\(range.upperBound - 1)"
        let answer = try await connection.ask(request, about: name)
        if answer.status == 416, let byteCount = answer.headers[NodeStoreWire.byteCountHeader].flatMap({ UInt64($0) }) {
            throw tooShort(name, byteCount: byteCount, neededBytes: range.upperBound)
        }
        try connection.require(206, answer, about: name)
        guard answer.body.count == range.count else {
            throw tooShort(
                name, byteCount: range.lowerBound + UInt64(answer.body.count), neededBytes: range.upperBound)
        }
        return answer.body
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        let answer = try await connection.ask(connection.request(.head, name), about: name)
        if answer.status == 404 { return nil }
        try connection.require(200, answer, about: name)
        guard let byteCount = answer.headers[NodeStoreWire.byteCountHeader].flatMap({ UInt64($0) }) else {
            throw connection.unreadable(answer, about: name)
        }
        return byteCount
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        NodeCursor(connection: connection, prefix: prefix)
    }

    package func delete(_ name: ObjectName) async throws(StoreError) {
        let attempts = Attempts()
        let answer = try await connection.ask(connection.request(.delete, name), about: name, attempts)
        // An attempt before this one may have done it, and its answer was lost.
        if answer.status == 404, attempts.mayHaveSucceeded { return }
        try connection.require(204, answer, about: name)
    }

    package func freeBytes() async throws(StoreError) -> UInt64 {
        let answer = try await connection.ask(connection.request(.get, path: NodeStoreWire.roomPath))
        try connection.require(200, answer)
        guard let freeBytes = UInt64(String(decoding: answer.body, as: UTF8.self)) else {
            throw connection.unreadable(answer)
        }
        return freeBytes
    }

    private func readNothing(_ name: ObjectName, at offset: UInt64) async throws(StoreError) -> [UInt8] {
        guard let byteCount = try await byteCount(of: name) else { throw .notFound(store: self.name, object: name) }
        guard offset <= byteCount else { throw tooShort(name, byteCount: byteCount, neededBytes: offset) }
        return []
    }

    private func tooShort(_ name: ObjectName, byteCount: UInt64, neededBytes: UInt64) -> StoreError {
        .tooShort(store: self.name, object: name.description, byteCount: byteCount, neededBytes: neededBytes)
    }

    private func tooLarge(_ name: ObjectName, limitBytes: Int) async throws(StoreError) -> StoreError {
        guard let byteCount = try await byteCount(of: name) else { return .notFound(store: self.name, object: name) }
        return .tooLarge(
            store: self.name, object: name.description, byteCount: byteCount, limitBytes: UInt64(limitBytes))
    }
}
