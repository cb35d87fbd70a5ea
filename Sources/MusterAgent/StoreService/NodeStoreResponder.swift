import Foundation
import HTTPTypes
import Hummingbird
import Logging
import MusterModel
import MusterStore
import NIOCore
import NIOSSL
import SwiftASN1
import X509

/// What Hummingbird hands over with a request.
struct NodeStoreContext: InitializableFromSource {
    let channel: any Channel
    let logger: Logger

    init(source: ApplicationRequestContextSource) { (channel, logger) = (source.channel, source.logger) }
}

/// Answers requests to a served store: proves the caller first, then parses, and only then touches the store.
struct NodeStoreResponder: HTTPResponder {
    typealias Context = NodeStoreContext

    /// How long a peer that still sends after its refusal is listened to.
    private static let lingering = TimeAmount.seconds(5)
    private static let smallBody = 64 << 10

    let keeper: NodeStoreKeeper
    let clock: any WallClock

    func respond(to request: Request, context: NodeStoreContext) async throws -> Response {
        do {
            try await requireCoordinator(context.channel)
            return try await answer(try NodeStoreCall(request), request.body)
        } catch {
            return refuse(NodeStoreRefusal(error), request, context)
        }
    }

    /// TLS has proven that the fleet's authority signed the certificate and that the peer holds its key. No
    /// catalog is at hand here, so that the role must be in the certificate itself.
    private func requireCoordinator(_ channel: any Channel) async throws {
        let peer = try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate
        }.get()
        guard let peer, Self.isCoordinator(try Certificate(derEncoded: try peer.toDERBytes()), at: clock.now()) else {
            throw NodeStoreRefusal.notCoordinator
        }
    }

    /// - Parameter now: a connection may outlive its certificate.
    static func isCoordinator(_ certificate: Certificate, at now: Timestamp) -> Bool {
        let notAfter = certificate.notValidAfter.timeIntervalSince1970
        // An extension that cannot be read proves nothing.
        guard let names = try? certificate.extensions.subjectAlternativeNames,
            let usage = try? certificate.extensions.extendedKeyUsage
        else { return false }
        return names.contains(.uniformResourceIdentifier(NodeStoreWire.coordinatorMark)) && usage.contains(.clientAuth)
            && !usage.contains(.serverAuth) && now.microseconds < Int64(notAfter * 1_000_000)
    }

    private func answer(_ call: NodeStoreCall, _ body: RequestBody) async throws -> Response {
        switch call {
        case .put(let name, let byteCount, let hash):
            try await keeper.put(name, byteCount: byteCount, hash: hash, body)
            return Response(status: .created)
        case .get(let name, let range, let fresh):
            let (byteCount, body) = try await keeper.read(name, range: range, fresh: fresh)
            return Response(status: range == nil ? .ok : .partialContent, headers: Self.size(byteCount), body: body)
        case .head(let name):
            guard let byteCount = try await keeper.store.byteCount(of: name) else {
                throw StoreError.notFound(store: keeper.store.name, object: name)
            }
            return Response(status: .ok, headers: Self.size(byteCount))
        case .delete(let name):
            try await keeper.delete(name)
            return Response(status: .noContent)
        case .list(let id, let page, let prefix):
            guard let objects = try await keeper.listings.page(page, of: id, prefix: prefix) else {
                throw NodeStoreRefusal.listingDropped
            }
            return Self.text(.ok, NodeStoreWire.text(of: objects))
        case .room:
            return Self.text(.ok, "\(try await keeper.room())")
        }
    }

    /// Says no. A peer that has more to send is told to stop, and after a while is cut off.
    private func refuse(_ refusal: NodeStoreRefusal, _ request: Request, _ context: NodeStoreContext) -> Response {
        if refusal.status.kind == .serverError || refusal.status == .forbidden {
            context.logger.warning(
                "request refused", metadata: ["path": "\(request.uri.path)", "reason": "\(refusal.text)"])
        }
        // Hummingbird would send the body of an answer to HEAD, and the client take it for the next answer.
        var response =
            request.method == .head ? Response(status: refusal.status) : Self.text(refusal.status, refusal.text)
        if let byteCount = refusal.byteCount { response.headers.append(contentsOf: Self.size(byteCount)) }
        let length = request.headers[.contentLength].flatMap { Int($0) }
        let isSmall = length.map { $0 <= Self.smallBody } ?? (request.headers[.transferEncoding] == nil)
        if !isSmall {
            // Hummingbird reads the rest of a body that was left, so a limit is not one until the line is cut.
            response.headers[.connection] = "close"
            let channel = context.channel
            channel.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
        }
        return response
    }

    private static func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func size(_ byteCount: UInt64) -> HTTPFields {
        guard let name = HTTPField.Name(NodeStoreWire.byteCountHeader) else { return [:] }
        return [name: "\(byteCount)"]
    }
}
