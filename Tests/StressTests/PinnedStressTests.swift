import Foundation
import MusterSQLite
import StressRig
import Testing

/// The short form takes 60 captures; `MUSTER_STRESS_CAPTURES=500` and `MUSTER_STRESS_SEED=n` ask for more or others.
@Suite("Pinned capture under stress", .serialized)
struct PinnedStressTests {
    static let captures = environmentNumber("MUSTER_STRESS_CAPTURES", default: 60)
    static let seed = environmentNumber("MUSTER_STRESS_SEED", default: Int.random(in: 1...1_000_000))

    struct Run: CustomTestStringConvertible, Sendable {
        let pageSize: Int
        let journalMode: String
        let share: Int
        var pauseMicroseconds = 3000
        var testDescription: String { "\(journalMode), pages of \(pageSize)" }
    }

    static let runs = [
        // Writers without a pause commit between almost any two steps of a capture.
        Run(pageSize: 512, journalMode: "wal", share: 3, pauseMicroseconds: 0),
        Run(pageSize: 4096, journalMode: "wal", share: 3),
        Run(pageSize: 65_536, journalMode: "wal", share: 3), Run(pageSize: 4096, journalMode: "delete", share: 6),
    ]

    @Test("every image is one committed state and equals SQLite's own", arguments: runs)
    func everyImageIsOneCommittedState(run: Run) throws {
        var settings = StressRig.Settings()
        settings.pageSize = run.pageSize
        settings.journalMode = run.journalMode
        settings.seed = Self.seed
        settings.writerPauseMicroseconds = run.pauseMicroseconds
        settings.autoVacuum = Self.seed % 3
        settings.rows = run.pageSize == 512 ? 1000 : 3000
        print("stress: \(run.testDescription), seed \(settings.seed)")
        let folder = try TemporaryFolder()
        let rig = try StressRig(folder: folder.url, settings: settings)
        try rig.awaitCommits(50)

        var previous: Int64 = 0
        var overlaid = 0
        for capture in 0..<max(1, Self.captures / run.share) {
            let committed = try rig.committedSequence()
            let image = try Image.capture(rig.path, to: folder.path("image.db"))
            let sequence = try Invariant.check(try DatabaseImage(path: folder.path("image.db")))
            #expect(image.isEqualToReference, "capture \(capture), seed \(settings.seed)")
            #expect(sequence >= committed && sequence >= previous, "capture \(capture), seed \(settings.seed)")
            previous = sequence
            overlaid += image.method == .wal ? 1 : 0
            try rig.awaitCommits(Int64(capture % 7) * 5)
        }
        let counts = try rig.counts()
        print("stress: \(run.testDescription), seed \(settings.seed): \(counts)")
        #expect(counts.commits > 0 && counts.checkpoints > 0)
        #expect(run.journalMode != "wal" || overlaid > 0)
        rig.stop()
    }

    @Test("the naive way makes bad copies in the same rig")
    func theNaiveWayMakesBadCopies() throws {
        var settings = StressRig.Settings()
        settings.seed = Self.seed
        settings.rows = 20_000
        print("stress: naive, seed \(settings.seed)")
        let folder = try TemporaryFolder()
        let rig = try StressRig(folder: folder.url, settings: settings)
        try rig.awaitCommits(50)
        let copy = folder.path("copy.db")
        var (tries, bad): (Int, [String]) = (0, [])
        while tries < 300, bad.count < 3 {
            tries += 1
            let committed = try rig.committedSequence()
            try naiveCopy(of: rig.path, to: copy)
            do {
                let sequence = try Invariant.check(try DatabaseImage(path: copy))
                if sequence < committed { bad.append("\(committed - sequence) commits lost") }
            } catch { bad.append("\(error)") }
        }
        print("stress: naive, seed \(settings.seed): \(bad.count) of \(tries) bad: \(bad)")
        #expect(!bad.isEmpty, "the rig does not see what it is for")
        rig.stop()
    }

    /// What many scripts do: it does not look at the checkpoint's "busy", and copies while others write.
    private func naiveCopy(of path: String, to copy: String) throws {
        do {
            let connection = try SQLiteConnection(path: path, access: .readWrite)
            _ = try connection.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        }
        try Data(contentsOf: URL(fileURLWithPath: path)).write(to: URL(fileURLWithPath: copy))
    }
}

private struct Image {
    let method: PinnedCapture.Method
    let isEqualToReference: Bool

    /// Captures into a file; a transient refusal is tried again, as the agent does.
    static func capture(_ path: String, to target: String) throws -> Image {
        var options = CaptureOptions()
        options.busyBudget = .seconds(30)
        for _ in 0..<20 {
            do { return try captureOnce(path, to: target, options) } catch let error as CaptureError
                where error.isTransient
            {
                print("stress: tried again: \(error.summary)")
            }
        }
        throw BrokenInvariant(reason: "no capture in 20 tries")
    }

    private static func captureOnce(_ path: String, to target: String, _ options: CaptureOptions) throws -> Image {
        let capture = try PinnedCapture.begin(path: path, options: options, elapsed: steadyClock)
        var image = Data()
        var page: UInt64 = 1
        while page <= capture.pageCount {
            let count = min(UInt64(max(1, (1 << 18) / capture.pageSize)), capture.pageCount - page + 1)
            image += try capture.readPages(page, count: Int(count))
            page += count
        }
        let reference = try capture.referenceImage()
        try capture.finish()
        try image.write(to: URL(fileURLWithPath: target))
        return Image(method: capture.method, isEqualToReference: reference.map { Data($0) == image } ?? false)
    }
}
