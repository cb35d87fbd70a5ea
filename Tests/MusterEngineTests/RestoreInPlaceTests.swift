import Foundation
import MusterEngine
import MusterTestSupport
import Testing

@Suite("Restoring to where a database was")
struct RestoreInPlaceTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func write(_ text: String, to name: String) throws {
        try Data(text.utf8).write(to: URL(filePath: folder.file(name)))
    }

    private func read(_ name: String) throws -> String {
        try String(contentsOfFile: folder.file(name), encoding: .utf8)
    }

    /// SQLite finds a WAL by the name of its database: apart, what was only in the WAL would be gone.
    @Test func whatStoodThereIsKeptTogetherUnderOneName() throws {
        // The first name is taken, if only by a sidecar.
        try write("older", to: "shop.db.before-restore-wal")
        for (name, text) in [("shop.db", "old"), ("shop.db-wal", "its wal"), ("built", "new")] {
            try write(text, to: name)
        }
        let kept = try RestoreInPlace(target: folder.file("shop.db")).replace(with: folder.file("built"))
        #expect(kept.map { URL(filePath: $0).lastPathComponent } == "shop.db.before-restore-2")
        #expect(try read("shop.db") == "new")
        #expect(try read("shop.db.before-restore-2") == "old" && read("shop.db.before-restore-2-wal") == "its wal")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.file("")).sorted()
        #expect(
            names == [
                "shop.db", "shop.db.before-restore-2", "shop.db.before-restore-2-wal", "shop.db.before-restore-wal",
            ])
    }

    @Test func aLinkIsFollowedToWhatItLeadsTo() throws {
        try write("old", to: "real.db")
        try write("new", to: "built")
        try FileManager.default.createSymbolicLink(atPath: folder.file("link.db"), withDestinationPath: "real.db")
        let kept = try RestoreInPlace(target: folder.file("link.db")).replace(with: folder.file("built"))
        #expect(kept.map { URL(filePath: $0).lastPathComponent } == "real.db.before-restore")
        #expect(try read("real.db") == "new" && read("link.db") == "new")
    }

    @Test func whereNothingStoodNothingIsKept() throws {
        try write("new", to: "built")
        #expect(try RestoreInPlace(target: folder.file("shop.db")).replace(with: folder.file("built")) == nil)
        #expect(try read("shop.db") == "new")
    }
}
