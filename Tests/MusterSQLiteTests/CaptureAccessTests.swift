import Foundation
import Glibc
import MusterTestSupport
import StressRig
import Testing

@testable import MusterSQLite

/// The capture runs in a process of its own as user 65534, so these need root.
@Suite("A capture by a user without rights", .enabled(if: getuid() == 0))
struct CaptureAccessTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("app.db")
    }

    private func captureElsewhere(user: Int = 65_534, _ path: String) throws -> String {
        try Workload.start(["capture", path, "user=\(user)"], output: .reader).readToEnd()
    }

    private func application() throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a)")
        return application
    }

    @Test("without permission to read it is refused")
    func withoutPermissionItIsRefused() throws {
        try application().close()
        chmod(path, 0o600)
        #expect(try captureElsewhere(path).hasPrefix("error: no permission to read database '\(path)'\nhint: "))
    }

    @Test("permission to read is enough while the application is there")
    func permissionToReadIsEnough() throws {
        let application = try application()
        #expect(try captureElsewhere(path) == "wal 2 8192\n")
        try application.run("INSERT INTO t VALUES(1)")
    }

    @Test("permission to read is enough for a closed database")
    func permissionToReadIsEnoughWhenClosed() throws {
        try application().close()
        #expect(try captureElsewhere(path) == "closed-file 2 8192\n")
        #expect(sidecars(of: path).isEmpty)
    }

    @Test("a crashed application's WAL is not given a stranger's shared memory", arguments: [true, false])
    func noStrangersSharedMemory(keepsIndex: Bool) throws {
        try application().kill()
        if !keepsIndex { try FileManager.default.removeItem(atPath: path + "-shm") }
        chmod(folder.url.path, 0o777)
        let before = Footprint(path)
        #expect(try captureElsewhere(path).hasPrefix("error: the shared memory file '\(path)-shm' cannot be"))
        #expect(Footprint(path) == before && sidecars(of: path).contains(path + "-shm") == keepsIndex)
    }

    @Test("on a read-only file system a closed database is captured, a crashed one refused", arguments: [true, false])
    func aReadOnlyFileSystem(isClosed: Bool) throws {
        let application = try application()
        if isClosed { try application.close() } else { application.kill() }
        if !isClosed { try FileManager.default.removeItem(atPath: path + "-shm") }
        // Containers may not mount: then there is nothing to see here.
        guard try succeeds("mount", "--bind", folder.url.path, folder.url.path) else { return }
        defer { #expect(throws: Never.self) { try succeeds("umount", "-l", folder.url.path) } }
        guard try succeeds("mount", "-o", "remount,ro,bind", folder.url.path) else { return }
        let answer = try captureElsewhere(user: 0, path)
        #expect(answer.hasPrefix(isClosed ? "closed-file 2 8192" : "error: the shared memory file"), "\(answer)")
    }

    @discardableResult
    private func succeeds(_ program: String, _ arguments: String...) throws -> Bool {
        try ChildProcess.run(program, arguments).status == 0
    }
}
