import Crypto
import MusterModel
import MusterTransfer

/// Whether what the bucket says of object lock is so.
extension S3Store {
    package func locksObjects() async throws(StoreError) -> Bool? {
        let answer: HTTPResponse
        do {
            answer = try await connection.ask(S3Request(method: .get, query: [("object-lock", "")]))
        } catch .tooLarge {
            // A server that does not know the question answers another one: it lists the bucket.
            return false
        }
        return answer.status == 200 && XMLText(answer.body).first("ObjectLockEnabled")?.string == "Enabled"
    }

    /// As short as a slow server allows: what is locked stays for so long, and the probe waits for that.
    private static let lockSpans = [Duration.seconds(5), .seconds(60)]

    package func tryLock(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> LockTrial {
        for span in Self.lockSpans {
            if let trial = try await tryLock(name, bytes, for: span) { return trial }
        }
        return .untried(because: "the server was too slow for a lock of a minute")
    }

    /// In compliance mode, which nobody can shorten, by the server's own clock.
    ///
    /// - Returns: nil where the time was over before the server had answered.
    private func tryLock(
        _ name: ObjectName, _ bytes: [UInt8], for span: Duration
    ) async throws(StoreError) -> LockTrial? {
        guard let now = try await time() else { return .untried(because: "the server tells no time") }
        let lock = [
            "x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": (now + span).description,
        ]
        let put = try await putVersion(name, bytes, lock)
        guard put.status == 200, let version = put.headers["x-amz-version-id"] else {
            // A time that is over when the object comes is refused too.
            guard try await !isOver(now + span) else { return nil }
            return .untried(because: "the server would not lock an object: \(put.refusal)")
        }
        let deletion = try await delete(version, of: name)
        let isOver = try await isOver(now + span)
        let other = try await putVersion(name, bytes.map { ~$0 })
        let kept = try await connection.ask(
            S3Request(
                method: .get, key: connection.key(of: name), query: [("versionId", version)],
                maximumResponseBytes: bytes.count), about: name)
        if let version = other.headers["x-amz-version-id"] { _ = try await delete(version, of: name) }
        guard !deletion.isDone else { return isOver ? nil : .lost(to: "deleted before its time") }
        // Cut off, it leaves a few bytes that only whoever keeps the bucket can remove.
        try? await connection.pause(span + .seconds(1))
        _ = try await delete(version, of: name)
        return kept.status == 200 && kept.body == bytes ? .kept(for: span) : .lost(to: "replaced")
    }

    /// By the server's clock, or where it tells none.
    private func isOver(_ end: Timestamp) async throws(StoreError) -> Bool {
        try await time().map { $0 >= end } ?? true
    }

    private func putVersion(
        _ name: ObjectName, _ bytes: [UInt8], _ headers: [String: String] = [:]
    ) async throws(StoreError) -> HTTPResponse {
        let hash = Array(SHA256.hash(data: bytes))
        return try await connection.ask(
            S3Request(
                method: .put, key: connection.key(of: name),
                headers: headers.merging(S3Request.checksum(hash)) { first, _ in first },
                payloadHash: Hex.encode(hash), body: .bytes(bytes)), about: name)
    }

    private func delete(_ version: String, of name: ObjectName) async throws(StoreError) -> HTTPResponse {
        try await connection.ask(
            S3Request(method: .delete, key: connection.key(of: name), query: [("versionId", version)]), about: name)
    }
}

extension HTTPResponse {
    fileprivate var isDone: Bool { (200...299).contains(status) }
}
