import HTTPTypes
import Hummingbird
import Logging
import MusterModel
import MusterServing
import NIOCore
import SwiftProtobuf

/// Who asks, as its certificate proves.
enum Caller: Hashable, Sendable {
    case anonymous
    case node(NodeID, ScopeID, name: String)
    case person(Role, subject: String)

    var role: Role {
        switch self {
        case .anonymous: .anonymous
        case .node: .node
        case .person(let role, _): role
        }
    }

    /// For the audit.
    var name: String {
        switch self {
        case .anonymous: "anonymous"
        case .node(_, _, let name): "node \(name)"
        case .person(_, let subject): subject
        }
    }
}

/// One authorised request on its way through a route.
struct Call: Sendable {
    let rule: RouteRule
    let caller: Caller
    /// The path's free segments.
    let parameters: [String]
    let request: Request
    /// Where the caller's connection comes from; "" where that is not known.
    let address: String
    let logger: Logger
    let trail = AuditTrail()
    /// What the caller proved with on the planes of certificates.
    var certificate: CertificateFingerprint?
    /// What the caller proved with on the dashboard's plane.
    var session: OpenSession?

    /// Decodes the body by its content type, within the route's limit.
    func message<Body: Message>(as type: Body.Type = Body.self) async throws -> Body {
        let bytes = try await body()
        do {
            switch try BodyFormat(contentTypeOf: request, isEmpty: bytes.isEmpty) {
            case .json:
                var options = JSONDecodingOptions()
                options.messageDepthLimit = 16
                return try Body(jsonUTF8Bytes: bytes, options: options)
            case .protobuf:
                var options = BinaryDecodingOptions()
                options.messageDepthLimit = 16
                return try Body(serializedBytes: bytes, options: options)
            }
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw Refusal.malformed("the body is no \(Body.protoMessageName)")
        }
    }

    /// All of the body, within the route's limit.
    func body() async throws -> [UInt8] {
        let (limit, body) = (rule.bodyLimit, request.body)
        return try await BodyPace.watch(bytesPerSecond: Self.pace(ofBody: declaredLength ?? 0)) { pace in
            var bytes: [UInt8] = []
            var buffers = body.makeAsyncIterator()
            while let buffer = try await pace.next({ try await buffers.next() }) {
                guard bytes.count + buffer.readableBytes <= limit else {
                    throw Refusal.tooLarge("the body", limitBytes: limit)
                }
                bytes.append(contentsOf: buffer.readableBytesView)
            }
            return bytes
        }
    }

    /// Others wait for the memory that a large body takes up: however large it is, its peer has two minutes for it.
    static func pace(ofBody byteCount: Int) -> Double {
        max(BodyPace.slowestBytesPerSecond, Double(byteCount) / 120)
    }

    /// The Content-Length, where there is one.
    var declaredLength: Int? { request.headers[.contentLength].flatMap { Int($0) } }

    func query(_ name: String) -> String? {
        let value = request.uri.queryParameters[Substring(name)].map(String.init)
        return value?.isEmpty == true ? nil : value
    }

    func answer(_ message: some Message) throws -> Response {
        try BodyFormat(wantedBy: request).response(message)
    }
}

/// Runs `body`, and cancels it once the time is over.
func withDeadline<Value: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw Refusal.tooSlow
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}

/// Protobuf or JSON, from the same messages.
enum BodyFormat {
    case protobuf, json

    static let protobufType = "application/x-protobuf"
    private static let jsonType = "application/json"

    init(contentTypeOf request: Request, isEmpty: Bool) throws {
        let type = (request.headers[.contentType] ?? "").split(separator: ";").first ?? ""
        switch type.lowercased() {
        case "application/x-protobuf", "application/protobuf": self = .protobuf
        case Self.jsonType: self = .json
        case "" where isEmpty: self = .json
        default: throw Refusal.malformed("content type '\(type)' is neither protobuf nor JSON")
        }
    }

    /// What `Accept` names, else what the caller sent, else JSON.
    init(wantedBy request: Request) {
        let accept = (request.headers[.accept] ?? "").lowercased()
        if accept.contains("json") {
            self = .json
        } else if accept.contains("protobuf") {
            self = .protobuf
        } else {
            // An unknown content type gets its error in JSON.
            self = (try? BodyFormat(contentTypeOf: request, isEmpty: true)) ?? .json
        }
    }

    func response(_ message: some Message, status: HTTPResponse.Status = .ok) throws -> Response {
        var headers = HTTPFields()
        let bytes: [UInt8]
        switch self {
        case .protobuf:
            headers[.contentType] = Self.protobufType
            bytes = try message.serializedBytes()
        case .json:
            headers[.contentType] = Self.jsonType
            var options = JSONEncodingOptions()
            options.preserveProtoFieldNames = true
            options.alwaysPrintInt64sAsNumbers = true
            options.useDeterministicOrdering = true
            bytes = try message.jsonUTF8Bytes(options: options)
        }
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
