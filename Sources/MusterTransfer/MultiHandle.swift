import CCurl

/// A result of libcurl's multi interface that is not `CURLM_OK`: memory, descriptors or the system's poll failed it.
struct MultiFailure: Error {
    static let outOfMemory = MultiFailure(code: CURLM_OUT_OF_MEMORY)

    let code: CURLMcode

    var error: TransferError { .exhausted(detail: unsafe String(cString: curl_multi_strerror(code))) }
}

/// libcurl's multi handle: all transfers of one client and its open connections.
///
/// `@unchecked Sendable`: only the loop's thread calls it, but for `wakeUp`,
/// which libcurl allows from every thread (curl_multi_wakeup(3)).
@safe
final class MultiHandle: @unchecked Sendable {
    private let pointer: UnsafeMutableRawPointer

    /// libcurl's process-wide state is set up once and never torn down, as other clients may use it.
    private static let globalCode = ccurl_global_init()

    init(maximumConnectionsPerServer: Int) throws(MultiFailure) {
        guard Self.globalCode == CURLE_OK, let pointer = unsafe curl_multi_init() else {
            throw .outOfMemory
        }
        unsafe self.pointer = unsafe pointer
        // curl_multi_init succeeds without the sockets that wake it when no file can be opened: find out now.
        try check(unsafe curl_multi_wakeup(pointer))
        try check(unsafe ccurl_multi_set_long(pointer, CURLMOPT_MAX_HOST_CONNECTIONS, maximumConnectionsPerServer))
        // Idle connections are kept for as many servers as one client talks to in practice.
        try check(unsafe ccurl_multi_set_long(pointer, CURLMOPT_MAXCONNECTS, 4 * maximumConnectionsPerServer))
    }

    deinit {
        let code = unsafe curl_multi_cleanup(pointer)
        precondition(code == CURLM_OK, "a libcurl handle was closed while in use")
    }

    func wakeUp() {
        let code = unsafe curl_multi_wakeup(pointer)
        precondition(code == CURLM_OK, "libcurl's loop cannot be woken")
    }

    func add(_ easy: EasyHandle) throws(MultiFailure) {
        try check(unsafe curl_multi_add_handle(pointer, easy.pointer))
    }

    func remove(_ easy: EasyHandle) {
        let code = unsafe curl_multi_remove_handle(pointer, easy.pointer)
        precondition(code == CURLM_OK, "a libcurl handle was removed that was not there")
    }

    /// Moves every transfer on as far as it goes without waiting.
    func perform() throws(MultiFailure) {
        var running: Int32 = 0
        try check(unsafe curl_multi_perform(pointer, &running))
    }

    /// Sleeps until a socket is ready, one of libcurl's own timers is due, or `wakeUp` was called, even before.
    func wait() throws(MultiFailure) {
        let longestMilliseconds: Int32 = 60_000
        try check(unsafe curl_multi_poll(pointer, nil, 0, longestMilliseconds, nil))
    }

    /// - Returns: the next transfer that is over, with its result.
    func nextDone() -> (key: EasyHandle.Key, code: CURLcode)? {
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(pointer, &left) {
            if unsafe message.pointee.msg == CURLMSG_DONE, let easy = unsafe message.pointee.easy_handle {
                return unsafe (EasyHandle.Key(easy), ccurl_message_result(message))
            }
        }
        return nil
    }

    private func check(_ code: CURLMcode) throws(MultiFailure) {
        guard code == CURLM_OK else { throw MultiFailure(code: code) }
    }
}
