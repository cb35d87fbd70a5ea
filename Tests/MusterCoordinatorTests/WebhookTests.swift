import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCoordinator

@Suite("Webhooks")
struct WebhookTests {
    /// What was sent, and how the next tries are answered.
    private final class Receiver: Sendable {
        struct Sent: Sendable {
            let url: String
            let message: WebhookMessage
            let headers: [String: String]
            let body: String
        }

        private let sentSoFar = Mutex<[Sent]>([])
        private let status = Mutex(200)

        var sent: [Sent] { sentSoFar.withLock { $0 } }
        /// "begun silent", ...
        var texts: [String] { sent.map { "\($0.message.event) \($0.message.alarm.kind)" } }

        func answer(with status: Int) { self.status.withLock { $0 = status } }

        func service(_ server: Server) -> WebhookService {
            WebhookService(coordinator: server.service.coordinator) { webhook, body, headers in
                let message = try JSONDecoder().decode(WebhookMessage.self, from: Data(body.utf8))
                self.sentSoFar.withLock {
                    $0.append(Sent(url: webhook.url, message: message, headers: headers, body: body))
                }
                return self.status.withLock { $0 }
            }
        }
    }

    /// The server's own service sends beside the test's: nobody listens there.
    private static let url = "http://127.0.0.1:1/muster?key=1"

    private static func report(
        _ node: TestNode, _ server: Server, state: String = "ok"
    ) async throws {
        var database = Muster_V1_DatabaseReport()
        (database.databaseID, database.name, database.state) = (node.database.description, "app", state)
        var request = Muster_V1_ReportRequest()
        (request.clock, request.databases) = (server.rig.clock.now().description, [database])
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    @Test func eventsAreSignedSentInOrderAndTriedAgain() async throws {
        let rig = try await Rig()
        let secret = rig.directory.file("secret")
        try PrivateFile.write("swordfish swordfish\n", to: secret)
        try rig.addSettings("webhooks: [{url: '\(Self.url)', kinds: [failing, webhook], secret_file: '\(secret)'}]\n")
        let receiver = Receiver()
        try await rig.serve { server in
            let (node, service) = (try await server.makeNode(), receiver.service(server))
            let coordinator = server.service.coordinator
            try await Self.report(node, server, state: "failing")
            receiver.answer(with: 500)
            try await service.round()
            #expect(receiver.sent.isEmpty || receiver.texts == ["begun failing"])
            // Whoever tried it first, it comes later and later, and then that is an alarm itself.
            for _ in 0..<8 {
                rig.clock.advance(by: .seconds(900))
                try await Self.report(node, server, state: "failing")
                try await service.round()
            }
            let alarms = try await coordinator.lookAtFleet().board.told
            #expect(alarms.map(\.kind) == [.failing, .webhook])
            let trouble = try #require(alarms.last)
            #expect(trouble.store == "127.0.0.1:1" && !trouble.summary.contains("key=1"), "a path may be a secret")
        }
        // A restart neither loses nor repeats.
        receiver.answer(with: 200)
        let before = receiver.sent.count
        try await rig.serve { server in
            // The server's own service may be there first, and then it is due again later.
            for _ in 0..<100 where receiver.sent.count == before {
                rig.clock.advance(by: .seconds(900))
                try await receiver.service(server).round()
            }
            let sent = receiver.sent.dropFirst(before)
            #expect(sent.first?.message.event == "begun" && sent.first?.message.alarm.kind == "failing")
            #expect(Set(sent.map(\.headers["muster-event"])).count == sent.count)
            let first = try #require(sent.first)
            let parts = try #require(first.headers["muster-signature"]).split(separator: ",")
            let time = parts[0].dropFirst(2)
            let code = KeyDerivation.hmac(
                key: Array("swordfish swordfish".utf8), message: Array("\(time).\(first.body)".utf8))
            #expect(parts[1] == "v1=" + Hex.encode(code))
            #expect(first.message.alarm.node == "alpha" && first.message.alarm.database == "app")
        }
    }

    @Test(arguments: [
        ("https://hooks.example/a?b=c", true), ("http://127.0.0.1:8080/x", true), ("http://localhost/x", true),
        ("http://[::1]:80/", true), ("http://hooks.example/", false), ("http://127.0.0.1.example/", false),
        ("https://user:password@hooks.example/", false), ("ftp://hooks.example/", false), ("https://", false),
        ("https://a b/", false),
    ])
    func onlyTLSOrThisMachineIsTaken(url: String, isTaken: Bool) throws {
        let yaml = "listen: \"127.0.0.1:1\"\nwebhooks:\n  - url: \"\(url)\"\n"
        #expect((try? CoordinatorSettings(yaml: yaml).webhooks.map(\.url)) == (isTaken ? [url] : nil))
    }

    @Test func aSecretThatAnybodyCanGuessIsRefusedBeforeAnythingIsSent() async throws {
        let empty = "listen: \"127.0.0.1:1\"\nwebhooks: [{url: 'https://a.example/', secret_file: ''}]\n"
        #expect(throws: CoordinatorSetupError.self) { _ = try CoordinatorSettings(yaml: empty) }
        let folder = try TemporaryDirectory()
        for (text, isTaken) in [
            ("", false), ("\nswordfish swordfish", false), ("short\n", false), ("0123456789abcdef", true),
        ] {
            let path = folder.file("secret")
            try PrivateFile.write(text, to: path)
            let yaml = "listen: \"127.0.0.1:1\"\nwebhooks: [{url: 'https://a.example/', secret_file: '\(path)'}]\n"
            let webhooks = try CoordinatorSettings(yaml: yaml).webhooks
            if isTaken {
                try WebhookSender(webhooks).shutdown()
            } else {
                #expect(throws: CoordinatorSetupError.weakSecret(path: path)) { _ = try WebhookSender(webhooks) }
            }
        }
    }

    @Test func kindsThatDoNotExistAreRefused() {
        let yaml = "listen: \"127.0.0.1:1\"\nwebhooks: [{url: 'https://a.example/', kinds: [stuk]}]\n"
        #expect(throws: CoordinatorSetupError.self) { _ = try CoordinatorSettings(yaml: yaml) }
    }
}
