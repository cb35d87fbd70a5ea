import Foundation
import MusterAPI
import MusterCatalog
import MusterModel
import MusterTestSupport
import MusterTransfer
import Synchronization
import Testing

@testable import MusterCoordinator

/// The coordinator's own service sends, by TLS, to a server that checks what it is sent.
@Suite("Webhooks that are delivered", .timeLimit(.minutes(10)))
struct WebhookDeliveryTests {
    private static let secret = "swordfish swordfish"

    /// `webhook_receiver.py`, for as long as this object lives.
    private final class Receiver: Sendable {
        struct Seen: Decodable, Hashable {
            let path, event, text: String
            let status: Int
        }

        private let folder: TemporaryDirectory
        /// It ends when nobody refers to this any more.
        private let process: Mutex<ChildProcess>
        private let client: HTTPClient
        let url: String
        var authority: String { folder.file("ca.pem") }

        init() throws {
            folder = try TemporaryDirectory()
            let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "webhook_receiver.py")
            let child = try ChildProcess(
                "/usr/bin/python3", [script.path(), folder.file(""), WebhookDeliveryTests.secret], takesInput: true,
                output: .reader)
            let port = try child.readLine(within: .seconds(240)) ?? ""
            url = "https://localhost:\(port)"
            process = Mutex(child)
            client = try HTTPClient(tls: TLSFiles(authority: folder.file("ca.pem")))
        }

        private func get(_ path: String) async throws -> [UInt8] {
            try await client.send(HTTPRequest(.get, url + path, timeout: .seconds(500))).body
        }

        func release(_ name: String) async throws { _ = try await get("/release/\(name)") }

        func seen(_ path: String) async throws -> [Seen] {
            try JSONDecoder().decode([Seen].self, from: Data(try await get("/seen"))).filter { $0.path == path }
        }
    }

    /// Lets time go by, and looks and delivers each time, until it is so.
    private static func until(
        _ server: Server, _ what: String, passing step: Duration = .zero, _ isSo: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(300)
        while try await !isSo() {
            guard ContinuousClock.now < deadline else { throw Unexpected("\(what) did not come") }
            server.rig.clock.advance(by: step)
            let coordinator = server.service.coordinator
            await coordinator.looks.ring(.fleet)
            for webhook in coordinator.settings.webhooks { await coordinator.looks.ring(.events(webhook.url)) }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private static func rig(_ receiver: Receiver, _ paths: String...) async throws -> Rig {
        let rig = try await Rig()
        let secret = rig.directory.file("secret")
        try PrivateFile.write(Self.secret + "\n", to: secret)
        let lines = paths.map { path in
            "  - {url: '\(receiver.url)\(path)', kinds: [failing], secret_file: '\(secret)', "
                + "authority_file: '\(receiver.authority)'}\n"
        }
        try rig.addSettings("webhooks:\n" + lines.joined())
        return rig
    }

    private static func fail(_ node: TestNode, _ server: Server) async throws {
        var database = Muster_V1_DatabaseReport()
        (database.databaseID, database.name, database.state) = (node.database.description, "app", "failing")
        var request = Muster_V1_ReportRequest()
        (request.clock, request.databases) = (server.rig.clock.now().description, [database])
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", request)
    }

    @Test func oneThatHoldsItsAnswerBackKeepsNobodyWaitingAndIsToldAgainAfterARestart() async throws {
        let receiver = try Receiver()
        let rig = try await Self.rig(receiver, "/held/one", "/good/two")
        let number = try await rig.serve { server in
            try await Self.fail(try await server.makeNode(), server)
            let catalog = server.service.coordinator.catalog
            try await Self.until(server, "an event") {
                let waits = try await catalog.dueEvent(of: receiver.url + "/good/two", now: .latest)
                return try await !receiver.seen("/good/two").isEmpty && waits == nil
            }
            #expect(try await receiver.seen("/good/two").map(\.text) == ["begun failing"])
            #expect(try await receiver.seen("/good/two").map(\.status) == [204], "its signature is good")
            #expect(try await receiver.seen("/held/one").isEmpty)
            return try #require(
                try await catalog.dueEvent(of: receiver.url + "/held/one", now: .latest), "it waits for its receiver"
            ).number
        }
        try await receiver.release("one")
        try await rig.serve { server in
            try await Self.until(server, "the event", passing: .seconds(60)) {
                let waits = try await server.service.coordinator.catalog.dueEvent(
                    of: receiver.url + "/held/one", now: .latest)
                return try await receiver.seen("/held/one").contains { $0.status == 204 } && waits == nil
            }
            #expect(
                Set(try await receiver.seen("/held/one").map(\.event)) == ["\(number)"], "it knows it by its number")
            #expect(try await receiver.seen("/good/two").count == 1, "what was taken is not told again")
        }
    }

    @Test func aBusyOneIsToldLaterAndNobodyIsSentElsewhere() async throws {
        let receiver = try Receiver()
        let rig = try await Self.rig(receiver, "/busy/one", "/moved/two")
        try await rig.serve { server in
            try await Self.fail(try await server.makeNode(), server)
            try await Self.until(server, "a first try") { try await !receiver.seen("/busy/one").isEmpty }
            try await Self.until(server, "a redirected one") { try await !receiver.seen("/moved/two").isEmpty }
            #expect(try await receiver.seen("/busy/one").map(\.status) == [503], "no time has gone by")
            try await Self.until(server, "a third try", passing: .seconds(60)) {
                try await receiver.seen("/busy/one").count >= 3
            }
            let tries = try await receiver.seen("/busy/one")
            #expect(tries.map(\.status) == [503, 503, 204] && Set(tries.map(\.event)).count == 1)
            #expect(try await receiver.seen("/good/elsewhere").isEmpty)
            let waits = try await server.service.coordinator.catalog.dueEvent(
                of: receiver.url + "/moved/two", now: .latest)
            #expect(waits != nil, "a redirection is no delivery")
        }
    }

    @Test func aServerOfAnotherAuthorityIsToldNothing() async throws {
        let (receiver, other) = (try Receiver(), try Receiver())
        let rig = try await Self.rig(receiver, "/good/one")
        try rig.addSettings(
            "  - {url: '\(other.url)/good/two', kinds: [failing], authority_file: '\(receiver.authority)'}\n")
        try await rig.serve { server in
            try await Self.fail(try await server.makeNode(), server)
            let catalog = server.service.coordinator.catalog
            try await Self.until(server, "a try at each") {
                let event = try await catalog.dueEvent(of: other.url + "/good/two", now: .latest)
                let isTold = try await !receiver.seen("/good/one").isEmpty
                return isTold && event.map { $0.attempts > 0 } ?? false
            }
            #expect(try await other.seen("/good/two").isEmpty)
        }
    }
}

extension Timestamp {
    fileprivate static let latest = Timestamp(microseconds: .max)
}
