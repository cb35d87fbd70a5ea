/// How long who moves bytes waits, so that over time no more than a rate is moved.
///
/// What was not used is not saved: after a rest one piece begins at once, whatever its size, and the next waits for it.
package struct BytePace: Sendable {
    private let bytesPerSecond: Int
    private var nextFree = Duration.zero
    private var latest = Duration.zero

    /// - Parameter bytesPerSecond: 0 waits for nothing.
    package init(bytesPerSecond: Int) { self.bytesPerSecond = bytesPerSecond }

    /// - Parameter now: of a clock that may be set back.
    /// - Returns: how long to wait before so many bytes may be moved; those who ask after that wait for them too.
    package mutating func reserve(_ byteCount: Double, at now: Duration) -> Duration {
        guard bytesPerSecond > 0 else { return .zero }
        // A clock that was set back takes what is reserved with it: it must not stop anybody.
        if now < latest { nextFree -= latest - now }
        let begin = max(nextFree, now)
        (nextFree, latest) = (begin + .seconds(byteCount / Double(bytesPerSecond)), now)
        return begin - now
    }
}
