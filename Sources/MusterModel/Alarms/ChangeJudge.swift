/// What one snapshot changed, as the coordinator sees it without a key.
package struct SeenChange: Hashable, Sendable {
    /// Sealed bytes that it added.
    package var addedBytes: Int64
    /// Of whole extents that it sent: how many bytes they have, plain and sealed.
    package var extentBytes: Int64
    package var extentSealedBytes: Int64
    package var sizeBytes: Int64
    package var sizeBytesBefore: Int64

    package init(
        addedBytes: Int64, extentBytes: Int64, extentSealedBytes: Int64, sizeBytes: Int64, sizeBytesBefore: Int64
    ) {
        (self.addedBytes, self.extentBytes, self.extentSealedBytes) = (addedBytes, extentBytes, extentSealedBytes)
        (self.sizeBytes, self.sizeBytesBefore) = (sizeBytes, sizeBytesBefore)
    }
}

/// What is usual for one database.
package struct ChangeHabits: Hashable, Sendable {
    /// Sealed bytes for each plain one; nil where nothing large enough was seen yet.
    package var ratio: Double?
    /// Bytes that were there before and were lately replaced by what does not compress.
    package var suspectBytes: Double

    package init(ratio: Double? = nil, suspectBytes: Double = 0) {
        (self.ratio, self.suspectBytes) = (ratio, suspectBytes)
    }
}

/// Whether a change looks like what ransomware does.
///
/// - `entropy`: a good part of what was there before was replaced by what does not compress, in a database whose content
///   always did. New content in a file that grows by as much (an import of pictures) is not that, nor is a VACUUM, which
///   writes everything anew as compressible as it was.
/// - `size`: for several snapshots far more was rewritten than ever (an encryption bit by bit), or most of the
///   database is gone. This needs a history: `warmUp` snapshots before the newest eight.
///
/// All has floors, so that small databases and small changes never count. Nothing here is proof: who holds the
/// node's keys can stay below. It stops retention from giving up what was before, until somebody has looked.
package enum ChangeJudge {
    /// Below this a change is never looked at.
    package static let floorBytes: Int64 = 1 << 20
    package static let warmUp = 16
    package static let historyLength = 64
    private static let recentLength = 8
    /// Content that always compressed to less than this, and now to more than that.
    private static let (compressible, incompressible) = (0.8, 0.93)
    /// Of the database; so much of it must be hit.
    private static let suspectShare = 0.25
    private static let memory = 0.85
    private static let (deviantFloor, deviantTimes, deviantCount) = (Double(4 << 20), 10.0, 6)
    private static let (lostShare, lostFloor) = (0.8, Double(16 << 20))

    package struct Past: Hashable, Sendable {
        package let addedBytes: Int64
        package let sizeBytes: Int64

        package init(addedBytes: Int64, sizeBytes: Int64) {
            (self.addedBytes, self.sizeBytes) = (addedBytes, sizeBytes)
        }
    }

    /// - Parameter history: newest first, without this one; asked for only where it matters.
    /// - Returns: what to raise, and why.
    package static func judge(
        _ change: SeenChange, _ habits: inout ChangeHabits, history: () throws -> [Past]
    ) rethrows -> [(kind: AlarmKind, reason: String)] {
        var found: [(AlarmKind, String)] = []
        if let reason = entropy(change, &habits) { found.append((.entropy, reason)) }
        let isLarge = Double(change.addedBytes) >= deviantFloor
        let hasShrunk = Double(change.sizeBytesBefore - change.sizeBytes) >= lostFloor
        if isLarge || hasShrunk, let reason = size(change, habits, try history()) { found.append((.size, reason)) }
        return found
    }

    private static func entropy(_ change: SeenChange, _ habits: inout ChangeHabits) -> String? {
        habits.suspectBytes *= memory
        guard change.extentBytes >= floorBytes else { return nil }
        let ratio = Double(change.extentSealedBytes) / Double(change.extentBytes)
        guard let usual = habits.ratio else {
            habits.ratio = ratio
            return nil
        }
        guard usual < compressible, ratio > incompressible else {
            // What was sent counts by its part of the database: one small blob says little of the whole.
            let weight = min(0.3, Double(change.extentBytes) / Double(max(change.sizeBytes, 1)))
            habits.ratio = usual * (1 - weight) + ratio * weight
            return nil
        }
        let growth = max(0, change.sizeBytes - change.sizeBytesBefore)
        habits.suspectBytes += Double(max(0, change.extentBytes - growth))
        let wanted = max(Double(floorBytes), suspectShare * Double(change.sizeBytesBefore))
        guard habits.suspectBytes >= wanted else { return nil }
        let share = Int(min(100, habits.suspectBytes / Double(max(change.sizeBytesBefore, 1)) * 100))
        return "about \(share) % of it was replaced by what compresses to \(Int(ratio * 100)) % of its size, "
            + "where its content always came to \(Int(usual * 100)) %"
    }

    private static func size(_ change: SeenChange, _ habits: ChangeHabits, _ history: [Past]) -> String? {
        let recent =
            [Past(addedBytes: change.addedBytes, sizeBytes: change.sizeBytes)]
            + history.prefix(recentLength - 1)
        let before = history.dropFirst(recentLength - 1).prefix(historyLength)
        guard before.count >= warmUp else { return nil }
        let usualSize = median(before.map { Double($0.sizeBytes) })
        let lost = usualSize - Double(change.sizeBytes)
        if lost >= lostFloor, lost >= lostShare * usualSize {
            return "its size fell from \(Int(usualSize) >> 20) MiB to \(change.sizeBytes >> 20) MiB"
        }
        let added = before.map { Double($0.addedBytes) }
        let usual = median(added)
        let spread = 1.4826 * median(added.map { abs($0 - usual) })
        let limit = max(deviantFloor, deviantTimes * usual, usual + 8 * spread)
        let deviants = recent.map { Double($0.addedBytes) }.filter { $0 > limit }
        let growth = max(0, Double(change.sizeBytes) - usualSize)
        let whole = (habits.ratio ?? 1) * (Double(change.sizeBytes) + growth)
        guard deviants.count >= deviantCount, deviants.reduce(0, +) >= whole else { return nil }
        return
            "\(deviants.count) of its newest \(recent.count) snapshots added more than \(Int(limit) >> 20) MiB each, "
            + "together as much as all of it; usual are \(Int(usual) >> 10) KiB"
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }
}
