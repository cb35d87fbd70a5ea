import Foundation
import Glibc
import MusterModel
import MusterTestSupport
import Testing

@Suite("Programs that tests run", .timeLimit(.minutes(10)))
struct ChildProcessTests {
    @Test func itEndsAsItSaysAndPrintsWhatItPrints() throws {
        let ending = try ChildProcess.run("sh", ["-c", "echo out; echo err >&2; exit 3"])
        #expect(ending.status == 3)
        #expect(ending.output == "out\nerr\n")
        #expect(try ChildProcess.run("sh", ["-c", "kill -9 $$"]).status == 128 + SIGKILL)
    }

    @Test func itTakesLinesAndAnswersThem() throws {
        let child = try ChildProcess("cat", [], takesInput: true, output: .reader)
        for line in ["one", "", "three"] {
            try child.write(line + "\n")
            #expect(try child.readLine() == line)
        }
        child.kill()
        #expect(child.status == 128 + SIGKILL)
        #expect(try child.readLine() == nil)
        #expect(throws: ChildProcess.Failure.self) { try child.write("nobody hears this\n") }
    }

    @Test func aWaitHasALimitAndNamesTheCommand() throws {
        let child = try ChildProcess("sh", ["-c", "printf half; exec cat"], takesInput: true, output: .reader)
        for wait in [{ _ = try child.readLine(within: .milliseconds(50)) }, { _ = try child.end(within: .zero) }] {
            let failure = #expect(throws: ChildProcess.Failure.self) { try wait() }
            #expect(failure?.command == "sh -c printf half; exec cat")
        }
    }

    @Test func aProgramThatIsNotThereIsNamed() {
        let failure = #expect(throws: ChildProcess.Failure.self) { try ChildProcess("no-such-program", []) }
        #expect(failure?.description == "no-such-program: not started: No such file or directory")
    }

    @Test func itIsGoneWithItsObject() throws {
        var child: ChildProcess? = try ChildProcess(
            "sh", ["-c", "echo $$; exec cat"], takesInput: true, output: .reader)
        let number = try #require(try child?.readLine().flatMap { pid_t($0) })
        #expect(kill(number, 0) == 0)
        child = nil
        #expect(kill(number, 0) == -1)
    }

    @Test func itInheritsNothing() throws {
        let descriptor = open("/dev/null", O_RDONLY)
        defer { close(descriptor) }
        try #require(descriptor > 2)
        let output = try ChildProcess.run("sh", ["-c", "ls /proc/$$/fd"]).output
        #expect(output.split(separator: "\n").compactMap { Int32($0) }.filter { $0 <= 2 } == [0, 1, 2])
        #expect(!output.split(separator: "\n").contains("\(descriptor)"))
    }

    @Test func whatThisProcessBlocksOrIgnoresItDoesNot() throws {
        var (blocked, before) = (sigset_t(), sigset_t())
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGUSR1)
        try #require(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0)
        let action = signal(SIGUSR2, SIG_IGN)
        defer {
            signal(SIGUSR2, action)
            pthread_sigmask(SIG_SETMASK, &before, nil)
        }
        let output = try ChildProcess.run("grep", ["-hE", "^Sig(Blk|Ign)", "/proc/self/status"]).output
        let masks = output.split(whereSeparator: \.isWhitespace).compactMap { UInt64($0, radix: 16) }
        // Bits 31 and up are those of glibc's own signals.
        #expect(masks.map { $0 & 0x7FFF_FFFF } == [0, 0], "\(output)")
    }

    /// Foundation's `Process` fails this: its wait goes on until the strangers end.
    @Test func noWaitIsForAStrangerThatStartsAtTheSameTime() async throws {
        let pool = BlockingPool(label: "child processes", width: 2)
        async let strangers = pool.run {
            try (0..<150).map { _ in Kept(child: try ChildProcess("cat", [], takesInput: true, output: .reader)) }
        }
        let statuses = try await pool.run {
            try (0..<150).map { _ in try ChildProcess.run("true", [], within: .seconds(20)).status }
        }
        #expect(statuses == [Int32](repeating: 0, count: 150))
        for stranger in try await strangers { #expect(stranger.child.isRunning) }
    }

    /// `@unchecked Sendable`: made by one thread, then used by another alone.
    private struct Kept: @unchecked Sendable {
        let child: ChildProcess
    }
}
