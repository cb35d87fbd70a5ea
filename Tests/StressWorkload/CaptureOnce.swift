import Glibc
import MusterSQLite

/// Captures the database once and prints `METHOD PAGES BYTES`, or the refusal in one line.
enum CaptureOnce {
    static func run(path: String, options: Options) {
        let user = uid_t(options.number("user", default: Int(getuid())))
        guard user == getuid() || (setgroups(0, nil) == 0 && setgid(user) == 0 && setuid(user) == 0) else {
            print("error: this process may not become user \(user)")
            return
        }
        let started = ContinuousClock().now
        do {
            let capture = try PinnedCapture.begin(path: path, elapsed: { ContinuousClock().now - started })
            let (bytes, pagesAtOnce) = (try readAll(capture), capture.pageCount)
            try capture.finish()
            print("\(capture.method.rawValue) \(pagesAtOnce) \(bytes)")
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
