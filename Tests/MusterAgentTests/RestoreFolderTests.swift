import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("An ordered restore goes where the owner allowed it")
struct RestoreFolderTests {
    private let directory: TemporaryDirectory
    private let allowed: String
    private let forbidden: String

    init() throws {
        directory = try TemporaryDirectory()
        (allowed, forbidden) = (directory.file("allowed"), directory.file("forbidden"))
        for folder in [allowed, forbidden] {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        }
    }

    private func write(_ target: String, allowed: [String]? = nil) throws {
        let folder = try RestoreFolder(for: target, allowed: allowed ?? [self.allowed])
        defer { folder.leave() }
        try Data("x".utf8).write(to: URL(filePath: folder.target))
    }

    @Test func belowTheOwnersFolderFoldersAreMade() throws {
        for path in ["/shop.db", "/berlin/shop.db", "/a/b/c/shop.db"] {
            try write(allowed + path)
            #expect(FileManager.default.fileExists(atPath: allowed + path), "\(path)")
        }
        let mode = try FileManager.default.attributesOfItem(atPath: allowed + "/a/b")[.posixPermissions] as? Int
        #expect(mode == 0o700)
    }

    @Test func aSlashAtItsEndMakesNoDifference() throws {
        try write(allowed + "/shop.db", allowed: [allowed + "//"])
        #expect(FileManager.default.fileExists(atPath: allowed + "/shop.db"))
    }

    @Test func byDefaultThereIsNowhere() throws {
        #expect(throws: RestoreNotAllowed.self) { try write(allowed + "/shop.db", allowed: []) }
    }

    @Test(arguments: [
        "", "/", "/../forbidden/x.db", "/./x.db", "//x.db", "/a/", "/a/../../forbidden/x.db", "/..", "/.",
        "-beside/x.db", "/x.db-wal", "/x.db-shm", "/x.db-journal",
    ])
    func whatIsNoPlainPathBelowItIsRefused(path: String) throws {
        #expect(throws: RestoreNotAllowed.self) { try write(allowed + path) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: forbidden).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: allowed).isEmpty)
    }

    @Test func noLinkOnTheWayIsFollowed() throws {
        try FileManager.default.createSymbolicLink(atPath: allowed + "/out", withDestinationPath: forbidden)
        for path in ["/out/x.db", "/out/deep/x.db"] {
            #expect(throws: RestoreNotAllowed.self) { try write(allowed + path) }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: forbidden).isEmpty)
    }

    /// Once walked, the folder is held: what comes to stand under its name later is not written to.
    @Test func aLinkThatIsPutThereLaterLeadsNowhere() throws {
        let folder = try RestoreFolder(for: allowed + "/berlin/shop.db", allowed: [allowed])
        defer { folder.leave() }
        try FileManager.default.moveItem(atPath: allowed + "/berlin", toPath: allowed + "/moved")
        try FileManager.default.createSymbolicLink(atPath: allowed + "/berlin", withDestinationPath: forbidden)
        try Data("x".utf8).write(to: URL(filePath: folder.target))
        #expect(try FileManager.default.contentsOfDirectory(atPath: forbidden).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: allowed + "/moved") == ["shop.db"])
    }

    @Test func theOwnersOwnLinkIsTheOwnersWord() throws {
        let link = directory.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: allowed)
        try write(link + "/shop.db", allowed: [link])
        #expect(FileManager.default.fileExists(atPath: allowed + "/shop.db"))
    }

    @Test func ofTwoFoldersTheInnerOneCounts() throws {
        // The outer one may hold a link that its owner allowed by naming what it leads to.
        try FileManager.default.createSymbolicLink(atPath: allowed + "/link", withDestinationPath: forbidden)
        try write(allowed + "/link/shop.db", allowed: [allowed, allowed + "/link"])
        #expect(FileManager.default.fileExists(atPath: forbidden + "/shop.db"))
    }

    @Test func aFileIsNoFolder() throws {
        try Data().write(to: URL(filePath: allowed + "/file"))
        #expect(throws: RestoreNotAllowed.self) { try write(allowed + "/file/x.db") }
        #expect(throws: RestoreNotAllowed.self) {
            try write(directory.file("absent/x.db"), allowed: [directory.file("absent")])
        }
    }
}
