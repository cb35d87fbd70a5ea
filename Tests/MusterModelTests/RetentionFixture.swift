import MusterModel
import MusterTestSupport

/// Snapshots and policies written as short texts.
enum RetentionFixture {
    static let lineage = LineageID(from: .seeded(1))
    /// Long after every snapshot here.
    static let now = Timestamp(microseconds: 4_000_000_000_000_000)

    static func snapshots(_ moments: [String], isVerified: Bool = true) throws -> [RetentionSnapshot] {
        let random = RandomSource.seeded(2)
        return try moments.map { moment in
            guard let receivedAt = Timestamp(moment) else { throw Mistake(text: moment) }
            return RetentionSnapshot(
                id: SnapshotID(from: random), lineage: lineage, receivedAt: receivedAt, isVerified: isVerified)
        }
    }

    /// Takes `keep-daily=3 keep-within=7d`, the flags of the command line without their dashes; no minimum age
    /// unless `min-age` is among them.
    static func policy(_ text: String, mode: RetentionPolicy.Mode = .restic) throws -> RetentionPolicy {
        var last: KeepCount?
        var within: CalendarSpan?
        var minimumAge = CalendarSpan()
        var counts: [CalendarUnit: KeepCount] = [:]
        var spans: [CalendarUnit: CalendarSpan] = [:]
        var tags: [LabelFilter] = []
        for part in text.split(separator: " ") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let (flag, value) = (pair[0], pair[1])
            switch flag {
            case "keep-last": last = try KeepCount(parsing: value)
            case "keep-within": within = try CalendarSpan(parsing: value)
            case "keep-tag": tags.append(try LabelFilter(parsing: value))
            case "min-age": minimumAge = try CalendarSpan(parsing: value)
            default:
                if let unit = CalendarUnit.allCases.first(where: { flag == "keep-\($0.adverb)" }) {
                    counts[unit] = try KeepCount(parsing: value)
                } else if let unit = CalendarUnit.allCases.first(where: { flag == "keep-within-\($0.adverb)" }) {
                    spans[unit] = try CalendarSpan(parsing: value)
                } else {
                    throw Mistake(text: flag)
                }
            }
        }
        return try RetentionPolicy(
            mode: mode, keepLast: last, keepNewestOfEach: counts, keepWithin: within, keepNewestOfEachWithin: spans,
            keepTags: tags, minimumAge: minimumAge)
    }

    struct Mistake: Error {
        let text: String
    }
}

extension RetentionDecision {
    var keepReasons: [KeepReason] {
        switch outcome {
        case .kept(let reasons): reasons
        case .expires: []
        }
    }
    var expiryReasons: [ExpiryReason] {
        switch outcome {
        case .kept: []
        case .expires(let reasons): reasons
        }
    }
}

extension [RetentionDecision] {
    /// The moments of what is kept, the oldest first.
    func kept(of snapshots: [RetentionSnapshot]) -> [String] {
        let kept = Set(filter(\.isKept).map(\.snapshot))
        return snapshots.filter { kept.contains($0.id) }.sorted { $0.receivedAt < $1.receivedAt }.map {
            $0.receivedAt.description
        }
    }
}
