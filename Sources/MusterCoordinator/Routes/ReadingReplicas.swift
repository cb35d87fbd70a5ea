import HTTPTypes
import Hummingbird
import MusterAPI
import MusterModel
import MusterStore
import NIOCore

/// One replica of an object that is read, in the order in which they are tried.
struct ObjectReplica: Sendable {
    let name: ObjectName
    let store: OpenStore
    /// As far as the catalog knows.
    let isGood: Bool
    /// What is looked at where it turns out not to be.
    let suspicion: Suspicion
}

/// Objects are read from the first replica that gives them, and from the next where one does not.
///
/// The coordinator cannot see what a reader sees: that a chunk does not open. So a reader who refused what it got asks
/// again and names the store (`ReplicaWords.refused`). Its word marks nothing: that store is asked last, and the
/// coordinator reads the replica again by itself (`SuspicionService`).
extension Coordinator {
    /// As whose suspicion counts what the coordinator itself met.
    private static let ownName = "coordinator"
    private static let pieceBytes: UInt64 = 256 << 10
    private static let storeHeader = HTTPField.Name(ReplicaWords.storeHeader)
    private static let passedOverHeader = HTTPField.Name(ReplicaWords.passedOverHeader)

    /// Puts the replicas that the caller refused behind the others, and has them looked at.
    func asked<Replica>(
        _ readable: [(replica: Replica, store: OpenStore)], _ call: Call,
        _ object: (Replica) throws -> (name: ObjectName, isGood: Bool, suspicion: Suspicion)
    ) async throws -> [ObjectReplica] {
        let refused = ReplicaWords.stores(call.query(ReplicaWords.refused))
        let replicas = try readable.map { item in
            let (name, isGood, suspicion) = try object(item.replica)
            return ObjectReplica(name: name, store: item.store, isGood: isGood, suspicion: suspicion)
        }
        let ranked = { (isGood: Bool, isRefused: Bool) in
            replicas.filter { $0.isGood == isGood && refused.contains($0.store.name) == isRefused }
        }
        for replica in ranked(true, true) { await suspect(replica.suspicion, by: call.caller.name) }
        return ranked(true, false) + ranked(true, true) + ranked(false, false) + ranked(false, true)
    }

    /// Streams an object, or the one range that the request asks for, in pieces.
    ///
    /// A replica that is wanting is given only where there is no other, and as it is.
    /// - Parameter isThere: whether one that counts as good may still do so.
    func stream(
        _ replicas: [ObjectReplica], _ call: Call, isThere: (ObjectReplica) async throws -> Bool
    ) async throws -> Response {
        var left = replicas[...]
        var failure: (any Error)?
        var passedOver: Set<String> = []
        while let replica = left.popFirst() {
            do {
                if replica.isGood, try await !isThere(replica) {
                    left.append(replica.wanting)
                    passedOver.insert(replica.store.name)
                    continue
                }
                var response = try await stream(replica, else: left.filter(\.isGood), call)
                passedOver.remove(replica.store.name)
                if !passedOver.isEmpty, let header = Self.passedOverHeader {
                    response.headers[header] = passedOver.sorted().joined(separator: ",")
                }
                return response
            } catch let error as StoreError {
                if replica.isGood, !error.isTransient, !error.meansAbsence { passedOver.insert(replica.store.name) }
                failure = failure ?? error.asRefusal
            } catch {
                if replica.isGood, error is Refusal { passedOver.insert(replica.store.name) }
                failure = failure ?? error
            }
        }
        throw failure ?? Refusal.notFound("replica of the object in any store")
    }

    private func stream(
        _ replica: ObjectReplica, else others: [ObjectReplica], _ call: Call
    ) async throws -> Response {
        guard let size = try await replica.store.store.byteCount(of: replica.name) else {
            if replica.isGood { await suspect(replica.suspicion, by: Self.ownName) }
            throw Refusal.objectMissing(replica.name.description, store: replica.store.name)
        }
        var headers = Self.headers(of: replica.store)
        var range: Range<UInt64> = 0..<size
        var status = HTTPResponse.Status.ok
        if let wanted = call.request.headers[.range] {
            guard let part = ByteRange.parse(wanted, size: size) else {
                throw Refusal(
                    .rangeNotSatisfiable, "range", "object \(replica.name) has no bytes '\(wanted)'",
                    hint: "The object has \(size) bytes; it may be damaged: verify the snapshot.")
            }
            range = part
            status = .partialContent
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"
        }
        // Read before anything is answered: where even the beginning cannot be read, another replica answers.
        let first = try await piece(range.prefix(Self.pieceBytes), of: replica)
        return Response(
            status: status, headers: headers, body: body([replica] + others, range, beginningWith: first))
    }

    private func body(
        _ replicas: [ObjectReplica], _ range: Range<UInt64>, beginningWith first: [UInt8]
    ) -> ResponseBody {
        ResponseBody(contentLength: range.count) { writer in
            try await writer.write(ByteBuffer(bytes: first))
            var position = range.lowerBound + UInt64(first.count)
            var left = replicas[...]
            while position < range.upperBound, let replica = left.first {
                do {
                    let bytes = try await piece((position..<range.upperBound).prefix(Self.pieceBytes), of: replica)
                    try await writer.write(ByteBuffer(bytes: bytes))
                    position += UInt64(bytes.count)
                } catch let error as StoreError {
                    // All replicas are of the same bytes, so that another can go on where this one ended.
                    left = left.dropFirst()
                    if left.isEmpty { throw error }
                }
            }
            try await writer.finish(nil)
        }
    }

    private func piece(_ range: Range<UInt64>, of replica: ObjectReplica) async throws -> [UInt8] {
        guard !range.isEmpty else { return [] }
        do {
            return try await replica.store.store.read(replica.name, range: range)
        } catch {
            if replica.isGood, !error.isTransient { await suspect(replica.suspicion, by: Self.ownName) }
            throw error
        }
    }

    static func answer(_ bytes: [UInt8], of store: OpenStore) -> Response {
        Response(status: .ok, headers: headers(of: store), body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    private static func headers(of store: OpenStore) -> HTTPFields {
        var headers = HTTPFields()
        headers[.contentType] = "application/octet-stream"
        headers[.acceptRanges] = "bytes"
        if let storeHeader { headers[storeHeader] = store.name }
        return headers
    }
}

extension ObjectReplica {
    fileprivate var wanting: ObjectReplica {
        ObjectReplica(name: name, store: store, isGood: false, suspicion: suspicion)
    }
}

extension Range<UInt64> {
    fileprivate func prefix(_ byteCount: UInt64) -> Range<UInt64> {
        lowerBound..<Swift.min(upperBound, lowerBound + byteCount)
    }
}

extension StoreError {
    /// What speaks of the object alone is told as that: the reader goes on with other objects.
    fileprivate var asRefusal: any Error {
        guard !isTransient, !meansAbsence else { return self }
        return Refusal(.notFound, "object_missing", summary, hint: hint)
    }
}

enum ByteRange {
    /// One range of RFC 9110 section 14.1.2, cut to the object's size; nil where nothing of it is there.
    static func parse(_ text: String, size: UInt64) -> Range<UInt64>? {
        guard let match = text.wholeMatch(of: #/bytes=(\d*)-(\d*)/#)?.output else { return nil }
        switch (UInt64(match.1), UInt64(match.2)) {
        case (let first?, let last?) where first <= last && first < size && last < UInt64.max:
            return first..<min(size, last + 1)
        case (let first?, nil) where match.2.isEmpty && first < size: return first..<size
        case (nil, let count?) where match.1.isEmpty && count > 0 && size > 0: return size - min(size, count)..<size
        default: return nil
        }
    }
}
