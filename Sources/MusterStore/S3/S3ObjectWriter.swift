import Crypto
import Foundation
import MusterModel
import MusterTransfer

/// Gathers an object in a file without a name, and sends it when it is committed: at once, or in parts where it is large.
final class S3ObjectWriter: ObjectWriter {
    /// Amazon's limit for one object.
    private static let maximumBytes: UInt64 = 5 << 40
    /// Amazon's limit for the parts of one object.
    private static let maximumParts: UInt64 = 10_000
    private static let createOnly = ["if-none-match": "*"]

    private let store: S3Store
    private let spooled: SpoolWriter

    init(store: S3Store, spool: SpoolFolder, file: SpoolFile) {
        self.store = store
        spooled = SpoolWriter(file: file, in: spool, store: store.name, maximumBytes: Self.maximumBytes)
    }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) { try await spooled.write(bytes) }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] { try await spooled.readBack(range) }

    func commit(as name: ObjectName) async throws(StoreError) {
        guard let object = spooled.take() else { throw spooled.closed }
        if object.byteCount > UInt64(store.partBytes) {
            try await putInParts(object, as: name)
        } else {
            try await putAtOnce(object, as: name)
        }
    }

    func abort() async { _ = spooled.take() }

    private func putAtOnce(_ object: SpooledObject, as name: ObjectName) async throws(StoreError) {
        let attempts = Attempts()
        let request = S3Request(
            method: .put, key: store.connection.key(of: name),
            headers: Self.createOnly.merging(S3Request.checksum(object.hash)) { _, new in new },
            payloadHash: Hex.encode(object.hash), body: .source(object.source(attempts)))
        let answer = try await store.connection.ask(request, about: name, attempts)
        if answer.status == 412, attempts.mayHaveSucceeded, try await object.isStored(in: store, as: name) { return }
        try store.connection.requireWritten(answer, about: name)
    }

    // MARK: - Parts

    private func putInParts(_ object: SpooledObject, as name: ObjectName) async throws(StoreError) {
        let key = store.connection.key(of: name)
        let begin = try await store.connection.ask(
            S3Request(method: .post, key: key, query: [("uploads", "")]), about: name)
        try store.connection.requireWritten(begin, about: name)
        guard let upload = XMLText(begin.body).first("UploadId")?.string, !upload.isEmpty else {
            throw store.connection.unreadable(begin, about: name)
        }
        do {
            let parts = try await sendParts(of: object, key, upload, name)
            try await complete(object, key, upload, parts, as: name)
        } catch {
            // As far as the server lets us: parts that stay cost room until its own rule removes them.
            _ = try? await store.connection.ask(
                S3Request(method: .delete, key: key, query: [("uploadId", upload)]), about: name)
            throw error
        }
    }

    private func sendParts(
        of object: SpooledObject, _ key: String, _ upload: String, _ name: ObjectName
    ) async throws(StoreError) -> [String] {
        let partBytes = max(UInt64(store.partBytes), (object.byteCount + Self.maximumParts - 1) / Self.maximumParts)
        var tags: [String] = []
        var offset: UInt64 = 0
        while offset < object.byteCount {
            let end = min(offset + partBytes, object.byteCount)
            let bytes = try await object.read(offset..<end)
            let answer = try await store.connection.ask(
                S3Request(
                    method: .put, key: key, query: [("partNumber", "\(tags.count + 1)"), ("uploadId", upload)],
                    // Of a part Amazon takes the newer kind of checksum only if all was announced with it.
                    headers: ["content-md5": Data(Insecure.MD5.hash(data: bytes)).base64EncodedString()],
                    payloadHash: Hex.encode(SHA256.hash(data: bytes)), body: .bytes(bytes)), about: name)
            try store.connection.requireWritten(answer, about: name)
            guard let tag = answer.headers["etag"], tag.utf8.count < 200, !tag.contains(where: { "<>&".contains($0) })
            else { throw store.connection.unreadable(answer, about: name) }
            tags.append(tag)
            offset = end
        }
        return tags
    }

    private func complete(
        _ object: SpooledObject, _ key: String, _ upload: String, _ tags: [String], as name: ObjectName
    ) async throws(StoreError) {
        let parts = tags.enumerated().map { index, tag in
            "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(tag)</ETag></Part>"
        }
        let text = "<CompleteMultipartUpload>\(parts.joined())</CompleteMultipartUpload>"
        let attempts = Attempts()
        let answer = try await store.connection.ask(
            S3Request(
                method: .post, key: key, query: [("uploadId", upload)], headers: Self.createOnly,
                payloadHash: Hex.encode(SHA256.hash(data: Array(text.utf8))), body: .bytes(Array(text.utf8))),
            about: name, attempts)
        // Where an attempt before this one succeeded, the name is taken and there is no such upload any more.
        if [404, 412].contains(answer.status), attempts.mayHaveSucceeded,
            try await object.isStored(in: store, as: name)
        {
            return
        }
        try store.connection.requireWritten(answer, about: name)
        // An error may come in an answer that began well; the result alone says that there is an object.
        guard XMLText(answer.body).first("CompleteMultipartUploadResult") != nil else {
            throw store.connection.unreadable(answer, about: name)
        }
    }
}

extension S3Request {
    /// The header that makes a server compare the body with its SHA-256; that the request's signature covers the hash
    /// too makes not every server compare it.
    static func checksum(_ hash: [UInt8]) -> [String: String] {
        ["x-amz-checksum-sha256": Data(hash).base64EncodedString()]
    }
}
