import Foundation
import Testing

extension EndToEnd {
    @Suite("Several databases on one node")
    struct DatabasesTests {
        @Test func anyFileNameIsBackedUpAndRestored() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let names = [
                "plain", "with space", "quote'\"s", "new\nline", "ünï-日本-🦆", "percent%20?&=#", "back\\slash",
                "tab\there",
            ]
            for name in names {
                try await node.add(try SampleDatabase.make(fleet.path(name + ".db")))
            }
            try node.start()
            try await fleet.awaitContact(with: node, databases: names.count)
            try await node.snapshot()
            #expect(Set(try await fleet.snapshots().map(\.["database"].text)) == Set(names))
            for (index, name) in names.enumerated() {
                let target = fleet.path("restored-\(index).db")
                try await fleet.succeed(
                    "restore", "--node", "berlin", "--database", name, "--agent-dir", node.directory, "--to", target)
                let isEqual = FileManager.default.contentsEqual(atPath: target, andPath: fleet.path(name + ".db"))
                #expect(isEqual, "\(name)")
            }
            // A target may be named as oddly as a source.
            let odd = fleet.path("restored 'to'\n\"ünï\".db")
            try await fleet.succeed(
                "restore", "--node", "berlin", "--database", "plain", "--agent-dir", node.directory, "--to", odd)
            #expect(FileManager.default.contentsEqual(atPath: odd, andPath: fleet.path("plain.db")))
        }

        @Test func aBrokenDatabaseDoesNotStopTheOthers() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let broken = ["garbage", "missing", "folder", "empty-folder-above/missing"].map { fleet.path($0) }
            try Data("this is a text and no database".utf8).write(to: URL(filePath: broken[0]))
            try FileManager.default.createDirectory(atPath: broken[2], withIntermediateDirectories: false)
            for (index, path) in broken.enumerated() { try await node.add(path, name: "broken-\(index)") }
            for name in ["good-1", "good-2"] { try await node.add(try SampleDatabase.make(fleet.path(name))) }
            try node.start()
            try await fleet.awaitContact(with: node, databases: 6)

            let outcome = try await fleet.run("snapshot", "create", "--wait", "--format", "json")
            #expect(outcome.status == 2, "some, not all")
            for job in try outcome.json.list {
                let isBroken = job["database"].text.hasPrefix("broken")
                #expect(job["state"].text == (isBroken ? "failed" : "done"), "\(job)")
                #expect(job["error_hint"].text.hasSuffix(".") == isBroken, "\(job)")
            }
            #expect(Set(try outcome.json.list.map(\.keys)).count == 1, "a field that is not known is null")
            #expect(Set(try await fleet.snapshots().map(\.["database"].text)) == ["good-1", "good-2"])
            #expect(try await fleet.run("snapshot", "create", "--database", "broken-0", "--wait").status == 1)

            try await expectShownAsFailing(fleet)
            // What was missing comes to be there, and is backed up without anyone's help.
            try SampleDatabase.make(broken[1])
            try await fleet.succeed("snapshot", "create", "--database", "broken-1", "--wait")
        }

        private func expectShownAsFailing(_ fleet: Fleet) async throws {
            try await eventually("a report on six databases") {
                try await fleet.json("database", "list").list.allSatisfy { $0["state"].text != "waiting" }
            }
            let databases = try await fleet.json("database", "list").list
            #expect(Set(databases.map(\.keys)).count == 1, "a field that is not known is null")
            for database in databases {
                let isBroken = database["name"].text.hasPrefix("broken")
                #expect(database["state"].text == (isBroken ? "failing" : "ok"), "\(database)")
                #expect(database["error_summary"].text.isEmpty != isBroken, "\(database)")
                #expect(database["error_hint"].text.hasSuffix(".") == isBroken, "\(database)")
            }
            let alarms = try await fleet.json("status")["alarms"].list
            let failing = Set(alarms.filter { $0["kind"].text == "failing" }.map(\.["database"].text))
            #expect(failing == ["broken-0", "broken-1", "broken-2", "broken-3"])
            #expect(alarms.allSatisfy { $0["hint"].text.hasSuffix(".") })
        }
    }
}

extension Fleet {
    /// Until the node has told what it protects; before that, nobody can ask for a snapshot of it.
    func awaitContact(with node: Node, databases count: Int) async throws {
        try await eventually("a report of node \(node.name)") {
            try await self.json("database", "list", "--node", node.name).list.count == count
        }
    }
}
