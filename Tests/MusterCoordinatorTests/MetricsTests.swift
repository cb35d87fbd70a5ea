import MusterAPI
import MusterFormat
import MusterModel
import MusterServing
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

@Suite("The coordinator's metrics")
struct MetricsTests {
    private static func lines(_ answer: [UInt8]) -> [Substring] {
        String(decoding: answer, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
    }

    @Test func theFleetIsToldInNumbers() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/nodes/none").status == 404)
            var drill = Muster_V1_VerificationRequest()
            (drill.level, drill.snapshotIds) = ("drill", [snapshot.id.description])
            let _: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", drill)
            // What an earlier look found counts for a while.
            server.rig.clock.advance(by: .seconds(16))
            let answer = try await server.asAdmin.send(.admin, .get, "/metrics", headers: [:])
            #expect(answer.status == 200)
            #expect(answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            let lines = Self.lines(answer.body)
            for wanted in [
                "muster_receipt_total 1", "muster_pack_total 1",
                "muster_received_bytes_total \(snapshot.pack.bytes.count)",
                "muster_request_total{route=\"commitSnapshot\",status=\"2xx\"} 1",
                "muster_request_total{route=\"showNode\",status=\"4xx\"} 1",
                "muster_request_seconds_count{route=\"commitSnapshot\"} 1",
                "muster_node_count{state=\"active\"} 1", "muster_node_count{state=\"silent\"} 0",
                "muster_database_count{state=\"unproven\"} 1", "muster_snapshot_count 1",
                "muster_verification_open_count 1", "muster_verification_snapshot_count{state=\"waiting\"} 1",
                "muster_verification_snapshot_count{state=\"failed\"} 0",
                "muster_coverage_ratio{level=\"drill\"} 0",
                "muster_alarm_count{kind=\"stuck\"} 0", "muster_store_up_bool{store=\"main\"} 1",
            ] {
                #expect(lines.contains(Substring(wanted)), "\(wanted)")
            }
            // Nothing that a node or a database is called: those are not bounded.
            #expect(!String(decoding: answer.body, as: UTF8.self).contains("alpha"))
        }
    }

    @Test func withoutTLSTheyAreToldToThisMachineAlone() async throws {
        let rig = try await Rig()
        try rig.addSettings("metrics_listen: 127.0.0.1:0\n")
        try await rig.serve { server in
            var settings = HTTPClient.Settings()
            settings.takesPublicServers = true
            settings.connectTimeout = .seconds(120)
            let http = try HTTPClient(tls: TLSFiles(authority: server.rig.admin.authority), settings: settings)
            defer { http.shutdown() }
            let url = "http://127.0.0.1:\(await server.service.metricsPort.wait())"
            let answer = try await http.send(HTTPRequest(.get, url + "/metrics", timeout: .seconds(120)))
            let lines = Self.lines(answer.body)
            #expect(answer.status == 200 && lines.contains("muster_snapshot_count 0"))
            #expect(!lines.contains { $0.hasPrefix("muster_rpo_oldest_seconds") }, "unknown is not 0")
            for (method, path) in [(HTTPRequest.Method.get, "/v1/status"), (.get, "/"), (.post, "/metrics")] {
                #expect(try await http.send(HTTPRequest(method, url + path, timeout: .seconds(120))).status == 404)
            }
        }
    }

    @Test(arguments: ["0.0.0.0:7430", "192.168.0.4:7430", "7430", "example.org:7430"])
    func noOtherAddressIsTaken(address: String) {
        #expect(throws: CoordinatorSetupError.self) {
            _ = try CoordinatorSettings(yaml: "listen: \"127.0.0.1:1\"\nmetrics_listen: \"\(address)\"\n")
        }
    }
}
