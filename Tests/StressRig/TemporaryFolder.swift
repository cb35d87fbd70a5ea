package import Foundation

/// A folder that goes when the value goes.
package final class TemporaryFolder {
    package let url: URL

    package init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("muster-test-" + UUID().uuidString)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit {
        // What is left behind is in the temporary folder of the system.
        try? FileManager.default.removeItem(at: url)
    }

    package func path(_ name: String) -> String { url.appendingPathComponent(name).path }
}

/// A monotonic reading for tests that do not play with time.
package let steadyClock: @Sendable () -> Duration = {
    let start = ContinuousClock().now
    return { ContinuousClock().now - start }
}()

/// A number from the environment, or `fallback`.
package func environmentNumber(_ name: String, default fallback: Int) -> Int {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? fallback
}
