import Foundation

/// The files of a folder store, looked at from outside.
struct StoreFolder {
    let url: URL

    struct File: Hashable {
        /// As in the store: `packs/ab/ab….generation`.
        let object: String
        let url: URL
        let byteCount: Int
        /// The part of the name that is the object's id.
        var id: String { url.lastPathComponent.split(separator: ".").first.map(String.init) ?? "" }
    }

    var packs: [File] { files(under: "packs") }
    var manifests: [File] { files(under: "manifests") }
    var receipts: [File] { files(under: "receipts") }
    /// What is being received.
    var incoming: [File] { files(under: "incoming") }

    func files(under name: String) -> [File] {
        let root = url.appending(path: name)
        let paths = FileManager.default.enumerator(atPath: root.path(percentEncoded: false))
        return (paths?.compactMap { $0 as? String } ?? []).sorted().compactMap { path in
            let file = root.appending(path: path)
            // What has just been named or removed is not there any more: another moment has another list.
            guard let found = try? FileManager.default.attributesOfItem(atPath: file.path(percentEncoded: false)),
                found[.type] as? FileAttributeType == .typeRegular, let byteCount = found[.size] as? Int
            else { return nil }
            return File(object: name + "/" + path, url: file, byteCount: byteCount)
        }
    }
}

extension [StoreFolder.File] {
    var byteCount: Int { reduce(0) { $0 + $1.byteCount } }
    var objects: Set<String> { Set(map(\.object)) }
}

/// A plain TCP socket on 127.0.0.1, closed with its owner.
final class LoopbackSocket {
    private let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)

    deinit { close(descriptor) }

    func bind(_ port: Int) -> Bool { withAddress(port) { Glibc.bind(descriptor, $0, $1) } == 0 }
    func listen() -> Bool { Glibc.listen(descriptor, 8) == 0 }
    func connect(_ port: Int) -> Bool { withAddress(port) { Glibc.connect(descriptor, $0, $1) } == 0 }

    /// Sends the text and reads until the other side closes, or is silent for five seconds.
    func ask(_ text: String) -> [UInt8] {
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(text.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return [] }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while answer.count < 1 << 16 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return answer
    }

    private func withAddress(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
