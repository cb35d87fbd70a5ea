import Foundation
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

@Suite("A bucket that says that it locks objects", .timeLimit(.minutes(10)))
struct S3LockTests {
    /// SeaweedFS keeps to it, and nothing of the trial stays.
    @Test func aBucketThatLocksIsProven() async throws {
        let server = try S3Server.seaweed.get()
        let bucket = "locked-\(UUID().uuidString.lowercased())"
        let address = try S3Server.address("fleet", endpoint: "http://127.0.0.1:\(server.port)", bucket: bucket)
        let rig = try S3Rig(server, at: address)
        let made = try await rig.connection(to: server.port, bucket: bucket).ask(
            S3Request(method: .put, headers: ["x-amz-bucket-object-lock-enabled": "true"]))
        try #require(made.status == 200, "\(made.refusal)")
        let store = try await rig.create()
        #expect(try await store.locksObjects() == true)
        let name = try rig.name(1)
        let trial = try await store.tryLock(name, [1, 2, 3, 4])
        #expect([.kept(for: .seconds(5)), .kept(for: .seconds(60))].contains(trial), "\(trial)")
        let versions = try await store.connection.ask(
            S3Request(
                method: .get, query: [("prefix", store.connection.key(of: name)), ("versions", "")],
                maximumResponseBytes: 1 << 20))
        #expect(versions.status == 200 && !String(decoding: versions.body, as: UTF8.self).contains("<Version>"))
    }

    /// What a server says, and what it does.
    @Test(arguments: [
        (["put": 200, "delete": 204], LockTrial.lost(to: "deleted before its time")),
        (["put": 501, "delete": 204], .untried(because: "the server would not lock an object: status 501")),
        // Each put takes ten seconds of its clock, and a time that is over is refused.
        (["put": 200, "delete": 204, "slow": 10], .lost(to: "deleted before its time")),
    ])
    func whatTheServerDoesCounts(answers: [String: Int], expected: LockTrial) async throws {
        let script = """
            import datetime, http.server, sys, threading, time
            put, delete, slow = (int(text) for text in sys.argv[1:4])
            late = 0
            enabled = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
            class Handler(http.server.BaseHTTPRequestHandler):
                def answer(self, status, body=b""):
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_response(status)
                    self.send_header("x-amz-version-id", "1")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    if self.command != "HEAD": self.wfile.write(body)
                def date_time_string(self, timestamp=None):
                    return super().date_time_string((timestamp or time.time()) + late)
                def do_PUT(self):
                    global late
                    late += slow
                    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=late)
                    never = "9999-01-01T00:00:00Z"
                    until = self.headers.get("x-amz-object-lock-retain-until-date", never)
                    until = datetime.datetime.fromisoformat(until.replace("Z", "+00:00"))
                    self.answer(400 if until <= now else put)
                def do_DELETE(self): self.answer(delete)
                def do_HEAD(self): self.answer(200)
                def do_GET(self): self.answer(200 if "object-lock" in self.path else 404, enabled)
                def log_message(self, *arguments): pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            print(server.server_address[1], flush=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            sys.stdin.read()
            """
        let process = try ChildProcess(
            "/usr/bin/python3", ["-c", script] + ["put", "delete", "slow"].map { "\(answers[$0] ?? 0)" },
            takesInput: true, output: .reader)
        let port = try #require(try process.readLine(within: .seconds(240)).flatMap { Int($0) })
        let rig = try S3Rig(try S3Server.seaweed.get())
        let store = try rig.behind(port)
        #expect(try await store.locksObjects() == true)
        #expect(try await store.tryLock(try rig.name(1), [1, 2, 3]) == expected)
    }
}
