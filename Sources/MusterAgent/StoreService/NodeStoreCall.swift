import HTTPTypes
import Hummingbird
import MusterModel
import MusterStore

/// What the coordinator can ask of a served store; whatever is not here does not exist.
enum NodeStoreCall: Hashable {
    case put(ObjectName, byteCount: Int, hash: BodyHash)
    /// `range` is nil for the whole object.
    case get(ObjectName, range: Range<UInt64>?, fresh: Bool)
    case head(ObjectName)
    case delete(ObjectName)
    case list(id: String, page: Int, ObjectPrefix)
    case room

    private static let listingIDBytes = 16

    /// Every word of the request is parsed before anything is touched.
    init(_ request: Request) throws(NodeStoreRefusal) {
        let path = request.uri.path
        switch request.method {
        case .put:
            let name = try Self.object(path)
            self = .put(name, byteCount: try Self.length(request), hash: try Self.hash(request))
        case .get where path == NodeStoreWire.roomPath: self = .room
        case .get where path.hasPrefix(NodeStoreWire.listingsPath): self = try Self.listing(request, path)
        case .get:
            let fresh = Self.header(NodeStoreWire.freshHeader, request) == "1"
            self = .get(try Self.object(path), range: try Self.range(request), fresh: fresh)
        case .head: self = .head(try Self.object(path))
        case .delete: self = .delete(try Self.object(path))
        default: throw .noRoute
        }
        if request.method != .put { try Self.requireNoBody(request) }
    }

    private static func object(_ path: String) throws(NodeStoreRefusal) -> ObjectName {
        guard path.hasPrefix(NodeStoreWire.objectsPath) else { throw .noRoute }
        guard let name = ObjectName(path.dropFirst(NodeStoreWire.objectsPath.count)) else {
            throw NodeStoreRefusal(.badRequest, "that is no object's name")
        }
        return name
    }

    private static func length(_ request: Request) throws(NodeStoreRefusal) -> Int {
        guard let text = request.headers[.contentLength] else { throw .lengthRequired }
        guard let length = Int(text), (0...NodeStoreWire.maximumObjectBytes).contains(length) else { throw .tooLarge }
        return length
    }

    private static func hash(_ request: Request) throws(NodeStoreRefusal) -> BodyHash {
        guard let hash = header(NodeStoreWire.hashHeader, request).flatMap({ BodyHash($0) }) else {
            throw NodeStoreRefusal(.badRequest, "an object comes with its SHA-256")
        }
        return hash
    }

    /// Only the form that our own client sends.
    private static func range(_ request: Request) throws(NodeStoreRefusal) -> Range<UInt64>? {
        guard let text = request.headers[.range] else { return nil }
        let words = text.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard text.hasPrefix("bytes="), words.count == 2, let first = UInt64(words[0]), let last = UInt64(words[1]),
            first <= last, last < UInt64.max, last - first < StoreLimit.readBytes
        else { throw NodeStoreRefusal(.badRequest, "that is no range of bytes") }
        return first..<last + 1
    }

    private static func listing(_ request: Request, _ path: String) throws(NodeStoreRefusal) -> Self {
        let words = path.dropFirst(NodeStoreWire.listingsPath.count)
            .split(separator: "/", omittingEmptySubsequences: false)
        let prefix = request.uri.queryParameters["prefix"].map(String.init) ?? ""
        guard words.count == 2, Hex.decode(words[0])?.count == listingIDBytes, let page = Int(words[1]), page >= 0,
            let prefix = ObjectPrefix(prefix)
        else { throw NodeStoreRefusal(.badRequest, "that is no page of a listing") }
        return .list(id: String(words[0]), page: page, prefix)
    }

    private static func requireNoBody(_ request: Request) throws(NodeStoreRefusal) {
        guard request.headers[.transferEncoding] == nil, Int(request.headers[.contentLength] ?? "0") == 0 else {
            throw NodeStoreRefusal(.badRequest, "this request has no body")
        }
    }

    private static func header(_ name: String, _ request: Request) -> String? {
        HTTPField.Name(name).flatMap { request.headers[$0] }
    }
}
