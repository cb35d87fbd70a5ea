import MusterModel
import Synchronization

/// Tells two agents that run with one identity apart, as happens where a machine or a directory was copied.
///
/// An agent draws a new life at each start, so a life that was followed by another one has ended. One that is heard of
/// again has not: two agents take turns. Once may be a request that was late on its way; twice is no chance.
///
/// In memory only: after a restart of the coordinator both are soon heard of again.
final class TwinBook: Sendable {
    /// What an agent says of itself with a request, and where that came from.
    struct Sight: Hashable, Sendable {
        var life: String
        /// The hash of the machine's id; "" where it is not known.
        var machine: String
        var address: String
        var version: String

        init(life: String, machine: String, address: String, version: String) {
            self.life = life
            let isHash = machine.utf8.count <= 64 && machine.utf8.allSatisfy("0123456789abcdef".utf8.contains)
            self.machine = isHash ? machine : ""
            (self.address, self.version) = (address, version.cut(64))
        }
    }

    /// Polls and reports of one agent have lives of their own.
    enum Series: Hashable, Sendable { case polls, reports }

    private struct Key: Hashable {
        let node: NodeID
        let series: Series
    }

    private struct Standing {
        var newest: Sight
        /// Those that another one followed, the last ones.
        var followed: [Sight] = []
        var returns = 0
        var returnedAt: Timestamp?
        var toldAt: Timestamp?
    }

    private static let keptLives = 4
    private static let returnsThatTell = 2
    /// Turns further apart are not of two agents that both run.
    private static let memory = Duration.seconds(3600)
    private static let tellingPeriod = Duration.seconds(600)

    private let standings = Mutex<[Key: Standing]>([:])

    /// - Returns: the two agents, where it is certain that they are two and was not said a moment ago.
    func see(_ sight: Sight, of node: NodeID, in series: Series, now: Timestamp) -> (Sight, Sight)? {
        standings.withLock { standings in
            let key = Key(node: node, series: series)
            guard var standing = standings[key] else {
                standings[key] = Standing(newest: sight)
                return nil
            }
            defer { standings[key] = standing }
            guard standing.newest.life != sight.life else {
                standing.newest = sight
                return nil
            }
            let other = standing.newest
            let isBack = standing.followed.contains { $0.life == sight.life }
            standing.followed.removeAll { $0.life == sight.life }
            standing.followed = (standing.followed + [other]).suffix(Self.keptLives)
            standing.newest = sight
            guard isBack else { return nil }
            if let last = standing.returnedAt, last <= now, now - last > Self.memory { standing.returns = 0 }
            standing.returns += 1
            standing.returnedAt = now
            guard standing.returns >= Self.returnsThatTell else { return nil }
            if let told = standing.toldAt, told <= now, now - told < Self.tellingPeriod { return nil }
            standing.toldAt = now
            return sight.life < other.life ? (sight, other) : (other, sight)
        }
    }

    /// What is known of the node is no reason to tell any more.
    func forget(_ node: NodeID) {
        standings.withLock { standings in
            for series in [Series.polls, .reports] { standings[Key(node: node, series: series)] = nil }
        }
    }
}
