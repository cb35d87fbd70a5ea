package import Foundation

/// A folder of a test's own, removed with all it holds when the last reference goes.
package final class TemporaryDirectory: Sendable {
    package let url: URL

    package init() throws {
        let parent = FileManager.default.temporaryDirectory
        url = parent.appending(path: "muster-test-\(UUID().uuidString)", directoryHint: .isDirectory)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    }

    deinit {
        // What cannot be removed is litter in the temporary folder and no fault of the code under test.
        try? FileManager.default.removeItem(at: url)
    }

    package var path: String { url.path(percentEncoded: false) }

    /// - Returns: the path of `name` in this folder.
    package func file(_ name: String) -> String { url.appending(path: name).path(percentEncoded: false) }
}
