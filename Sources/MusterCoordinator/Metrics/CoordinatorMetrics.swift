import CoreMetrics
import HTTPTypes
import MusterModel
import MusterServing

extension Route: MetricLabel {}
extension Plane: MetricLabel {}
extension AlarmKind: MetricLabel {}
extension AlarmSeverity: MetricLabel {}

/// How a request ended.
enum StatusClass: String, MetricLabel {
    case success = "2xx"
    case redirection = "3xx"
    case client = "4xx"
    case server = "5xx"

    init(_ status: HTTPResponse.Status) {
        switch status.code {
        case ..<300: self = .success
        case ..<400: self = .redirection
        case ..<500: self = .client
        default: self = .server
        }
    }
}

/// Why a request was denied.
enum DenialKind: String, MetricLabel {
    case unauthenticated
    case forbidden

    init?(_ refusal: Refusal) {
        switch refusal.status {
        case .unauthorized: self = .unauthenticated
        case .forbidden: self = .forbidden
        default:
            guard refusal.isConcealing else { return nil }
            self = .forbidden
        }
    }
}

/// What the coordinator counts while it works. The gauges of the fleet are `FleetFigures`.
struct CoordinatorMetrics: Sendable {
    static let requestTotal = MetricName(
        "muster_request_total", .counter, "Requests that were answered, by route and class of status.")
    static let requestSeconds = MetricName(
        "muster_request_seconds", .histogram, "From the head of a request to its answer; a long poll waits.")
    static let deniedTotal = MetricName(
        "muster_denied_total", .counter, "Requests without a good certificate, or with one that may not do that.")
    static let handshakeFailed = MetricName(
        "muster_handshake_failed_total", .counter, "TLS handshakes that came to no end, by plane and reason.")
    static let receivedBytes = MetricName(
        "muster_received_bytes_total", .counter, "Bytes of packs that were received and stored.")
    static let receiptTotal = MetricName("muster_receipt_total", .counter, "Snapshots that were acknowledged.")
    static let packTotal = MetricName("muster_pack_total", .counter, "Packs that were received and stored.")
    static let scrubbedBytes = MetricName("muster_scrub_bytes_total", .counter, "Bytes that the scrub has read again.")
    static let deletedBytes = MetricName("muster_gc_deleted_bytes_total", .counter, "Bytes that gc has deleted.")
    static let deletedObjects = MetricName("muster_gc_deleted_total", .counter, "Objects that gc has deleted.")
    static let webhookSent = MetricName("muster_webhook_sent_total", .counter, "Events that a webhook took.")
    static let webhookFailed = MetricName(
        "muster_webhook_failed_total", .counter, "Tries to tell a webhook of an event that failed.")
    static let names = [
        requestTotal, requestSeconds, deniedTotal, handshakeFailed, receivedBytes, receiptTotal, packTotal,
        scrubbedBytes, deletedBytes, deletedObjects, webhookSent, webhookFailed,
    ]

    let registry = MetricsRegistry(names)
    private let receivedBytes, receipts, packs, scrubbedBytes, deletedBytes, deletedObjects: Counter
    private let webhookSent, webhookFailed: Counter
    private let requests: [Route: [StatusClass: Counter]]
    private let durations: [Route: CoreMetrics.Timer]
    private let denials: [DenialKind: Counter]
    private let handshakes: [Plane: [HandshakeFailure: Counter]]

    init() {
        let registry = registry
        func counter(_ name: MetricName, _ labels: [(String, String)] = []) -> Counter {
            Counter(label: name.text, dimensions: labels, factory: registry)
        }
        receivedBytes = counter(Self.receivedBytes)
        receipts = counter(Self.receiptTotal)
        packs = counter(Self.packTotal)
        scrubbedBytes = counter(Self.scrubbedBytes)
        deletedBytes = counter(Self.deletedBytes)
        deletedObjects = counter(Self.deletedObjects)
        webhookSent = counter(Self.webhookSent)
        webhookFailed = counter(Self.webhookFailed)
        func each<Label: MetricLabel, Value>(_ make: (Label) -> Value) -> [Label: Value] {
            Dictionary(Label.allCases.map { ($0, make($0)) }, uniquingKeysWith: { first, _ in first })
        }
        requests = each { (route: Route) in
            each { (status: StatusClass) in
                counter(Self.requestTotal, [("route", route.rawValue), ("status", status.rawValue)])
            }
        }
        durations = each { route in
            CoreMetrics.Timer(
                label: Self.requestSeconds.text, dimensions: [("route", route.rawValue)], factory: registry)
        }
        denials = each { counter(Self.deniedTotal, [("reason", $0.rawValue)]) }
        handshakes = each { (plane: Plane) in
            each { (failure: HandshakeFailure) in
                counter(Self.handshakeFailed, [("plane", plane.rawValue), ("reason", failure.rawValue)])
            }
        }
    }

    func count(_ route: Route, _ status: HTTPResponse.Status, took: Duration) {
        requests[route]?[StatusClass(status)]?.increment()
        // A clock that was set back says nothing.
        durations[route]?.recordNanoseconds(max(0, took.microseconds) * 1000)
    }

    func countReceipt() { receipts.increment() }

    func countPack(bytes: Int64) {
        packs.increment()
        receivedBytes.increment(by: bytes)
    }

    func countScrub(bytes: Int64) { scrubbedBytes.increment(by: bytes) }

    func countDeleted(objects: Int, bytes: Int64) {
        deletedObjects.increment(by: objects)
        deletedBytes.increment(by: bytes)
    }

    func countWebhook(isTaken: Bool) { (isTaken ? webhookSent : webhookFailed).increment() }

    func count(_ denial: DenialKind) { denials[denial]?.increment() }

    func count(_ failure: HandshakeFailure, on plane: Plane) { handshakes[plane]?[failure]?.increment() }
}
