import Foundation
import Testing

extension EndToEnd {
    @Suite("What the coordinator gets to see")
    struct SecrecyTests {
        @Test func noPortSpeaksWithoutTLS() async throws {
            let fleet = try await Fleet()
            for name in ["listen", "admin_listen"] {
                let port = try fleet.port(name)
                for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /v1/status HTTP/1.0\r\n\r\n"] {
                    let socket = LoopbackSocket()
                    try #require(socket.connect(port), "\(name)")
                    let answer = String(decoding: socket.ask(request), as: UTF8.self)
                    #expect(!answer.contains("HTTP/"), "\(name) answers in the clear: \(answer)")
                }
            }
            #expect(try await fleet.run("status").status == 0)
        }

        @Test func noContentAndNoSecretIsFoundAtTheCoordinator() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let canary = "canary-" + UUID().uuidString.filter(\.isHexDigit).prefix(25)
            let table = "table_" + UUID().uuidString.filter(\.isHexDigit)
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try SampleDatabase.change(
                source, "CREATE TABLE \(table)(note TEXT)", "INSERT INTO \(table) VALUES ('\(canary)')")
            try await node.add(source)
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await fleet.succeed("verify", id, "--level", "verify", "--wait")
            try await fleet.expectRestored(id, equals: source)

            let secret = try secretWords(node)
            let needles = [Data(canary.utf8), Data(table.utf8)] + secret
            #expect(
                try needles.prefix(2).allSatisfy { try Data(contentsOf: URL(filePath: source)).range(of: $0) != nil })
            let seen = StoreFolder(url: URL(filePath: fleet.coordinatorDirectory)).files(under: ".")
            #expect(seen.count > 10)
            for file in seen {
                let bytes = try Data(contentsOf: file.url)
                for needle in needles { #expect(bytes.range(of: needle) == nil, "found in \(file.object)") }
            }
            let log = Data(try fleet.runningCoordinator().standardError.utf8)
            #expect(!log.isEmpty)
            for needle in needles { #expect(log.range(of: needle) == nil, "found in the log") }
        }

        /// The scope secret and the signing key, each in hex and in bytes.
        private func secretWords(_ node: Node) throws -> [Data] {
            try ["scope.key", "signing.key"].flatMap { name in
                let text = try String(contentsOfFile: node.directory + "/" + name, encoding: .utf8)
                let word = String(try #require(text.split(whereSeparator: \.isWhitespace).last))
                try #require(word.count == 64)
                let digits = Array(word)
                let bytes = stride(from: 0, to: digits.count, by: 2).compactMap {
                    UInt8(String(digits[$0...($0 + 1)]), radix: 16)
                }
                return [Data(word.utf8), Data(bytes)]
            }
        }
    }
}

extension Fleet {
    /// The port of a plane, as coordinator.yaml has it.
    func port(_ key: String) throws -> Int {
        let yaml = try String(contentsOfFile: coordinatorDirectory + "/coordinator.yaml", encoding: .utf8)
        let line = try #require(yaml.split(separator: "\n").first { $0.hasPrefix(key + ":") })
        return try #require(Int(line.filter { $0 != "\"" }.split(separator: ":").last ?? ""))
    }
}
