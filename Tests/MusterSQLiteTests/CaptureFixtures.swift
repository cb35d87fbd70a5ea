import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

/// One page size and one journal mode.
struct Shape: CustomTestStringConvertible, Sendable {
    let pageSize: Int
    let journalMode: String
    var testDescription: String { "\(journalMode), pages of \(pageSize)" }

    static let all = ["wal", "delete", "truncate", "persist", "memory", "off"].flatMap { mode in
        [512, 1024, 4096, 65_536].map { Shape(pageSize: $0, journalMode: mode) }
    }
}

/// What must be the same before and after a capture.
struct Footprint: Equatable {
    private let files: [String: [UInt8]]
    private let modified: [String: Int64]

    /// The database and its `-wal`; `-shm` is shared memory where read marks come and go.
    init(_ path: String) {
        var (files, modified): ([String: [UInt8]], [String: Int64]) = ([:], [:])
        for name in [path, path + "-wal", path + "-journal"] {
            guard let content = FileManager.default.contents(atPath: name) else { continue }
            files[name] = [UInt8](content)
            modified[name] = FileState(path: name)?.modifiedNanoseconds
        }
        (self.files, self.modified) = (files, modified)
    }
}

/// Reads all pages, finishes, and gives the image.
func wholeImage(_ capture: PinnedCapture, pagesAtOnce: Int = 7) throws -> [UInt8] {
    var image: [UInt8] = []
    var page: UInt64 = 1
    while page <= capture.pageCount {
        let count = Int(min(UInt64(pagesAtOnce), capture.pageCount - page + 1))
        image += try capture.readPages(page, count: count)
        page += UInt64(count)
    }
    return image
}

func pinned(_ path: String, _ options: CaptureOptions = CaptureOptions()) throws -> PinnedCapture {
    try PinnedCapture.begin(path: path, options: options, elapsed: steadyClock)
}

/// The error of a capture that must not succeed.
func refusal(_ path: String, _ options: CaptureOptions = CaptureOptions()) throws -> CaptureError {
    do {
        let capture = try pinned(path, options)
        _ = try wholeImage(capture)
        try capture.finish()
    } catch let error as CaptureError { return error }
    throw BrokenInvariant(reason: "it was captured")
}

func problems(of image: [UInt8], in folder: TemporaryFolder) throws -> [String] {
    let path = folder.path("image-\(UUID().uuidString).db")
    try Data(image).write(to: URL(fileURLWithPath: path))
    return try DatabaseImage(path: path).integrityCheck()
}

func sidecars(of path: String) -> [String] {
    [path + "-wal", path + "-shm", path + "-journal"].filter { FileManager.default.fileExists(atPath: $0) }
}

/// Stores another version of the wal-index in both copies of its header, with a right checksum.
func storeVersion(_ version: UInt32, in path: String) throws {
    var words = [UInt32](repeating: 0, count: 12)
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    let old = try #require(try file.read(upToCount: 48))
    words.withUnsafeMutableBytes { $0.copyBytes(from: old) }
    words[0] = version
    var (first, second): (UInt32, UInt32) = (0, 0)
    for index in stride(from: 0, to: 10, by: 2) {
        first = first &+ words[index] &+ second
        second = second &+ words[index + 1] &+ first
    }
    (words[10], words[11]) = (first, second)
    let header = words.withUnsafeBytes { Data($0) }
    try file.seek(toOffset: 0)
    try file.write(contentsOf: header + header)
    try file.close()
}
