import CCurl
import Glibc
import MusterModel

extension EasyHandle {
    func configureConnection(tls: TLSFiles, settings: HTTPClient.Settings) throws(CurlFailure) {
        try set(CURLOPT_NOSIGNAL, true)
        try set(CURLOPT_PROTOCOLS_STR, settings.takesPublicServers ? "https,http" : "https")
        try set(CURLOPT_HTTP_VERSION, ccurl_http_1_1())
        try set(CURLOPT_SSLVERSION, settings.takesPublicServers ? ccurl_tls_1_2() : ccurl_tls_1_3())
        try set(CURLOPT_SSL_VERIFYPEER, true)
        try set(CURLOPT_SSL_VERIFYHOST, 2)
        try setPEM(tls.authority, asFile: CURLOPT_CAINFO, asBlob: CURLOPT_CAINFO_BLOB)
        // Debian builds libcurl with the system's directory of authorities as a default.
        try set(CURLOPT_CAPATH, nil)
        if let identity = tls.identity {
            try setPEM(identity.certificate, asFile: CURLOPT_SSLCERT, asBlob: CURLOPT_SSLCERT_BLOB)
            try setPEM(identity.key, asFile: CURLOPT_SSLKEY, asBlob: CURLOPT_SSLKEY_BLOB)
        }
        // An empty name also keeps libcurl from asking the environment.
        try set(CURLOPT_PROXY, "")
        try set(CURLOPT_NETRC, 0)
        try set(CURLOPT_FOLLOWLOCATION, false)
        try set(CURLOPT_CONNECTTIMEOUT_MS, settings.connectTimeout.milliseconds)
        // A connection keeps the certificate that it began with: one that polls all the time would outlive it.
        try set(CURLOPT_MAXLIFETIME_CONN, 3600)
        try set(CURLOPT_TCP_KEEPALIVE, true)
        try set(CURLOPT_TCP_KEEPIDLE, 30)
        try set(CURLOPT_TCP_KEEPINTVL, 15)
        try set(CURLOPT_BUFFERSIZE, 128 << 10)
        try set(CURLOPT_UPLOAD_BUFFERSIZE, 512 << 10)
        try set(CURLOPT_USERAGENT, settings.userAgent)
        if settings.refusesLoopback { try refuseLoopback() }
    }

    /// Looked at once the connection stands and before a byte of the request is sent (CURLOPT_PREREQFUNCTION(3)).
    private func refuseLoopback() throws(CurlFailure) {
        try unsafe setBeforeRequest { _, address, _, _, _ in
            guard let address = unsafe address else { return CURL_PREREQFUNC_ABORT }
            let text = unsafe String(cString: address)
            // The whole of 127.0.0.0/8, also as IPv6 has it. A connection to 0.0.0.0 goes to 127.0.0.1.
            let isLoopback =
                ["127.", "::ffff:127.", "0."].contains { text.hasPrefix($0) } || ["::1", "::"].contains(text)
            return isLoopback ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK
        }
    }

    func configure(_ request: HTTPRequest) throws(CurlFailure) {
        try set(CURLOPT_URL, request.url)
        try set(CURLOPT_PATH_AS_IS, true)
        if let address = request.connectTo { try setConnectTo(address) }
        try set(CURLOPT_TIMEOUT_MS, request.timeout?.milliseconds ?? 0)
        try set(CURLOPT_LOW_SPEED_LIMIT, max(1, request.leastBytesPerSecond))
        try set(CURLOPT_LOW_SPEED_TIME, max(1, request.stallTimeout.milliseconds / 1000))
        try setOffset(CURLOPT_MAXFILESIZE_LARGE, request.maximumResponseBytes)
        try setOffset(CURLOPT_MAX_SEND_SPEED_LARGE, request.maximumSendBytesPerSecond ?? 0)
        switch request.method {
        case .get: try set(CURLOPT_HTTPGET, true)
        case .head: try set(CURLOPT_NOBODY, true)
        case .put, .post, .delete: try set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
        if [.put, .post].contains(request.method) || request.body.byteCount > 0 {
            try set(CURLOPT_UPLOAD, true)
            try setOffset(CURLOPT_INFILESIZE_LARGE, request.body.byteCount)
        }
        let lines = request.headers.sorted { $0.key < $1.key }.map { name, value in
            value.isEmpty ? "\(name);" : "\(name): \(value)"
        }
        // Without the last line libcurl would wait for permission before it sends a large body.
        try setHeaders(lines + ["Expect:"])
    }

    func configureCallbacks(of transfer: Transfer) throws(CurlFailure) {
        try setOwner(transfer, of: CURLOPT_HEADERDATA, CURLOPT_WRITEDATA, CURLOPT_READDATA, CURLOPT_SEEKDATA)
        try unsafe set(CURLOPT_HEADERFUNCTION) { bytes, size, count, owner in
            guard let transfer = unsafe Transfer.from(owner) else { return 0 }
            let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
            return unsafe transfer.receiveHeader(line) ? line.count : 0
        }
        try unsafe set(CURLOPT_WRITEFUNCTION) { bytes, size, count, owner in
            guard let transfer = unsafe Transfer.from(owner) else { return 0 }
            let body = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
            return switch unsafe transfer.receiveBody(body) {
            case .taken: body.count
            case .paused: ccurl_write_pause()
            // Less than was offered: an error, but for an empty body, of which libcurl never tells.
            case .refused: 0
            }
        }
        try unsafe set(CURLOPT_READFUNCTION) { bytes, size, count, owner in
            guard let transfer = unsafe Transfer.from(owner) else { return ccurl_read_abort() }
            return unsafe transfer.sendBody(into: UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
        }
        try unsafe setSeek { owner, offset, origin in
            guard let transfer = unsafe Transfer.from(owner), origin == SEEK_SET else { return CURL_SEEKFUNC_FAIL }
            return transfer.rewindBody(to: Int(offset)) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
        }
    }
}

extension Transfer {
    /// The loop's table keeps the transfer alive for as long as libcurl may call.
    fileprivate static func from(_ owner: UnsafeMutableRawPointer?) -> Transfer? {
        guard let owner = unsafe owner else { return nil }
        return unsafe Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue()
    }
}

extension Duration {
    /// At least 1, as 0 means "no limit" to libcurl, and at most a day short of what 32 bits hold.
    fileprivate var milliseconds: Int { Int(min(max(microseconds / 1000, 1), 2_000_000_000)) }
}
