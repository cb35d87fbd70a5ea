package import MusterModel
import MusterTransfer
import Synchronization

/// A store in a bucket of a server that speaks S3.
///
/// An object is put with `If-None-Match: *` and with its SHA-256, so that a name is written once and a body that
/// changed on the way is refused; which servers keep to that the probe finds out. What fails on the way is tried again.
/// A put whose answer was lost may then find its own object: it counts as done if the object that stands there has the
/// same bytes. Only `list` lists.
package final class S3Store: Store {
    package let name: String
    package let id: StoreID
    let connection: S3Connection
    /// nil for a store that is only read.
    let spool: SpoolFolder?
    /// Larger objects are put in parts.
    let partBytes: Int

    init(name: String, id: StoreID, connection: S3Connection, spool: SpoolFolder?, partBytes: Int) {
        (self.name, self.id, self.connection) = (name, id, connection)
        (self.spool, self.partBytes) = (spool, partBytes)
    }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        guard let spool else { throw .readOnly(store: name) }
        return S3ObjectWriter(store: self, spool: spool, file: try await spool.makeFile())
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        let answer: HTTPResponse
        do {
            answer = try await connection.ask(
                S3Request(method: .get, key: connection.key(of: name), maximumResponseBytes: maximumBytes), about: name)
        } catch .tooLarge {
            throw try await tooLarge(name, limitBytes: maximumBytes)
        }
        try connection.require(200, of: answer, about: name)
        guard answer.body.count <= maximumBytes else { throw try await tooLarge(name, limitBytes: maximumBytes) }
        return answer.body
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        guard UInt64(range.count) <= StoreLimit.readBytes else {
            throw .tooLarge(
                store: self.name, object: name.description, byteCount: UInt64(range.count),
                limitBytes: StoreLimit.readBytes)
        }
        guard !range.isEmpty else {
            try await requireReach(name, range.upperBound)
            return []
        }
        let answer = try await connection.ask(
            S3Request(
                method: .get, key: connection.key(of: name),
                headers: ["range": "bytes=\(range.lowerBound)-\(range.upperBound - 1)"],
                maximumResponseBytes: range.count), about: name)
        if answer.status == 416 {
            try await requireReach(name, range.upperBound)
            throw connection.unreadable(answer, about: name)
        }
        // rclone gives a part with 200, and says in the header which one.
        try connection.require(200, 206, of: answer, about: name)
        guard answer.headers["content-range"]?.hasPrefix("bytes \(range.lowerBound)-") == true else {
            throw connection.unreadable(answer, about: name)
        }
        guard answer.body.count == range.count else {
            throw tooShort(
                name, byteCount: range.lowerBound + UInt64(answer.body.count), neededBytes: range.upperBound)
        }
        return answer.body
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        let answer = try await connection.ask(S3Request(method: .head, key: connection.key(of: name)), about: name)
        // Without a body nothing tells a missing bucket from a missing object: `ReconnectingStore` looks for the format.
        if answer.status == 404 { return nil }
        try connection.require(200, of: answer, about: name)
        guard let byteCount = answer.headers["content-length"].flatMap({ UInt64($0) }) else {
            throw connection.unreadable(answer, about: name)
        }
        return byteCount
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        S3Cursor(connection: connection, prefix: prefix)
    }

    /// S3 answers alike whether there was an object: so it is looked for before.
    package func delete(_ name: ObjectName) async throws(StoreError) {
        guard try await byteCount(of: name) != nil else { throw .notFound(store: self.name, object: name) }
        let answer = try await connection.ask(S3Request(method: .delete, key: connection.key(of: name)), about: name)
        try connection.require(200, 204, of: answer, about: name)
    }

    /// `.max`: S3 has no word for what is left.
    package func freeBytes() async throws(StoreError) -> UInt64 {
        guard try await byteCount(of: .format) != nil else {
            throw .unavailable(store: name, reason: "it has no \(ObjectName.format), or there is no such bucket")
        }
        return .max
    }

    private func requireReach(_ name: ObjectName, _ neededBytes: UInt64) async throws(StoreError) {
        guard let byteCount = try await byteCount(of: name) else { throw .notFound(store: self.name, object: name) }
        guard neededBytes <= byteCount else { throw tooShort(name, byteCount: byteCount, neededBytes: neededBytes) }
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

/// A listing in pages of ListObjectsV2.
final class S3Cursor: ObjectCursor {
    /// A page's entries have hashes, owners and times besides.
    private static let maximumPageBytes = StoreLimit.objectsPerPage * 4096

    private let connection: S3Connection
    private let prefix: ObjectPrefix
    /// nil before the first page; "" after the last.
    private let token = Mutex<String?>(nil)

    init(connection: S3Connection, prefix: ObjectPrefix) { (self.connection, self.prefix) = (connection, prefix) }

    func nextPage() async throws(StoreError) -> [StoredObject] {
        // A page may hold nothing of ours and yet not be the last.
        while true {
            let last = token.withLock { $0 }
            if last == "" { return [] }
            var request = S3Request(method: .get, maximumResponseBytes: Self.maximumPageBytes)
            request.query = [
                ("encoding-type", "url"), ("list-type", "2"), ("max-keys", "\(StoreLimit.objectsPerPage)"),
                ("prefix", connection.address.key(of: prefix)),
            ]
            if let last { request.query.append(("continuation-token", last)) }
            let answer = try await connection.ask(request)
            try connection.require(200, of: answer)
            guard let result = XMLText(answer.body).first("ListBucketResult"),
                let isTruncated = result.first("IsTruncated")?.string, let objects = objects(result)
            else { throw connection.unreadable(answer) }
            if isTruncated == "true" {
                guard let next = result.first("NextContinuationToken")?.string, !next.isEmpty, next != last else {
                    throw connection.unreadable(answer)
                }
                token.withLock { $0 = next }
            } else {
                token.withLock { $0 = "" }
            }
            if !objects.isEmpty { return objects }
        }
    }

    /// - Returns: those whose names are ours; nil where the answer makes no sense.
    private func objects(_ result: XMLText) -> [StoredObject]? {
        var objects: [StoredObject] = []
        for entry in result.all("Contents") {
            guard let key = entry.first("Key")?.string?.formDecoded,
                let byteCount = entry.first("Size")?.string.flatMap({ UInt64($0) })
            else { return nil }
            // Others may keep things in the bucket, and a folder's mark is no object.
            guard let name = connection.address.name(ofKey: key) else { continue }
            guard name.description.hasPrefix(prefix.description) else { return nil }
            objects.append(StoredObject(name: name, byteCount: byteCount))
        }
        return objects
    }
}
