import Foundation
import MusterStore
import MusterTestSupport
import StressRig
import Testing

extension EndToEnd {
    @Suite("A fleet with a store at an S3 server")
    struct S3StoreTests {
        private static let secret = "only-for-this-machine"

        @Test func aFleetComesBackFromItsBucketAlone() async throws {
            let server = try S3Server.seaweed.get()
            let url = try server.address("fleet-\(UUID().uuidString)").description
            let fleet = try await Fleet(stores: ["near"], settings: "placement:\n  replicas: 2\n")
            let access = ["--credentials", server.credentialsFile]
            let refused = try await fleet.run("store", "add", url, "--name", "bucket")
            #expect(refused.status != 0)
            #expect(refused.errors.contains("AWS_ACCESS_KEY_ID"), "\(refused.errors)")
            let added = try await fleet.run(["store", "add", url, "--name", "bucket"] + access)
            try #require(added.status == 0, "\(added.errors)")

            let node = try await Node(fleet, "edge")
            let path = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: 3000)
            try await node.add(path)
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await eventually("a replica in each store") {
                try await fleet.snapshots()[0]["replicas"].list.count { $0["state"].text == "present" } == 2
            }
            #expect(try await fleet.succeed("verify", id, "--level", "scrub", "--wait").status == 0)
            try expectSecretKept(in: fleet)

            // As on a new machine: the bucket, its credentials and the recovery key.
            let restored = fleet.path("restored.db")
            let direct = try await fleet.run(
                ["restore", id, "--store", url, "--recovery-key", fleet.recoveryKey, "--to", restored] + access)
            try #require(direct.status == 0, "\(direct.errors)")
            #expect(FileManager.default.contentsEqual(atPath: restored, andPath: path))

            try await fleet.runningCoordinator().kill()
            try FileManager.default.removeItem(atPath: fleet.coordinatorDirectory)
            fleet.coordinatorDirectory = fleet.path("rebuilt")
            let rebuilt = try await fleet.run(
                ["coordinator", "rebuild", "--dir", fleet.coordinatorDirectory, "--store", url]
                    + ["--recovery-key", fleet.recoveryKey, "--context", fleet.path("rebuilt.json")] + access)
            try #require(rebuilt.status == 0, "\(rebuilt.output) \(rebuilt.errors)")
            try FileManager.default.removeItem(atPath: fleet.path("context.json"))
            try FileManager.default.moveItem(atPath: fleet.path("rebuilt.json"), toPath: fleet.path("context.json"))
            try await fleet.startCoordinator()
            let stores = try await fleet.json("store", "list").list
            #expect(Set(stores.map { $0["name"].text }) == ["main", "bucket"])
            #expect(stores.allSatisfy { $0["state"].text == "ok" }, "\(stores)")
            try expectSecretKept(in: fleet)
            try FileManager.default.removeItem(atPath: fleet.path("near/packs"))
            try await fleet.expectRestored(id, equals: path)
        }

        /// The credentials are in a file of their own that nobody else reads, and in no other as they are.
        private func expectSecretKept(in fleet: Fleet) throws {
            let folder = fleet.folder.url.path(percentEncoded: false)
            var holders: [String] = []
            let files = try #require(FileManager.default.enumerator(atPath: folder))
            for case let name as String in files {
                guard let bytes = FileManager.default.contents(atPath: folder + "/" + name),
                    bytes.range(of: Data(Self.secret.utf8)) != nil
                else { continue }
                holders.append(name)
                let mode = try FileManager.default.attributesOfItem(atPath: folder + "/" + name)[.posixPermissions]
                #expect(mode as? Int == 0o600, "\(name)")
            }
            try #require(holders.count == 1, "\(holders)")
            #expect(holders[0].contains("/credentials/"))
        }
    }
}
