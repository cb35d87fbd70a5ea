import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle

/// An address of this machine alone.
package struct LoopbackAddress: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int

    /// Parses `127.0.0.1:PORT`, `localhost:PORT` or `[::1]:PORT`; nil for any other address, and for no port.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65_535).contains(port)
        else { return nil }
        switch text[..<colon] {
        case "127.0.0.1", "localhost": host = "127.0.0.1"
        case "[::1]": host = "::1"
        default: return nil
        }
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Serves `GET /metrics` without TLS, for a Prometheus on the same machine; everything else is 404.
///
/// What it tells has no names of databases and no content.
package struct MetricsListener: Service {
    private static let connections = 16
    private static let headerBytes = 8 << 10

    private let address: LoopbackAddress
    private let logger: Logger
    private let openPort: OpenPort
    private let families: @Sendable () async throws -> [MetricFamily]

    package init(
        _ address: LoopbackAddress, logger: Logger, openPort: OpenPort,
        families: @escaping @Sendable () async throws -> [MetricFamily]
    ) {
        (self.address, self.logger, self.openPort, self.families) = (address, logger, openPort, families)
    }

    package func run() async throws {
        var channel = HTTP1Channel.Configuration(idleTimeout: .seconds(75))
        channel.httpDecoder.maxHeaderFieldSize = Self.headerBytes
        channel.httpDecoder.maxHeaderListSize = Self.headerBytes
        let (openPort, logger, port) = (openPort, logger, address.port)
        let application = Application(
            responder: MetricsResponder(families: families, logger: logger),
            server: .http1(configuration: channel),
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: port), serverName: "muster",
                availableConnectionsDelegate: .maximum(Self.connections, logger: logger)),
            onServerRunning: { channel in
                let bound = channel.localAddress?.port ?? port
                logger.info("metrics are served", metadata: ["port": "\(bound)"])
                await openPort.set(bound)
            },
            logger: logger)
        try await application.run()
    }
}

private struct MetricsContext: InitializableFromSource {
    init(source: ApplicationRequestContextSource) {}
}

private struct MetricsResponder: HTTPResponder {
    typealias Context = MetricsContext

    let families: @Sendable () async throws -> [MetricFamily]
    let logger: Logger

    func respond(to request: Request, context: MetricsContext) async throws -> Response {
        guard request.method == .get, request.uri.path == "/metrics" else { return Response(status: .notFound) }
        do {
            return Response(metrics: try await families())
        } catch {
            logger.warning("metrics not told", metadata: ["reason": "\(error)"])
            return Response(status: .internalServerError)
        }
    }
}

extension Response {
    package init(metrics families: [MetricFamily]) {
        var headers = HTTPFields()
        headers[.contentType] = PrometheusText.contentType
        self.init(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: PrometheusText.render(families))))
    }
}

/// The port of a listener, once it has one.
package actor OpenPort {
    private var port: Int?
    private var waiters: [CheckedContinuation<Int, Never>] = []

    package init() {}

    package func set(_ port: Int) {
        self.port = port
        for waiter in waiters { waiter.resume(returning: port) }
        waiters = []
    }

    package func wait() async -> Int {
        if let port { return port }
        return await withCheckedContinuation { waiters.append($0) }
    }
}
