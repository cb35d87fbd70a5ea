import HTTPTypes
import Hummingbird
import Logging
import MusterModel
import NIOCore

/// What Hummingbird hands over with a request.
struct CallContext: InitializableFromSource {
    let channel: any Channel
    let logger: Logger

    init(source: ApplicationRequestContextSource) { (channel, logger) = (source.channel, source.logger) }
}

/// Answers the requests of one plane: finds the rule, proves the caller, asks the table, and only then the route.
struct PlaneResponder: HTTPResponder {
    typealias Context = CallContext

    /// How long a peer that still sends after its refusal is listened to.
    private static let lingering = TimeAmount.seconds(5)
    private static let smallBody = 64 << 10

    let plane: Plane
    let coordinator: Coordinator

    func respond(to request: Request, context: CallContext) async throws -> Response {
        do {
            try MusterProtocol.check(request)
            let caller = try await coordinator.callers.caller(on: context.channel)
            if case .node(let node, _, _) = caller { coordinator.connections.note(context.channel, of: node) }
            let (rule, parameters) = try authorise(request, caller)
            try Self.checkLength(request, rule)
            let call = Call(
                rule: rule, caller: caller, parameters: parameters, request: request,
                address: context.channel.remoteAddress?.ipAddress ?? "", logger: context.logger)
            return try await answer(call)
        } catch {
            return try refuse(Refusal(error), request, context, error)
        }
    }

    private func authorise(_ request: Request, _ caller: Caller) throws -> (RouteRule, [String]) {
        for rule in RouteRule.all {
            guard let parameters = rule.match(plane: plane, method: request.method, path: request.uri.path) else {
                continue
            }
            guard rule.roles.contains(caller.role) else {
                throw caller == .anonymous ? Refusal.anonymous : Refusal.forbidden
            }
            return (rule, parameters)
        }
        throw Refusal.noRoute
    }

    /// Before any route counts with it: what a peer announces may be any number.
    private static func checkLength(_ request: Request, _ rule: RouteRule) throws {
        guard let text = request.headers[.contentLength] else {
            // Without either there is no body.
            guard request.headers[.transferEncoding] == nil else { throw Refusal.lengthRequired }
            return
        }
        guard let length = Int(text), (0...rule.bodyLimit).contains(length) else {
            throw Refusal.tooLarge("the body", limitBytes: rule.bodyLimit)
        }
    }

    private func answer(_ call: Call) async throws -> Response {
        switch call.caller {
        case .anonymous: try await coordinator.strangers.pass { try await coordinator.answer(call) }
        case .person: try await coordinator.answer(call)
        case .node(let node, _, _): try await coordinator.load.count(node) { try await coordinator.answer(call) }
        }
    }

    /// Says no. A peer that has more to send is told to stop, and after a while is cut off.
    private func refuse(
        _ refusal: Refusal, _ request: Request, _ context: CallContext, _ error: any Error
    ) throws -> Response {
        if refusal.status.kind == .serverError {
            context.logger.warning(
                "request failed", metadata: ["path": "\(request.uri.path)", "reason": "\(error)"])
        }
        var response = try BodyFormat(wantedBy: request).response(refusal.body, status: refusal.status)
        // With the certificate that this connection began with it will be the same each time; the peer may have another.
        if refusal.code == Refusal.unknownCertificate.code { response.headers[.connection] = "close" }
        let length = request.headers[.contentLength].flatMap { Int($0) }
        let isSmall = length.map { $0 <= Self.smallBody } ?? (request.headers[.transferEncoding] == nil)
        if !isSmall {
            // Hummingbird reads the rest of a body that a route left, so a limit is not one until the line is cut.
            response.headers[.connection] = "close"
            let channel = context.channel
            channel.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
        }
        return response
    }
}
