import MusterModel
import MusterTransfer

/// Sends requests to one node's store, again where that may help, and says what its answers mean.
final class NodeStoreConnection: Sendable {
    let store: String
    private let base: String
    private let address: String
    private let http: HTTPClient
    private let retry: StoreRetry

    init(
        store: String, place: NodeStore.Place, tls: TLSFiles, retry: StoreRetry, settings: HTTPClient.Settings
    ) throws(StoreError) {
        (self.store, self.retry) = (store, retry)
        base = "https://\(NodeStoreWire.hostName(of: place.node)):\(place.port)"
        address = place.host.contains(":") ? "[\(place.host)]:\(place.port)" : "\(place.host):\(place.port)"
        do {
            http = try HTTPClient(tls: tls, settings: settings)
        } catch {
            throw .unavailable(store: store, reason: error.summary)
        }
    }

    func request(
        _ method: HTTPRequest.Method, _ object: ObjectName, fresh: Bool = false, maximumResponseBytes: Int = 0
    ) -> HTTPRequest {
        var request = request(
            method, path: NodeStoreWire.objectsPath + object.description, maximumResponseBytes: maximumResponseBytes)
        if fresh { request.headers[NodeStoreWire.freshHeader] = "1" }
        return request
    }

    func request(
        _ method: HTTPRequest.Method, path: String, maximumResponseBytes: Int = 0
    ) -> HTTPRequest {
        // A refusal's text may be longer than what was asked for.
        var request = HTTPRequest(
            method, base + path, timeout: nil, stallTimeout: retry.stallTimeout,
            maximumResponseBytes: max(maximumResponseBytes, NodeStoreWire.maximumTextBytes))
        request.connectTo = address
        return request
    }

    /// For what the client names.
    func newID() -> String { Hex.encode(retry.random.bytes(16)) }

    /// - Returns: an answer that trying again would not change.
    func ask(
        _ request: HTTPRequest, about object: ObjectName? = nil, _ attempts: Attempts = Attempts()
    ) async throws(StoreError) -> HTTPResponse {
        try await retry.run(store: store, object: object) {
            attempts.begin()
            let answer = try await http.send(request)
            guard !Self.isPassing(answer.status) else { return try answer.requireSuccess(from: address) }
            return answer
        }
    }

    /// - Throws: what the answer means, if its status is another one.
    func require(_ status: Int, _ answer: HTTPResponse, about object: ObjectName? = nil) throws(StoreError) {
        guard answer.status != status else { return }
        switch (answer.status, object) {
        case (404, let object?): throw .notFound(store: store, object: object)
        case (409, let object?): throw .alreadyExists(store: store, object: object)
        case (507, _): throw .full(store: store)
        case (401, _), (403, _): throw .unavailable(store: store, reason: text(answer))
        default:
            throw .refused(
                store: store, object: object?.description ?? "", reason: text(answer),
                hint: "Look at the log of the store's node \(address), and check that both run the same version.")
        }
    }

    func unreadable(_ answer: HTTPResponse, about object: ObjectName? = nil) -> StoreError {
        .refused(
            store: store, object: object?.description ?? "", reason: "its answer \(answer.status) cannot be read",
            hint: "Check that node and coordinator run the same version of Muster.")
    }

    private func text(_ answer: HTTPResponse) -> String {
        do {
            _ = try answer.requireSuccess(from: address)
            return "server \(address) answered with status \(answer.status)"
        } catch {
            return error.summary
        }
    }

    /// A failure of the disk (500) is not one that passes: the caller has other stores.
    private static func isPassing(_ status: Int) -> Bool { [408, 429, 502, 503, 504].contains(status) }
}
