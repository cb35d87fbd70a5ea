import CCurl

/// One request on its way.
///
/// `@unchecked Sendable`: its maker hands it to the loop and keeps no other
/// use of it; from then on only the loop's thread touches it.
final class Transfer: @unchecked Sendable {
    enum Delivery {
        case whole(CheckedContinuation<Result<HTTPResponse, TransferError>, Never>)
        case stream(BodyStream)
    }

    let id: UInt64
    let request: HTTPRequest
    let server: String
    /// Set while libcurl works on it; nil while it waits in line.
    var easy: EasyHandle?
    private let delivery: Delivery
    private var collector = HeadCollector(maximumBytes: 0)
    private var body: [UInt8] = []
    private var receivedCount = 0
    private var sentCount = 0
    /// Why a callback of ours stopped the transfer; libcurl itself only knows that one did.
    private var ownFailure: TransferError?

    init(id: UInt64, request: HTTPRequest, delivery: Delivery) {
        (self.id, self.request, self.delivery) = (id, request, delivery)
        server = request.server
    }

    /// Makes a handle that calls this transfer; the table sets it as `easy` once libcurl works on it.
    func makeHandle(tls: TLSFiles, settings: HTTPClient.Settings) throws(CurlFailure) -> EasyHandle {
        collector = HeadCollector(maximumBytes: settings.maximumHeaderBytes)
        let easy = try EasyHandle()
        try easy.configureConnection(tls: tls, settings: settings)
        try easy.configure(request)
        try easy.configureCallbacks(of: self)
        return easy
    }

    func finish(code: CURLcode, failureText: String) {
        if let ownFailure {
            finish(ownFailure)
        } else if code == CURLE_FILESIZE_EXCEEDED {
            finish(.tooLarge(server: server, limitBytes: request.maximumResponseBytes))
        } else if code != CURLE_OK {
            finish(TransferError(code: code, detail: failureText, server: server))
        } else if let head = collector.head {
            switch delivery {
            case .whole(let continuation):
                continuation.resume(returning: .success(HTTPResponse(head: head, body: body)))
            case .stream(let stream): stream.finish(.success(()))
            }
        } else {
            finish(TransferError(code: CURLE_WEIRD_SERVER_REPLY, detail: "", server: server))
        }
    }

    func finish(_ error: TransferError) {
        switch delivery {
        case .whole(let continuation): continuation.resume(returning: .failure(error))
        case .stream(let stream): stream.finish(.failure(error))
        }
    }

    // MARK: What libcurl's callbacks do

    /// - Returns: false to stop the transfer.
    func receiveHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        let wasComplete = collector.head != nil
        guard collector.add(unsafe String(decoding: line, as: UTF8.self)) else { return failTooLarge() }
        if !wasComplete, let head = collector.head, case .stream(let stream) = delivery { stream.deliver(head) }
        return true
    }

    enum Reception { case taken, paused, refused }

    func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Reception {
        guard receivedCount + bytes.count <= request.maximumResponseBytes else {
            return failTooLarge() ? .taken : .refused
        }
        switch delivery {
        case .whole: unsafe body.append(contentsOf: bytes)
        case .stream(let stream): guard unsafe stream.push(bytes) else { return .paused }
        }
        receivedCount += bytes.count
        return .taken
    }

    /// Fills `buffer` with the next bytes of the request's body.
    ///
    /// - Returns: how many; 0 at the end.
    func sendBody(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, request.body.byteCount - sentCount)
        let range = sentCount..<sentCount + count
        switch request.body {
        case .none: return 0
        case .bytes(let bytes):
            unsafe bytes.withUnsafeBytes { source in
                unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[range]))
            }
        case .source(let source):
            guard let bytes = source.read(range), bytes.count == count else {
                ownFailure = .protocolFailed(server: server, code: 0, detail: "the request's body cannot be read")
                return ccurl_read_abort()
            }
            unsafe buffer.copyBytes(from: bytes)
        }
        sentCount += count
        request.onBytesSent?(sentCount)
        return count
    }

    /// libcurl sends the body again when a kept connection turns out to be dead.
    func rewindBody(to offset: Int) -> Bool {
        guard (0...request.body.byteCount).contains(offset) else { return false }
        sentCount = offset
        return true
    }

    private func failTooLarge() -> Bool {
        ownFailure = .tooLarge(server: server, limitBytes: request.maximumResponseBytes)
        return false
    }
}
