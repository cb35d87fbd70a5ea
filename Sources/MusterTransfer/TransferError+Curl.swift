import CCurl

extension TransferError {
    /// Sorts libcurl's result into our classes.
    ///
    /// - Parameter detail: the text in the transfer's error buffer, or "".
    init(code: CURLcode, detail: String, server: String) {
        let detail = detail.isEmpty ? unsafe String(cString: curl_easy_strerror(code)) : detail
        if let fault = TLSFault(code: code, detail: detail) {
            self = .tls(server: server, fault, detail: detail)
        } else if let obstacle = Obstacle(code: code) {
            self = .unreachable(server: server, obstacle, detail: detail)
        } else {
            self = .protocolFailed(server: server, code: Int(code.rawValue), detail: detail)
        }
    }
}

extension TransferError.Obstacle {
    fileprivate init?(code: CURLcode) {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST: self = .nameNotResolved
        case CURLE_COULDNT_CONNECT: self = .refused
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut
        // A handshake cut off by the peer comes as SSL_CONNECT_ERROR: TLSFault let it pass by its text.
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE, CURLE_SSL_CONNECT_ERROR,
            CURLE_SEND_FAIL_REWIND, CURLE_AGAIN:
            self = .connectionLost
        default: return nil
        }
    }
}

extension TransferError.TLSFault {
    /// libcurl has few codes for TLS, so OpenSSL's text decides where the code does not.
    ///
    /// With TLS 1.3 the server judges our certificate after our side of the
    /// handshake is over: its alert then arrives as a failed read or write.
    fileprivate init?(code: CURLcode, detail: String) {
        let isAlert = detail.contains("alert")
        let aboutCertificates = ["certificate", "unknown ca", "decrypt error", "access denied"]
        switch code {
        case CURLE_PEER_FAILED_VERIFICATION:
            let isDate = detail.contains("has expired") || detail.contains("not yet valid")
            self = isDate ? .serverCertificateExpired : .serverNotTrusted
        case CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ENGINE_INITFAILED: self = .filesUnusable
        case CURLE_SSL_CONNECT_ERROR, CURLE_RECV_ERROR, CURLE_SEND_ERROR:
            if isAlert, detail.contains("certificate expired") {
                self = .clientCertificateExpired
            } else if isAlert, aboutCertificates.contains(where: detail.contains) {
                self = .clientCertificateRefused
            } else if code == CURLE_SSL_CONNECT_ERROR, detail.contains("SSL routines"),
                !detail.contains("unexpected eof")
            {
                self = .handshakeFailed
            } else {
                return nil
            }
        case CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_USE_SSL_FAILED: self = .handshakeFailed
        default: return nil
        }
    }
}
