import CCurl

/// A result of libcurl that is not `CURLE_OK`.
struct CurlFailure: Error {
    let code: CURLcode
}

/// One libcurl easy handle with what it points to; used on its loop's thread only.
@safe
final class EasyHandle {
    /// Tells handles apart in libcurl's messages.
    struct Key: Hashable {
        private let address: Int

        init(_ pointer: UnsafeMutableRawPointer) { address = Int(bitPattern: pointer) }
    }

    let pointer: UnsafeMutableRawPointer
    private let errorText: UnsafeMutablePointer<CChar>
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectList: UnsafeMutablePointer<curl_slist>?

    init() throws(CurlFailure) {
        guard let pointer = unsafe curl_easy_init() else { throw CurlFailure(code: CURLE_FAILED_INIT) }
        unsafe self.pointer = unsafe pointer
        unsafe errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        try check(unsafe ccurl_set_pointer(pointer, CURLOPT_ERRORBUFFER, errorText))
    }

    deinit {
        // The handle first: it points to the others.
        unsafe curl_easy_cleanup(pointer)
        unsafe curl_slist_free_all(headerList)
        unsafe curl_slist_free_all(connectList)
        unsafe errorText.deallocate()
    }

    var key: Key { unsafe Key(pointer) }

    /// What libcurl said about the last failure, or "".
    var failureText: String { unsafe String(cString: errorText) }

    func set(_ option: CURLoption, _ value: Int) throws(CurlFailure) {
        try check(unsafe ccurl_set_long(pointer, option, value))
    }

    func set(_ option: CURLoption, _ value: Bool) throws(CurlFailure) { try set(option, value ? 1 : 0) }

    func setOffset(_ option: CURLoption, _ value: Int) throws(CurlFailure) {
        try check(unsafe ccurl_set_offset(pointer, option, curl_off_t(value)))
    }

    /// libcurl keeps a copy of the text; nil takes its own default away.
    func set(_ option: CURLoption, _ value: String?) throws(CurlFailure) {
        try check(unsafe ccurl_set_string(pointer, option, value))
    }

    /// Text that begins like PEM is taken as it is, anything else as the path of a file.
    func setPEM(_ source: String, asFile file: CURLoption, asBlob blob: CURLoption) throws(CurlFailure) {
        guard source.hasPrefix("-----BEGIN ") else { return try set(file, source) }
        let bytes = Array(source.utf8)
        try check(unsafe ccurl_set_blob(pointer, blob, bytes, bytes.count))
    }

    func setOwner(_ owner: AnyObject, of options: CURLoption...) throws(CurlFailure) {
        for option in options {
            try check(unsafe ccurl_set_pointer(pointer, option, Unmanaged.passUnretained(owner).toOpaque()))
        }
    }

    func set(_ option: CURLoption, callback: ccurl_transfer_function?) throws(CurlFailure) {
        try check(unsafe ccurl_set_transfer_function(pointer, option, callback))
    }

    func setSeek(callback: ccurl_seek_function?) throws(CurlFailure) {
        try check(unsafe ccurl_set_seek_function(pointer, callback))
    }

    func setBeforeRequest(callback: curl_prereq_callback?) throws(CurlFailure) {
        try check(unsafe ccurl_set_before_request_function(pointer, callback))
    }

    func setHeaders(_ lines: [String]) throws(CurlFailure) {
        for line in lines {
            guard let longer = unsafe curl_slist_append(headerList, line) else {
                throw CurlFailure(code: CURLE_OUT_OF_MEMORY)
            }
            unsafe headerList = unsafe longer
        }
        try check(unsafe ccurl_set_list(pointer, CURLOPT_HTTPHEADER, headerList))
    }

    /// Connects to this HOST:PORT whatever the URL says.
    func setConnectTo(_ address: String) throws(CurlFailure) {
        guard let list = unsafe curl_slist_append(connectList, "::\(address)") else {
            throw CurlFailure(code: CURLE_OUT_OF_MEMORY)
        }
        unsafe connectList = unsafe list
        try check(unsafe ccurl_set_list(pointer, CURLOPT_CONNECT_TO, connectList))
    }

    /// Goes on after a callback paused; may call the callbacks before it returns.
    func unpause() throws(CurlFailure) { try check(unsafe curl_easy_pause(pointer, ccurl_pause_nothing())) }

    private func check(_ code: CURLcode) throws(CurlFailure) {
        guard code == CURLE_OK else { throw CurlFailure(code: code) }
    }
}
