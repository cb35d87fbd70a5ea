import Foundation
import Glibc
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterTransfer

@Suite("Cancelling and stopping", .timeLimit(.minutes(10)))
struct CancellationTests {
    let server: TestServer
    let client: HTTPClient

    init() throws {
        server = try TestServer()
        client = try server.client()
    }

    /// Starts a request that the server does not answer, and waits until the server has it.
    private func held(_ name: String) async throws -> Task<String, Never> {
        let (client, url) = (client, server.url)
        let task = Task { await failure { _ = try await client.get("\(url)/hold/\(name)") } }
        while try await server.stats(client).requests["/hold/\(name)"] == nil { await Task.yield() }
        return task
    }

    @Test func aCancelledRequestEndsAtOnce() async throws {
        let task = try await held("a")
        task.cancel()
        #expect(await task.value == "cancelled")
        #expect(try await client.get("\(server.url)/hello").status == 200)
    }

    @Test func aRequestOfACancelledTaskIsNotAnswered() async throws {
        let (client, url) = (client, server.url)
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return await failure { _ = try await client.get("\(url)/hold/x") }
        }
        task.cancel()
        #expect(await task.value == "cancelled")
    }

    @Test func aRequestInLineIsCancelledToo() async throws {
        let client = try server.client { settings in
            settings.maximumConnections = 1
            settings.maximumWaiting = 1
        }
        let url = server.url
        let first = Task { await failure { _ = try await client.get("\(url)/hold/first") } }
        while try await server.stats(self.client).requests["/hold/first"] == nil { await Task.yield() }
        // One of the two is in line, and there is room for no other.
        let second = Task { await failure { _ = try await client.get("\(url)/hold/second") } }
        let third = Task { await failure { _ = try await client.get("\(url)/hold/third") } }
        let overloaded = await withTaskGroup(of: String.self) { group in
            group.addTask { await second.value }
            group.addTask { await third.value }
            let reason = await group.next()
            second.cancel()
            third.cancel()
            return [reason, await group.next()]
        }
        #expect(overloaded == ["overloaded", "cancelled"])
        first.cancel()
        #expect(await first.value == "cancelled")
        #expect(try await server.stats(self.client).requests["/hold/second"] == nil)
    }

    @Test func shutdownEndsWhatIsUnderWayAndWhatComesLater() async throws {
        let tasks = [try await held("b"), try await held("c")]
        let download = try await client.download(
            HTTPRequest(.get, "\(server.url)/big?bytes=50000000", maximumResponseBytes: 1 << 30))
        client.shutdown()
        client.shutdown()
        for task in tasks { #expect(await task.value == "shut down") }
        #expect(await failure { for try await _ in download {} } == "shut down")
        #expect(await failure { _ = try await client.get("\(server.url)/hello") } == "shut down")
        #expect(
            await failure { _ = try await client.download(HTTPRequest(.get, "\(server.url)/hello")) } == "shut down")
    }

    @Test func nothingSlipsInBehindStop() async throws {
        let loop = try TransferLoop(tls: TLSFiles(authority: server.authority.authority), settings: .init())
        let request = HTTPRequest(.get, "\(server.url)/hello")
        loop.stop()
        let result = await withCheckedContinuation { continuation in
            loop.submit(Transfer(id: 1, request: request, delivery: .whole(continuation)))
            // Had it been let in, the thread would now find it behind the command to stop.
            #expect(throws: Never.self) { try loop.start() }
        }
        #expect(result == .failure(.shutDown(server: request.server)))
    }

    @Test func aLoopThatLibcurlFailedGoesOn() async throws {
        let isFirst = Atomic(true)
        let loop = try TransferLoop(tls: TLSFiles(authority: server.authority.authority), settings: .init()) {
            multi throws(MultiFailure) in
            if isFirst.exchange(false, ordering: .relaxed) { throw .outOfMemory }
            try multi.perform()
        }
        defer { loop.stop() }
        func send(_ id: UInt64, then body: () throws -> Void = {}) async -> Result<HTTPResponse, TransferError> {
            await withCheckedContinuation { continuation in
                loop.submit(
                    Transfer(id: id, request: .patient("\(server.url)/hello"), delivery: .whole(continuation)))
                // As above.
                #expect(throws: Never.self) { try body() }
            }
        }
        let failed = await send(1) { try loop.start() }
        guard case .failure(.exhausted) = failed else { return _ = Issue.record("\(failed)") }
        #expect(try await send(2).get().status == 200)
    }

    @Test func aLoopWithoutAThreadLetsNothingWait() async throws {
        let loop = try TransferLoop(tls: TLSFiles(authority: server.authority.authority), settings: .init())
        let request = HTTPRequest(.get, "\(server.url)/hello")
        let result = await withCheckedContinuation { continuation in
            loop.submit(Transfer(id: 1, request: request, delivery: .whole(continuation)))
            // No machine has room for such a stack.
            let error = #expect(throws: TransferError.self) { try loop.start(stackBytes: 1 << 50) }
            #expect(error?.summary.hasPrefix("the HTTPS client cannot work (no thread: ") == true)
        }
        #expect(result == .failure(.shutDown(server: request.server)))
    }

    @Test func aClientThatGetsNoFilesIsRefused() async {
        // In a process of its own, as the limit is the whole process's.
        await #expect(processExitsWith: .success) {
            var limit = rlimit(rlim_cur: 256, rlim_max: 256)
            try #require(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            var taken: [Int32] = []
            while case let descriptor = open("/dev/null", O_RDONLY), descriptor >= 0 { taken.append(descriptor) }
            let reason = await failure { _ = try HTTPClient(tls: TLSFiles(authority: "/authority.pem")) }
            #expect(reason == "exhausted")
            for descriptor in taken { close(descriptor) }
            _ = try HTTPClient(tls: TLSFiles(authority: "/authority.pem"))
        }
    }

    @Test func aClientThatIsDroppedEndsItsThread() async throws {
        weak var loop: TransferLoop?
        do {
            let client = try server.client()
            _ = try await client.get("\(server.url)/hello")
            loop = client.loop
            #expect(loop != nil)
        }
        while loop != nil { await Task.yield() }
    }

    @Test func noneOfAStormIsLost() async throws {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let (client, url) = (client, server.url)
        let paths = ["hello", "echo", "big?bytes=200000", "cut", "nothing"]
        // Every hundredth is not answered, so that some are under way or in line when they are cancelled.
        let tasks = (0..<2000).map { number in
            let path = number % 100 == 0 ? "hold/storm" : paths.randomElement(using: &random) ?? ""
            return Task { await failure { _ = try await client.get("\(url)/\(path)") } }
        }
        for (number, task) in tasks.enumerated() where number % 100 == 0 || Bool.random(using: &random) {
            if Int.random(in: 0..<4, using: &random) == 0 { await Task.yield() }
            task.cancel()
        }
        var counts: [String: Int] = [:]
        for task in tasks { counts[await task.value, default: 0] += 1 }
        print(counts)
        #expect(counts.values.reduce(0, +) == 2000)
        #expect(Set(counts.keys).isSubset(of: ["none", "cancelled", "unreachable: connectionLost"]))
        #expect(counts["none"] != nil && counts["cancelled"] != nil)
        #expect(try await client.get("\(url)/hello").status == 200)
    }

    @Test func noneOfAStormIsLostWhenTheClientStopsInTheMiddle() async throws {
        for _ in 0..<20 {
            let client = try server.client()
            let url = server.url
            let tasks = (0..<100).map { number in
                Task { await failure { _ = try await client.get("\(url)/hello?\(number)") } }
            }
            async let stopped: Void = client.shutdown()
            for task in tasks.reversed() {
                let reason = await task.value
                #expect(["none", "shut down"].contains(reason))
            }
            await stopped
        }
    }
}
