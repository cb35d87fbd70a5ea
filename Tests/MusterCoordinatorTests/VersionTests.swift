import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterAgent
@testable import MusterCoordinator

@Suite("Agents of other versions", .timeLimit(.minutes(10)))
struct VersionTests {
    private static let type = ["accept": "application/x-protobuf", "content-type": "application/x-protobuf"]

    @Test(arguments: [
        ("1.0", 200, ""), ("1.1", 200, ""), ("1.9999", 200, ""), ("", 200, ""), ("2.0", 400, "protocol"),
        ("0.9", 400, "protocol"), ("1", 400, "malformed"), ("1.0 ", 200, ""), ("x", 400, "malformed"),
        ("1.99999", 400, "malformed"),
    ])
    func onlyAnotherMajorProtocolIsRefused(text: String, status: Int, code: String) async throws {
        try await Rig.serve { server in
            let peer = server.peer(try await server.makeNode())
            let headers = text.isEmpty ? Self.type : Self.type.merging(["muster-protocol": text]) { $1 }
            let answer = try await peer.send(.agent, .get, "/v1/snapshots", headers: headers)
            #expect(answer.status == status && answer.code == code, "\(answer.error)")
            if code == "protocol" { #expect(answer.error.summary.contains(text) && answer.error.hint.hasSuffix(".")) }
        }
    }

    /// What an agent of one minor version later sends: fields and words that this coordinator does not know.
    @Test func aNewerAgentIsServed() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode("newer")
            let headers = Self.type.merging(["muster-protocol": "1.1"]) { $1 }
            var report = Muster_V1_ReportRequest()
            (report.agentVersion, report.clock) = ("0.2.0", server.rig.clock.now().description)
            (report.life, report.reportNumber) = ("one", 1)
            report.databases = [
                .with {
                    ($0.databaseID, $0.name, $0.path) = (node.database.description, "app", "/srv/app.db")
                    ($0.schedule, $0.state, $0.capture) = ("at sunset", "hibernating", "dreamed")
                }
            ]
            // Field 900, a text of four bytes: no version of today has it.
            let unknown: [UInt8] = [0xa2, 0x38, 4] + Array("news".utf8)
            let peer = server.peer(node)
            let reported = try await peer.send(
                .agent, .post, "/v1/report", try report.serializedBytes() + unknown, headers: headers)
            #expect(reported.status == 200, "\(reported.error)")
            let shown: Muster_V1_Node = try await server.asAdmin.get(.admin, "/v1/nodes/newer")
            #expect(shown.agentVersion == "0.2.0")
            #expect(shown.databases.map(\.state) == ["hibernating"] && shown.databases.map(\.capture) == ["dreamed"])
            var work = Muster_V1_WorkRequest()
            work.bootID = "one"
            let worked = try await peer.send(
                .agent, .post, "/v1/work", try work.serializedBytes() + unknown, headers: headers)
            #expect(worked.status == 200)
            let snapshot = try node.makeSnapshot()
            var commit = Muster_V1_CommitRequest()
            (commit.manifest, commit.packs) = (Data(snapshot.manifest.bytes), [Data(snapshot.pack.bytes)])
            let committed = try await peer.send(
                .agent, .post, "/v1/snapshots", try commit.serializedBytes() + unknown, headers: headers)
            #expect(committed.status == 200, "\(committed.error)")
            // No word that means something else here may come from outside.
            report.databases[0].state = "removed"
            #expect(try await peer.tryPost(.agent, "/v1/report", report).status == 400)
        }
    }

    /// What an agent of one minor version earlier sends: whole reports without a life, polls without a machine.
    @Test func anOlderAgentIsServed() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode("older")
            let peer = server.peer(node)
            for _ in 0..<3 {
                var report = Muster_V1_ReportRequest()
                (report.agentVersion, report.clock) = ("0.0.9", server.rig.clock.now().description)
                report.databases = [
                    .with {
                        ($0.databaseID, $0.name) = (node.database.description, "app")
                        $0.state = "ok"
                    }
                ]
                let answer: Muster_V1_ReportResponse = try await peer.post(.agent, "/v1/report", report)
                #expect(!answer.wantsFull)
                server.rig.clock.advance(by: .seconds(30))
            }
            var work = Muster_V1_WorkRequest()
            work.bootID = "one"
            let _: Muster_V1_WorkResponse = try await peer.post(.agent, "/v1/work", work)
            let snapshot = try node.makeSnapshot()
            #expect(try await peer.put(snapshot.pack).status == 200)
            #expect(try await peer.commit(snapshot.manifest).status == 200)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.isEmpty && status.databases.map(\.state) == ["ok"])
        }
    }
}
