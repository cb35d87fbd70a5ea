import Glibc
import MusterSQLite

/// Captures the database once and prints `METHOD PAGES BYTES`, or the refusal in one line; with `follow=1` by a
/// follower, which then waits for a line and prints how many commits it saw until then.
enum CaptureOnce {
    static func run(path: String, options: Options) {
        let user = uid_t(options.number("user", default: Int(getuid())))
        guard user == getuid() || (setgroups(0, nil) == 0 && setgid(user) == 0 && setuid(user) == 0) else {
            print("error: this process may not become user \(user)")
            return
        }
        let started = ContinuousClock().now
        if options.number("follow", default: 0) > 0 { return follow(path) { ContinuousClock().now - started } }
        do {
            let capture = try PinnedCapture.begin(path: path, elapsed: { ContinuousClock().now - started })
            let (bytes, pagesAtOnce) = (try readAll(capture), capture.pageCount)
            try capture.finish()
            print("\(capture.method.rawValue) \(pagesAtOnce) \(bytes)")
        } catch {
            print("error: \(error)")
        }
    }

    private static func follow(_ path: String, elapsed: @escaping @Sendable () -> Duration) {
        do {
            var options = FollowOptions()
            options.busyBudget = .milliseconds(200)
            let follower = try Follower.attach(path: path, after: nil, options: options, elapsed: elapsed)
            let pin = try follower.pin()
            let bytes = try readAll(pin.capture)
            try pin.capture.finish()
            print("followed \(pin.capture.pageCount) \(bytes)")
            fflush(nil)
            let before = follower.status.commits
            while readLine() != nil {
                try follower.pin().capture.finish()
                print("\(follower.status.commits - before) \(follower.status.brokenReason ?? "well")")
                fflush(nil)
            }
        } catch {
            print("error: \(error)")
        }
    }

    private static func readAll(_ capture: PinnedCapture) throws -> Int {
        var (buffer, bytes, page): ([UInt8], Int, UInt64) = ([], 0, 1)
        let batch = UInt64((1 << 20) / capture.pageSize)
        while page <= capture.pageCount {
            let count = min(batch, capture.pageCount - page + 1)
            try capture.readPages(page, count: Int(count), into: &buffer)
            bytes += buffer.count
            page += count
        }
        return bytes
    }
}
