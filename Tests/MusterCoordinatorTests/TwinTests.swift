import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("Two agents with one identity", .timeLimit(.minutes(10)))
struct TwinTests {
    private static func sight(_ life: String, at address: String = "10.0.0.1") -> TwinBook.Sight {
        TwinBook.Sight(life: life, machine: "ab", address: address, version: "1")
    }

    @Test(arguments: [
        ("a", false), ("aaa", false), ("ab", false), ("abcd", false), ("aab", false),
        // Once may be a request that was late.
        ("aba", false), ("abab", true), ("ababa", true), ("abcab", true), ("abcdefa", false),
    ])
    func theyAreToldApartByTakingTurns(lives: String, areTwo: Bool) {
        let (book, node, clock) = (TwinBook(), NodeID(from: .system), ManualClock())
        var told = 0
        for life in lives {
            if book.see(Self.sight(String(life)), of: node, in: .polls, now: clock.now()) != nil { told += 1 }
            clock.advance(by: .seconds(30))
        }
        #expect(told == (areTwo ? 1 : 0))
    }

    @Test func turnsThatAreHoursApartAreNoTwins() {
        let (book, node, clock) = (TwinBook(), NodeID(from: .system), ManualClock())
        for life in ["a", "b", "a", "b", "a"] {
            #expect(book.see(Self.sight(life), of: node, in: .polls, now: clock.now()) == nil)
            clock.advance(by: .seconds(3601))
        }
    }

    @Test(arguments: [true, false]) func aStandingAlarmNamesBothUntilAPersonClearsIt(byPolls: Bool) async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            func speak(_ life: String) async throws {
                if byPolls {
                    var poll = Muster_V1_WorkRequest()
                    (poll.bootID, poll.agentVersion, poll.machine) = (life, "0.1.\(life.count)", "c0ffee")
                    let _: Muster_V1_WorkResponse = try await server.peer(node).post(.agent, "/v1/work", poll)
                } else {
                    var report = Muster_V1_ReportRequest()
                    (report.clock, report.life, report.reportNumber) = (server.rig.clock.now().description, life, 1)
                    (report.agentVersion, report.machine) = ("0.1.\(life.count)", "c0ffee")
                    let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", report)
                }
            }
            func alarms() async throws -> [Muster_V1_Alarm] {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                return status.alarms.filter { $0.kind == "twins" }
            }
            // An agent that is started anew is no twin.
            for life in ["first", "first", "other"] { try await speak(life) }
            #expect(try await alarms().isEmpty)
            for life in ["first", "other", "first", "other"] { try await speak(life) }
            let standing = try await alarms()
            #expect(standing.count == 1)
            let alarm = try #require(standing.first)
            #expect(alarm.node == "alpha" && alarm.database.isEmpty)
            for word in ["life first", "life other", "machine c0ffee", "at 127.0.0.1", "version 0.1.5", "one machine"] {
                #expect(alarm.summary.contains(word), "\(word) in \(alarm.summary)")
            }
            var clear = Muster_V1_AlarmClearRequest()
            clear.kind = "twins"
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/alarms/clear", clear).status == 400)
            clear.node = "alpha"
            let cleared: Muster_V1_AlarmCleared = try await server.asAdmin.post(.admin, "/v1/alarms/clear", clear)
            #expect(cleared.count == 1)
            #expect(try await alarms().isEmpty)
            try await speak("other")
            #expect(try await alarms().isEmpty)
        }
    }
}
