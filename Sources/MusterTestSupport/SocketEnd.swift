import Foundation
import Glibc

/// One end of a pair of connected sockets, closed once, which no program inherits by itself.
///
/// Sockets, not pipes: of what the Glibc module offers Swift, `socketpair` alone makes descriptors that are closed on
/// exec from their first moment, and a reader that has gone is an error here instead of a signal.
final class SocketEnd: Sendable {
    let number: Int32

    private init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    static func pair() throws(SystemCallFailure) -> (ours: SocketEnd, theirs: SocketEnd) {
        var numbers: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &numbers) == 0 else { throw SystemCallFailure("socketpair", code: errno) }
        let pair = (ours: SocketEnd(numbers[0]), theirs: SocketEnd(numbers[1]))
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        guard setsockopt(numbers[0], SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size)) == 0 else {
            throw SystemCallFailure("setsockopt", code: errno)
        }
        return pair
    }

    /// Gives up if nothing is taken for 60 seconds.
    func send(_ bytes: [UInt8]) throws(SystemCallFailure) {
        var sentCount = 0
        while sentCount < bytes.count {
            let count = bytes.withUnsafeBytes { all in
                let rest = UnsafeRawBufferPointer(rebasing: all[sentCount...])
                return Glibc.send(number, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemCallFailure("send", code: errno) }
            sentCount += count
        }
    }

    /// - Returns: some bytes, none at the end, nil if there was no news until `deadline`.
    func receive(until deadline: ContinuousClock.Instant) throws(SystemCallFailure) -> [UInt8]? {
        while true {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { return nil }
            var watched = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
            let readyCount = poll(&watched, 1, Int32(min(left.rounded(.up), 60_000)))
            if readyCount == 0 || (readyCount < 0 && errno == EINTR) { continue }
            guard readyCount > 0 else { throw SystemCallFailure("poll", code: errno) }
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(number, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            // One that was killed with input unread resets the connection: that is an end too.
            if count < 0, errno == ECONNRESET { return [] }
            guard count >= 0 else { throw SystemCallFailure("recv", code: errno) }
            return Array(buffer[..<count])
        }
    }
}

struct SystemCallFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    init(_ call: String, code: Int32) { description = "\(call): \(String(cString: strerror(code)))" }
}
