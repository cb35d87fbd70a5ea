import Foundation
import Testing

extension EndToEnd {
    @Suite("The life of a fleet")
    struct FleetLifeTests {
        @Test func aFleetWithNothingInItIsNotProven() async throws {
            let fleet = try await Fleet()
            let outcome = try await fleet.run("verify", "--fleet", "--level", "scrub", "--wait")
            #expect(outcome.status == 1 && outcome.output.contains("nothing to verify"), "\(outcome.output)")
        }

        @Test func aNodeRetiresAndAnotherTakesItsName() async throws {
            let fleet = try await Fleet()
            let old = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await old.add(source)
            try old.start()
            let taken = try #require(try await fleet.awaitSnapshots(1).first)["id"].text
            let plan = try await fleet.run("node", "retire", "berlin")
            #expect(plan.status == 64 && plan.output.contains("would retire") && plan.errors.contains("--confirm"))
            #expect(try await fleet.json("node", "show", "berlin")["node"]["state"].text == "active")

            try await fleet.succeed("node", "retire", "berlin", "--confirm")
            try await old.stop()
            let shown = try await fleet.json("node", "list").list
            #expect(shown.map(\.["state"].text) == ["retired"])
            let retired = try #require(shown.first)["id"].text
            #expect(try await fleet.run("node", "retire", "berlin", "--confirm").status == 1)
            #expect(try await fleet.run("node", "retire", "nobody", "--confirm").status == 3)

            let second = Node(fleet, "berlin", joinedIn: fleet.path("agent-berlin-2"))
            let token = try await fleet.json("node", "invite", "berlin")["token"].text
            try await fleet.succeed("agent", "join", "--dir", second.directory, token)
            try await second.add(source)
            try second.start()
            _ = try await fleet.awaitSnapshots(2)
            #expect(try await fleet.snapshots("--node", retired).map(\.["id"].text) == [taken])
            #expect(try await fleet.snapshots("--node", "berlin").map(\.["id"].text) != [taken])
            _ = try await fleet.restore(taken, to: "of-the-retired.db")
        }

        @Test func aPersonSeesWhatTheirRoleAllows() async throws {
            let fleet = try await Fleet()
            let context = fleet.path("viewer.json")
            try await fleet.succeed("person", "add", "vera", "--role", "viewer", "--out", context)
            let mode = try FileManager.default.attributesOfItem(atPath: context)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            #expect(try await fleet.run("status", "--context", context).status == 0)
            let refused = try await fleet.run("node", "invite", "munich", "--context", context)
            #expect(refused.status == 1 && refused.errors.contains("role"))
            #expect(try await fleet.run("person", "add", "vera", "--role", "admin", "--out", context).status == 1)
            #expect(try await fleet.run("person", "revoke", "vera").status == 64)
            try await fleet.succeed("person", "revoke", "vera", "--confirm")
            #expect(try await fleet.run("status", "--context", context).status == 1)
            let people = try await fleet.json("person", "list").list
            #expect(people.map(\.["name"].text) == ["admin", "vera"])
            #expect(people.map { $0["revoked_at"] == .null } == [true, false])
        }
    }
}
