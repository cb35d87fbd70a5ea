import Crypto
import Foundation
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

/// Against real servers: SeaweedFS, which promises all that replicas need, and rclone, which does not.
@Suite("A store at an S3 server", .timeLimit(.minutes(10)))
struct S3StoreTests {
    @Test("SeaweedFS passes the claims of every store", arguments: StoreConformance.claims)
    func seaweed(claim: StoreConformance) async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        try await claim.check(try await rig.create(), random: .seeded(1))
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.spool.path).isEmpty)
    }

    /// rclone lets a second put replace an object.
    @Test("rclone passes those that need no create-only put", arguments: StoreConformance.claims)
    func rclone(claim: StoreConformance) async throws {
        let rig = try S3Rig(try S3Server.rclone.get())
        let store = try await rig.create()
        let needCreateOnly = [
            "an object is written once", "of 32 writers of one name exactly one wins",
            "a prepared object is not there before its commit, nor after an abort",
        ]
        if needCreateOnly.contains(claim.description) {
            await #expect(throws: ConformanceFailure.self) { try await claim.check(store, random: .seeded(1)) }
        } else {
            try await claim.check(store, random: .seeded(1))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.spool.path).isEmpty)
    }

    @Test func theProbeTellsTheTwoApart() async throws {
        func probe(_ server: S3Server) async throws -> StoreCapabilities {
            let ticks = ContinuousClock()
            let start = ticks.now
            let rig = try S3Rig(server)
            let store = try await rig.create()
            defer { withExtendedLifetime(rig) {} }
            return try await StoreProbe(store, random: .seeded(2), clock: RealClock()) { start.duration(to: ticks.now) }
                .measure()
        }
        let seaweed = try await probe(try S3Server.seaweed.get())
        for feature in StoreFeature.allCases { #expect(seaweed.obstacles(to: feature) == [], "\(feature)") }
        #expect(seaweed.finding(.objectLock)?.outcome == .absent)
        let rclone = try await probe(try S3Server.rclone.get())
        #expect(rclone.broken.map(\.capability) == [.createOnly, .checksumRefusal, .signedURLs])
        #expect(throws: StoreCapabilityMissing.self) { try rclone.require(.replicas, of: "rclone") }
    }

    // MARK: - Signed addresses

    /// A header that nobody signed may say who reads the object, or how.
    @Test func aServerThatHeedsWhatNobodySignedIsFoundOut() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        let bytes = RandomSource.seeded(6).bytes(5000)
        let seaweed = try await rig.create().loopholesOfSignedPut(try rig.name(1), try rig.name(2), bytes)
        #expect(seaweed == [])
        // It takes what has such a header, and nothing else.
        let script = """
            import http.server, sys, threading, urllib.parse
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_PUT(self):
                    self.rfile.read(int(self.headers["Content-Length"]))
                    signed = urllib.parse.unquote(self.path).lower()
                    heeds = any(n.lower().startswith("x-amz-") and n.lower() not in signed for n in self.headers)
                    self.send_response(200 if heeds else 403)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                def log_message(self, *arguments): pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            print(server.server_address[1], flush=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            sys.stdin.read()
            """
        let process = try ChildProcess("/usr/bin/python3", ["-c", script], takesInput: true, output: .reader)
        let port = try #require(try process.readLine(within: .seconds(240)).flatMap { Int($0) })
        let loopholes = try await rig.behind(port).loopholesOfSignedPut(try rig.name(1), try rig.name(2), bytes)
        #expect(loopholes.count == 7 && loopholes.allSatisfy { $0.hasSuffix("which nobody signed") }, "\(loopholes)")
    }

    /// Each thing that an address does not allow, at a server that holds to it.
    @Test func anAddressIsForOnePutOfTheseBytesUnderThisName() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        let store = try await rig.create()
        let (name, bytes) = (try rig.name(1), RandomSource.seeded(5).bytes(100_000))
        let place = store.signedPut(
            name, byteCount: bytes.count, hash: Array(SHA256.hash(data: bytes)), lifetime: .seconds(900))
        #expect(place.expiresAt > rig.clock.now() + .seconds(800))
        #expect(!place.url.contains("only-for-this-machine"))
        let sender = try SignedPutSender(authority: nil, takesLoopback: true, connectTimeout: .seconds(100))
        func put(_ bytes: [UInt8], to place: SignedPut) async throws -> SignedPutSender.Outcome {
            try await sender.put(bytes, to: place, stallTimeout: .seconds(100))
        }
        func isRefused(_ bytes: [UInt8], to place: SignedPut) async throws -> Bool {
            if case .refused = try await put(bytes, to: place) { true } else { false }
        }
        let changed = bytes.map { ~$0 }
        let honest = SignedPut(
            url: place.url,
            headers: place.headers.merging(S3Request.checksum(Array(SHA256.hash(data: changed)))) { _, new in new },
            expiresAt: place.expiresAt)
        #expect(try await isRefused(changed, to: place), "other bytes")
        #expect(try await isRefused(changed, to: honest), "other bytes with their own hash")
        #expect(try await isRefused(Array(bytes.dropLast()), to: place), "another length")
        let other = place.url.replacing("\(name)", with: "\(try rig.name(2))")
        #expect(other != place.url)
        let elsewhere = SignedPut(url: other, headers: place.headers, expiresAt: place.expiresAt)
        #expect(try await isRefused(bytes, to: elsewhere), "another name")
        let replacing = SignedPut(
            url: place.url, headers: place.headers.filter { $0.key != "if-none-match" }, expiresAt: place.expiresAt)
        #expect(try await isRefused(bytes, to: replacing), "a put that may replace")
        let late = store.signedPut(
            name, byteCount: bytes.count, hash: Array(SHA256.hash(data: bytes)), lifetime: .seconds(900),
            age: .seconds(901))
        #expect(try await isRefused(bytes, to: late), "after its time")
        #expect(try await store.byteCount(of: name) == nil)
        #expect(try await put(bytes, to: place) == .put)
        #expect(try await put(bytes, to: place) == .taken, "a second put")
        #expect(try await store.read(name, maximumBytes: bytes.count) == bytes)
        let chatty = SignedPut(
            url: place.url, headers: place.headers.merging(["cookie": "a=b"]) { _, new in new },
            expiresAt: place.expiresAt)
        #expect(try await isRefused(bytes, to: chatty), "nobody makes us send other headers")
        sender.shutdown()
    }

    @Test func anAddressIsUsedOnlyWhereNobodyListensIn() async throws {
        let sender = try SignedPutSender(authority: nil, takesLoopback: true, connectTimeout: .seconds(100))
        let place = SignedPut(url: "http://192.0.2.1/a", headers: [:], expiresAt: Timestamp(microseconds: 0))
        let error = await #expect(throws: TransferError.self) {
            _ = try await sender.put([1], to: place, stallTimeout: .seconds(100))
        }
        #expect(error?.summary.contains("https://") == true, "\(String(describing: error))")
        sender.shutdown()
    }

    /// Where the coordinator is elsewhere: it must not make a node write to its own services.
    @Test(arguments: ["http://127.0.0.1:9/a", "http://localhost:9/a", "http://[::1]:9/a"])
    func anAddressOfThisMachineIsForACoordinatorOnItAlone(url: String) async throws {
        let sender = try SignedPutSender(authority: nil, takesLoopback: false, connectTimeout: .seconds(100))
        let place = SignedPut(url: url, headers: [:], expiresAt: Timestamp(microseconds: 0))
        let error = await #expect(throws: TransferError.self) {
            _ = try await sender.put([1], to: place, stallTimeout: .seconds(100))
        }
        #expect(error?.summary.contains("https://") == true, "\(String(describing: error))")
        sender.shutdown()
    }

    @Test func aLargeObjectIsPutInParts() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        rig.partBytes = 5 << 20
        let store = try await rig.create()
        let (name, bytes) = (try rig.name(1), RandomSource.seeded(3).bytes((12 << 20) + 1))
        try await store.put(name, bytes)
        #expect(try await store.byteCount(of: name) == UInt64(bytes.count))
        #expect(try await store.read(name, maximumBytes: bytes.count) == bytes)
        let range: Range<UInt64> = (5 << 20) - 7..<(10 << 20) + 7
        #expect(try await store.read(name, range: range) == Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)]))
        await #expect(throws: StoreError.alreadyExists(store: store.name, object: name)) {
            try await store.put(name, [UInt8](repeating: 0, count: 6 << 20))
        }
        #expect(try await store.read(name, maximumBytes: bytes.count) == bytes)
    }

    @Test func theBucketMayBeAPartOfTheHostsName() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get(), style: .virtual)
        let (store, name) = (try await rig.create(), try rig.name(1))
        try await store.put(name, [1, 2, 3])
        #expect(try await store.read(name, range: 1..<3) == [2, 3])
        #expect(try await store.objects(.packs, maximumCount: 10).map(\.name) == [name])
    }

    @Test func onlyAServerThatTheAuthorityCertifiedIsTrusted() async throws {
        let folder = try TemporaryDirectory()
        let (certificate, key) = (folder.file("certificate.pem"), folder.file("key.pem"))
        let made = try ChildProcess.run(
            "openssl",
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
                + ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate])
        try #require(made.status == 0, "\(made.output)")
        let server = try S3Server(.rclone, tls: (certificate, key))
        let rig = try S3Rig(server, authority: try String(contentsOfFile: certificate, encoding: .utf8))
        let (store, name) = (try await rig.create(), try rig.name(1))
        try await store.put(name, [7])
        #expect(try await store.read(name, maximumBytes: 1) == [7])
        let error = await #expect(throws: StoreError.self) { _ = try await S3Rig(server).create() }
        #expect(error?.meansAbsence == true)
        #expect(error?.summary.contains("certificate") == true, "\(String(describing: error))")
    }

    // MARK: - What servers refuse

    @Test func wrongCredentialsAreSaidToBe() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        _ = try await rig.create()
        rig.credentials = try #require(S3Credentials(accessKeyID: "muster-test", secretAccessKey: "wrong"))
        let error = await #expect(throws: StoreError.self) { _ = try await rig.open() }
        #expect(error?.meansAbsence == true)
        #expect(error?.summary.contains("SignatureDoesNotMatch") == true, "\(String(describing: error))")
        #expect(error?.summary.contains("wrong") == false)
    }

    @Test func aClockThatIsOffIsSaidToBe() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        _ = try await rig.create()
        rig.clock = ManualClock(at: Timestamp(microseconds: 1_369_353_600_000_000))
        let error = await #expect(throws: StoreError.self) { _ = try await rig.open() }
        #expect(error?.meansAbsence == true, "\(String(describing: error))")
    }

    @Test func aBucketThatIsNotThereIsSaidNotToBe() async throws {
        let server = try S3Server.rclone.get()
        let address = try S3Server.address("x", endpoint: "http://127.0.0.1:\(server.port)", bucket: "nothing")
        let rig = try S3Rig(server, at: address)
        for attempt in [rig.create, rig.open] {
            let error = await #expect(throws: StoreError.self) { _ = try await attempt() }
            #expect(error?.summary.contains("no bucket 'nothing'") == true, "\(String(describing: error))")
        }
    }

    @Test func aPlaceThatIsTakenIsRefused() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        let store = try await rig.create()
        await #expect(throws: StoreError.alreadyExists(store: "s3", object: .format)) { _ = try await rig.create() }
        #expect(try await rig.open().id == store.id)
        let other = try S3Rig(try S3Server.seaweed.get())
        await #expect(throws: StoreError.self) { _ = try await other.open() }
    }

    // MARK: - What goes wrong on the way

    @Test func whatAServerDoesLaterIsAskedAgain() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        _ = try await rig.create()
        let proxy = try FaultyProxy(before: try S3Server.seaweed.get(), ["503", "503", "pass", "500", "pass"])
        let (store, name) = (try rig.behind(proxy), try rig.name(1))
        try await store.put(name, [1, 2, 3])
        #expect(try await store.read(name, maximumBytes: 3) == [1, 2, 3])
        #expect(try proxy.log() == ["PUT 503", "PUT 503", "PUT pass", "GET 500", "GET pass"])
    }

    @Test func aPutWhoseAnswerWasLostFindsItsOwnObject() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        _ = try await rig.create()
        let proxy = try FaultyProxy(before: try S3Server.seaweed.get(), ["lose"])
        let (store, name) = (try rig.behind(proxy), try rig.name(1))
        try await store.put(name, [1, 2, 3])
        #expect(try await store.read(name, maximumBytes: 3) == [1, 2, 3])
        #expect(try proxy.log().prefix(2) == ["PUT lose", "PUT pass"])
    }

    @Test func aPutWhoseAnswerWasLostIsNotFooledByAnotherObject() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        let (direct, name) = (try await rig.create(), try rig.name(1))
        try await direct.put(name, [9, 9, 9])
        let proxy = try FaultyProxy(before: try S3Server.seaweed.get(), ["lose"])
        let store = try rig.behind(proxy)
        await #expect(throws: StoreError.alreadyExists(store: "s3", object: name)) {
            try await store.put(name, [1, 2, 3])
        }
        #expect(try await direct.read(name, maximumBytes: 3) == [9, 9, 9])
    }

    @Test func aServerThatOnlySaysLaterIsAway() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        let proxy = try FaultyProxy(
            before: try S3Server.seaweed.get(), Array(repeating: "503", count: 10))
        let error = await #expect(throws: StoreError.self) {
            try await rig.behind(proxy).put(rig.name(1), [1])
        }
        #expect(error?.meansAbsence == true)
        #expect(error?.summary.contains("SlowDown") == true, "\(String(describing: error))")
    }

    @Test func anAnswerThatIsNoneIsNotBelieved() async throws {
        let rig = try S3Rig(try S3Server.seaweed.get())
        _ = try await rig.create()
        let proxy = try FaultyProxy(before: try S3Server.seaweed.get(), ["garbage", "garbage"])
        let store = try rig.behind(proxy)
        await #expect(throws: StoreError.self) { _ = try await store.objects(.all, maximumCount: 10) }
        await #expect(throws: StoreError.self) { _ = try await store.read(rig.name(1), range: 0..<1) }
    }
}

extension S3Rig {
    /// The same place, reached through a proxy; not looked at yet.
    fileprivate func behind(_ proxy: FaultyProxy) throws -> S3Store { try behind(proxy.port) }
}

/// Stands before a server and does something else with the first requests.
private final class FaultyProxy {
    let port: Int
    private let process: ChildProcess
    private let folder: TemporaryDirectory

    /// - Parameter faults: for each of the first requests `pass`, a status, `lose` (the answer) or `garbage`.
    init(before server: S3Server, _ faults: [String]) throws {
        folder = try TemporaryDirectory()
        process = try ChildProcess(
            "python3", ["-c", Self.program, "\(server.port)", folder.file("log")] + faults, output: .reader)
        let line = try process.readLine(within: .seconds(240)) ?? ""
        port = try #require(Int(line), "the proxy said '\(line)'")
    }

    /// What came and what was done with it.
    func log() throws -> [String] {
        try String(contentsOfFile: folder.file("log"), encoding: .utf8).split(separator: "\n").map(String.init)
    }

    private static let program = """
        import http.client, http.server, sys
        upstream, log, faults = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1), sys.argv[3:]
        class Proxy(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def serve(self):
                fault = faults.pop(0) if faults else "pass"
                log.write(f"{self.command} {fault}\\n")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if fault.isdigit():
                    return self.answer(int(fault), {}, b"<Error><Code>SlowDown</Code><Message>later</Message></Error>")
                if fault == "garbage":
                    return self.answer(200, {}, b"<html>hello</html>")
                there = http.client.HTTPConnection("127.0.0.1", upstream)
                there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    there.putheader(name, value)
                there.endheaders(body)
                answer = there.getresponse()
                content = answer.read()
                if fault == "lose":
                    self.close_connection = True
                    return
                headers = {k: v for k, v in answer.headers.items() if k.lower() not in ("date", "connection", "server")}
                self.answer(answer.status, headers, content)
            def answer(self, status, headers, content):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
                self.send_header("content-length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve
            def log_message(self, *arguments): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        print(server.server_address[1], flush=True)
        server.serve_forever()
        """
}
