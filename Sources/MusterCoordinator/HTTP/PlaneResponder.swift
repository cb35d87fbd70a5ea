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
        let began = coordinator.clock.now()
        let match = RouteRule.all.firstMatch(plane: plane, method: request.method, path: request.uri.path)
        let response = try await respond(to: request, match, context)
        if let match {
            let took = coordinator.clock.now() - began
            coordinator.metrics.count(match.rule.route, response.status, took: took)
        }
        return response
    }

    private func respond(
        to request: Request, _ match: (rule: RouteRule, parameters: [String])?, _ context: CallContext
    ) async throws -> Response {
        var caller: Caller?
        var session: OpenSession?
        do {
            if plane == .dashboard {
                session = try await coordinator.session(of: request)
            } else {
                try MusterProtocol.check(request)
            }
            let (proven, certificate) = try await self.caller(session, context)
            caller = proven
            if case .node(let node, _, _) = proven { coordinator.connections.note(context.channel, of: node) }
            let (rule, parameters) = try authorise(match, proven)
            try Self.checkLength(request, rule)
            let call = Call(
                rule: rule, caller: proven, parameters: parameters, request: request,
                address: context.channel.remoteAddress?.ipAddress ?? "", logger: context.logger,
                certificate: certificate, session: session)
            let response = try await answer(call)
            try await coordinator.auditIfForgotten(call)
            // Who has changed something wants to see it.
            if case .person = proven, rule.method != .get { await coordinator.glances.forget() }
            return response
        } catch {
            let refusal = Refusal(error)
            if let denial = DenialKind(refusal) {
                coordinator.note(
                    denial, by: caller, from: context.channel.remoteAddress?.ipAddress ?? "?",
                    what: match.map { "\($0.rule.method) \($0.rule.path)" } ?? "no route")
            }
            return try refuse(refusal, request, context, session, error)
        }
    }

    /// On the dashboard's plane nobody has a certificate: there a session says who it is.
    private func caller(
        _ session: OpenSession?, _ context: CallContext
    ) async throws -> (Caller, CertificateFingerprint?) {
        guard plane == .dashboard else { return try await coordinator.callers.caller(on: context.channel) }
        return (session.map { .person($0.role, subject: $0.subject) } ?? .anonymous, nil)
    }

    private func authorise(
        _ match: (rule: RouteRule, parameters: [String])?, _ caller: Caller
    ) throws -> (RouteRule, [String]) {
        guard let match else { throw Refusal.noRoute }
        guard match.rule.roles.contains(caller.role) else {
            throw caller == .anonymous ? Refusal.anonymous : Refusal.forbidden
        }
        return match
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
        _ refusal: Refusal, _ request: Request, _ context: CallContext, _ session: OpenSession?, _ error: any Error
    ) throws -> Response {
        if refusal.status.kind == .serverError {
            // The path of a sign-in link is a secret.
            let path = request.uri.path.hasPrefix("/enter/") ? "/enter/" : request.uri.path
            context.logger.warning("request failed", metadata: ["path": "\(path)", "reason": "\(error)"])
        }
        var response =
            plane == .dashboard
            ? coordinator.refusalPage(refusal, for: session)
            : try BodyFormat(wantedBy: request).response(refusal.body, status: refusal.status)
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
