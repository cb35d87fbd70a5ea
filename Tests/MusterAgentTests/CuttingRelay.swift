import Foundation
import Glibc
import Synchronization
import Testing

/// Passes connections on to a server of this machine, and on request loses an answer: the next bytes that the
/// server sends end their connection instead of arriving.
final class CuttingRelay: Sendable {
    let port: Int
    private let listener: Int32
    private let target: Int
    private let cuts = Mutex(0)
    private let made = Mutex(0)

    init(to target: Int) throws {
        self.target = target
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(listener >= 0)
        var address = Self.loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let codes = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                [bind(listener, address, size), listen(listener, 16), getsockname(listener, address, &size)]
            }
        }
        try #require(codes == [0, 0, 0])
        (self.listener, port) = (listener, Int(UInt16(bigEndian: address.sin_port)))
        start { self.acceptAll() }
    }

    /// How many connections were made.
    var connectionCount: Int { made.withLock { $0 } }

    func loseNextAnswer() { cuts.withLock { $0 += 1 } }

    /// No connection is made any more.
    func end() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func acceptAll() {
        while true {
            // A program that is started now inherits it; that does no harm, as the connection ends by shutdown.
            let client = accept(listener, nil, nil)
            guard client >= 0, fcntl(client, F_SETFD, FD_CLOEXEC) == 0 else { break }
            made.withLock { $0 += 1 }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var address = Self.loopback(target)
            let code = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard code == 0 else {
                close(client)
                close(server)
                continue
            }
            let ends = Mutex(2)
            let finish: @Sendable () -> Void = {
                shutdown(client, Int32(SHUT_RDWR))
                shutdown(server, Int32(SHUT_RDWR))
                let isLast = ends.withLock { left in
                    left -= 1
                    return left == 0
                }
                if isLast {
                    close(client)
                    close(server)
                }
            }
            start { Self.pump(client, server, finish) { false } }
            start { Self.pump(server, client, finish) { self.takeCut() } }
        }
        close(listener)
    }

    private func takeCut() -> Bool {
        cuts.withLock { cuts in
            defer { cuts = max(0, cuts - 1) }
            return cuts > 0
        }
    }

    private func start(_ body: @escaping @Sendable () -> Void) { Thread(block: body).start() }

    private static func pump(
        _ source: Int32, _ target: Int32, _ finish: () -> Void, isCut: () -> Bool
    ) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(source, &buffer, buffer.count, 0)
            guard count > 0, !isCut() else { break }
            var sent = 0
            while sent < count {
                let more = buffer[sent..<count].withUnsafeBytes {
                    Glibc.send(target, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard more > 0 else { return finish() }
                sent += more
            }
        }
        finish()
    }

    private static func loopback(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}
