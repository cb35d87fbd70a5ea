import MusterModel
import MusterTestSupport
import Testing

@testable import MusterStore

@Suite("Object names")
struct ObjectNameTests {
    @Test(arguments: ["format.json", "packs/ab/cd.ef", "a", "a/b/c/d/e/f/g/h", "A-Z_0.9"])
    func plainNamesAreAccepted(text: String) {
        #expect(ObjectName(text)?.description == text)
    }

    @Test(arguments: [
        "", "/", "/etc/passwd", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/.", "a/.hidden", ".a", "a b",
        "a\nb",
        "a\u{0}b", "ä", "a\\b", "a:b", "incoming/a", "incoming", "a/b/c/d/e/f/g/h/i", "~/a", "%2e%2e/a",
        String(repeating: "a", count: 201),
        String(repeating: "abcdefg/", count: 7) + String(repeating: "a", count: 500),
    ])
    func namesThatTryToEscapeAreRefused(text: String) {
        #expect(ObjectName(text) == nil)
    }

    static let items: [StoredItem] = {
        let random = RandomSource.seeded(3)
        let place = SnapshotPlace(
            database: DatabaseID(from: random), lineage: LineageID(from: random), sequence: .max,
            snapshot: SnapshotID(from: random))
        let generation = Generation(from: random)
        let pack = PackID(bytes: random.bytes(32)).map { StoredItem.pack($0, generation) }
        return [
            .format, .manifest(place, generation), .receipt(place, generation),
            .nodeKeys(NodeID(from: random), epoch: 12, generation), .coordinatorRecord(.receiptKey, generation),
            .coordinatorEpoch(7), .coordinatorState(epoch: 7, number: 12), .catalogBackup(epoch: 7, number: 12),
        ] + (pack.map { [$0] } ?? []) + (PackID(bytes: random.bytes(32)).map { [.catalogPack($0, generation)] } ?? [])
    }()

    @Test(arguments: items)
    func aNameTellsWhatItNames(item: StoredItem) throws {
        #expect(StoredItem(item.name) == item)
        #expect(ObjectName(item.name.description) == item.name)
    }

    @Test func theLayoutIsTheOneOfTheFormat() throws {
        let id = { (digit: String) in String(repeating: digit, count: 32) }
        let generation = try #require(Generation("0123456789abcdef"))
        let place = SnapshotPlace(
            database: try #require(DatabaseID(id("d"))), lineage: try #require(LineageID(id("e"))), sequence: 42,
            snapshot: try #require(SnapshotID(id("f"))))
        let pack = try #require(PackID(id("a") + id("b")))
        let tail = "\(id("d"))/\(id("e"))/00000000000000000042-\(id("f")).0123456789abcdef"
        #expect(ObjectName.pack(pack, generation).description == "packs/aa/\(id("a"))\(id("b")).0123456789abcdef")
        #expect(ObjectName.manifest(place, generation).description == "manifests/\(tail)")
        #expect(ObjectName.receipt(place, generation).description == "receipts/\(tail)")
        #expect(
            ObjectName.nodeKeys(try #require(NodeID(id("c"))), epoch: 3, generation).description
                == "nodes/\(id("c"))/keys-3.0123456789abcdef")
        #expect(
            ObjectName.coordinatorRecord(.authorityKey, generation).description
                == "coordinator/authority-key.0123456789abcdef")
        #expect(ObjectName.coordinatorEpoch(9).description == "coordinator/epoch/00000000000000000009")
        #expect(
            ObjectName.coordinatorState(epoch: 9, number: 10).description
                == "coordinator/state/00000000000000000009-00000000000000000010")
        #expect(
            ObjectName.catalogBackup(epoch: 9, number: 10).description
                == "catalog/backups/00000000000000000009-00000000000000000010")
        #expect(
            ObjectName.catalogPack(pack, generation).description
                == "catalog/packs/\(id("a"))\(id("b")).0123456789abcdef")
    }

    @Test(arguments: [
        "packs/ab/cd.0123456789abcdef", "packs/format.json", "manifests/a/b/c.0123456789abcdef", "nodes/x/keys-1.0",
        "coordinator/epoch/9", "coordinator/epoch/00000000000000000009.0123456789abcdef",
        "coordinator/x.0123456789abcdef", "coordinator/state/9-10", "catalog/backups/9",
        "coordinator/state/00000000000000000009-00000000000000000010.0123456789abcdef",
        "other",
    ])
    func aNameOutsideTheLayoutIsNothing(text: String) throws {
        #expect(StoredItem(try #require(ObjectName(text))) == nil)
    }
}
