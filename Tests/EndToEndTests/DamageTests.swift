import Foundation
import Testing

extension EndToEnd {
    @Suite("Damage in the store")
    struct DamageTests {
        /// What happens to the object of the first of two databases.
        enum Damage: String, CaseIterable, CustomTestStringConvertible {
            case flippedPack, truncatedPack, emptiedPack, removedPack, swappedPack, flippedManifest, removedManifest
            var testDescription: String { rawValue }
            var isOfManifest: Bool { self == .flippedManifest || self == .removedManifest }
        }

        private struct Victim {
            let id: String
            let source: String
            let pack: StoreFolder.File
            let manifest: StoreFolder.File
        }

        @Test func itIsFoundNamedAndRefusedAndGoesWhenTheObjectIsBack() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let settings = node.directory + "/agent.yaml"
            let text = try String(contentsOfFile: settings, encoding: .utf8) + "cache_bytes: 0\n"
            try text.write(toFile: settings, atomically: true, encoding: .utf8)
            try node.start()
            let first = try await victim("first", node)
            let second = try await victim("second", node)
            // Nothing is there to send again, and no snapshot is made in its place.
            for name in ["first", "second"] {
                try await fleet.succeed("database", "pause", "--dir", node.directory, name)
            }
            for damage in Damage.allCases {
                let object = damage.isOfManifest ? first.manifest : first.pack
                let good = try Data(contentsOf: object.url)
                try inflict(damage, on: object, with: second.pack)
                try await expectFound(damage, object, first, second, fleet)
                try await expectRefused(damage, first, node)
                // Another snapshot is not hit, but where its own pack was swapped.
                if damage != .swappedPack { try await fleet.expectRestored(second.id, equals: second.source) }

                if damage == .swappedPack { try swap(object, second.pack) } else { try good.write(to: object.url) }
                try await fleet.succeed("verify", first.id, second.id, "--level", "scrub", "--wait")
                try await fleet.expectRestored(first.id, equals: first.source, "\(damage)")
            }
        }

        /// A database with one snapshot, which is one pack.
        private func victim(_ name: String, _ node: Node) async throws -> Victim {
            let store = node.fleet.store
            let (packs, manifests) = (store.packs.objects, store.manifests.objects)
            let source = try SampleDatabase.make(node.fleet.path(name + ".db"))
            try await node.add(source)
            var found: [JSON] = []
            try await eventually("the snapshot of \(name)") {
                found = try await node.fleet.snapshots("--node", node.name).filter { $0["database"].text == name }
                return !found.isEmpty
            }
            let pack = store.packs.filter { !packs.contains($0.object) }
            let manifest = store.manifests.filter { !manifests.contains($0.object) }
            try #require(found.count == 1 && pack.count == 1 && manifest.count == 1)
            return Victim(id: found[0]["id"].text, source: source, pack: pack[0], manifest: manifest[0])
        }

        private func inflict(_ damage: Damage, on object: StoreFolder.File, with other: StoreFolder.File) throws {
            switch damage {
            case .flippedPack, .flippedManifest:
                var bytes = try Data(contentsOf: object.url)
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: object.url)
            case .truncatedPack:
                try Data(contentsOf: object.url).prefix(object.byteCount / 2).write(to: object.url)
            case .emptiedPack: try Data().write(to: object.url)
            case .removedPack, .removedManifest: try FileManager.default.removeItem(at: object.url)
            case .swappedPack: try swap(object, other)
            }
        }

        private func swap(_ one: StoreFolder.File, _ other: StoreFolder.File) throws {
            let (first, second) = (try Data(contentsOf: one.url), try Data(contentsOf: other.url))
            try second.write(to: one.url)
            try first.write(to: other.url)
        }

        private func expectFound(
            _ damage: Damage, _ object: StoreFolder.File, _ first: Victim, _ second: Victim, _ fleet: Fleet
        ) async throws {
            let alone = try await fleet.run("verify", first.id, "--level", "scrub", "--wait", "--format", "json")
            #expect(alone.status == 1, "\(damage)")
            let failed = try alone.json["failed"].list
            #expect(failed.map(\.["snapshot"].text) == [first.id], "\(damage)")
            #expect(failed.map(\.["object"].text) == [object.object], "\(damage)")
            #expect(failed.allSatisfy { !$0["reason"].text.isEmpty }, "\(damage)")

            let both = try await fleet.run(
                "verify", first.id, second.id, "--level", "scrub", "--wait", "--format", "json")
            #expect(both.status == (damage == .swappedPack ? 1 : 2), "\(damage)")
            let hit = damage == .swappedPack ? [first.id, second.id] : [first.id]
            #expect(try Set(both.json["failed"].list.map(\.["snapshot"].text)) == Set(hit), "\(damage)")
            #expect(try both.json["passed"].number == 2 - hit.count, "\(damage)")

            // The node cannot rebuild it either.
            let rebuilt = try await fleet.run("verify", first.id, "--level", "verify", "--wait", "--format", "json")
            #expect(rebuilt.status == 1, "\(damage)")
            #expect(try rebuilt.json["failed"].list.map(\.["snapshot"].text) == [first.id], "\(damage)")
            let alarms = try await fleet.json("status")["alarms"].list
            #expect(alarms.contains { $0["kind"].text == "damaged" && $0["database"].text == "first" }, "\(damage)")
        }

        private func expectRefused(_ damage: Damage, _ victim: Victim, _ node: Node) async throws {
            let folder = node.fleet.path("refused-\(damage)")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            let arguments = ["restore", victim.id, "--agent-dir", node.directory, "--to", folder + "/shop.db"]
            let plain = try await node.fleet.run(arguments)
            #expect(plain.status == 1, "\(damage)")
            #expect(plain.output == "", "\(damage)")
            #expect(plain.errors.hasPrefix("error: ") && plain.errors.contains("hint: "), "\(damage): \(plain.errors)")
            let json = try await node.fleet.run(arguments + ["--format", "json"])
            #expect(json.status == 1, "\(damage)")
            let id = damage.isOfManifest ? victim.id : victim.pack.id
            #expect(plain.errors.contains(id), "\(damage): \(plain.errors)")
            let failed = try json.json["failed"].list
            #expect(failed.map(\.["snapshot"].text) == [victim.id], "\(damage)")
            #expect(
                failed.allSatisfy { $0["object"].text.contains(damage.isOfManifest ? "manifest" : id) }, "\(damage)")
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(left == [], "\(damage): a refused restore leaves nothing behind")
        }
    }
}
