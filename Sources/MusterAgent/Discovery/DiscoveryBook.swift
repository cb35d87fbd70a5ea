import MusterModel

/// The databases that patterns have found: a value that touches no file and no clock.
///
/// A database is its path. One whose file goes stays as vanished and is the same
/// again when the path is back; one that is moved is a new one.
struct DiscoveryBook {
    /// Vanished ones beyond that are forgotten, the longest gone first.
    static let mostVanished = 4_000

    private(set) var rows: [FilePath: DiscoveredDatabase] = [:]
    /// Files that are there, so far as is known.
    private(set) var present: Set<FilePath> = []
    private var pathOfName: [String: FilePath] = [:]
    /// The first pattern that covers each; a row without one is kept for the day when it has one again.
    private var patternOf: [FilePath: Int] = [:]
    private var configuration: AgentConfiguration
    /// Paths and names of databases that the configuration names one by one: those come first.
    private var ownPaths: Set<FilePath> = []
    private var ownNames: Set<String> = []

    /// What a step changed.
    struct Changes {
        var rows: [DiscoveredDatabase] = []
        var forgotten: [DatabaseID] = []

        var isEmpty: Bool { rows.isEmpty && forgotten.isEmpty }
    }

    init(_ rows: [DiscoveredDatabase], _ configuration: AgentConfiguration) {
        self.configuration = configuration
        for row in rows {
            let path = FilePath(row.path)
            put(row, path)
            pathOfName[row.name] = path
        }
    }

    private mutating func put(_ row: DiscoveredDatabase, _ path: FilePath) {
        rows[path] = row
        if row.vanishedAt == nil { present.insert(path) } else { present.remove(path) }
    }

    // MARK: - The board's side

    /// All databases of the node: those of the configuration, and those that its patterns cover.
    var databases: [ProtectedDatabase] {
        configuration.databases + rows.keys.sorted().compactMap { rows[$0].flatMap(database) }
    }

    /// - Returns: nil where nothing asks for its protection now.
    func database(_ row: DiscoveredDatabase) -> ProtectedDatabase? {
        let path = FilePath(row.path)
        guard let index = patternOf[path], !ownPaths.contains(path) else { return nil }
        let pattern = configuration.patterns[index]
        return ProtectedDatabase(
            id: row.id, name: row.name, path: row.path, schedule: pattern.schedule, isPaused: pattern.isPaused(path),
            vanishedAt: row.vanishedAt, expectations: pattern.expectations)
    }

    // MARK: - Steps

    /// - Returns: rows that gave their names to databases of the configuration.
    mutating func use(_ configuration: AgentConfiguration) -> Changes {
        self.configuration = configuration
        ownPaths = Set(configuration.databases.map { FilePath($0.path) })
        ownNames = Set(configuration.databases.map(\.name))
        patternOf = [:]
        var changes = Changes()
        for (path, row) in rows {
            patternOf[path] = configuration.patterns.firstIndex { $0.covers(row.path) }
            if ownNames.contains(row.name) { changes.rows.append(rename(row)) }
        }
        return changes
    }

    /// Takes over what a sweep saw.
    ///
    /// - Parameter missing: files of the book that are not there any more.
    mutating func take(
        found: [FilePath: Int], missing: Set<FilePath>, now: Timestamp, random: RandomSource
    ) -> Changes {
        var changes = Changes()
        for (path, pattern) in found { patternOf[path] = pattern }
        for (path, pattern) in found.filter({ !present.contains($0.key) }).sorted(by: { $0.key < $1.key }) {
            if var row = rows[path] {
                row.vanishedAt = nil
                put(row, path)
                changes.rows.append(row)
            } else {
                changes.rows.append(add(path, configuration.patterns[pattern], now: now, random: random))
            }
        }
        for path in missing.sorted() {
            guard var row = rows[path], row.vanishedAt == nil else { continue }
            row.vanishedAt = now
            put(row, path)
            changes.rows.append(row)
        }
        changes.forgotten = forgetLongestGone()
        return changes
    }

    private mutating func add(
        _ path: FilePath, _ pattern: DatabasePattern, now: Timestamp, random: RandomSource
    ) -> DiscoveredDatabase {
        let id = DatabaseID(from: random)
        let name = freeName(for: path.description, below: pattern.pattern.fixedFolder, id)
        let row = DiscoveredDatabase(id: id, path: path.description, name: name, foundAt: now, vanishedAt: nil)
        put(row, path)
        pathOfName[name] = path
        return row
    }

    private mutating func rename(_ row: DiscoveredDatabase) -> DiscoveredDatabase {
        let path = FilePath(row.path)
        let folder = patternOf[path].map { configuration.patterns[$0].pattern.fixedFolder } ?? "/"
        var renamed = row
        renamed.name = freeName(for: row.path, below: folder, row.id)
        pathOfName[row.name] = nil
        pathOfName[renamed.name] = path
        put(renamed, path)
        return renamed
    }

    private mutating func forgetLongestGone() -> [DatabaseID] {
        guard rows.count > Self.mostVanished else { return [] }
        let vanished = rows.values.filter { $0.vanishedAt != nil }
        guard vanished.count > Self.mostVanished else { return [] }
        let byTime = vanished.sorted { ($0.vanishedAt ?? $0.foundAt, $0.id) < ($1.vanishedAt ?? $1.foundAt, $1.id) }
        return byTime.prefix(vanished.count - Self.mostVanished).map { row in
            rows[FilePath(row.path)] = nil
            patternOf[FilePath(row.path)] = nil
            pathOfName[row.name] = nil
            return row.id
        }
    }

    // MARK: - Names

    /// The coordinator takes names of up to 255 bytes.
    private static let longestName = 255

    /// The path below the fixed folder, with more of the path before it where that is taken.
    private func freeName(for path: String, below folder: String, _ id: DatabaseID) -> String {
        let names = path.split(separator: "/")
        let depth = folder.split(separator: "/").count
        for start in stride(from: min(depth, names.count - 1), through: 0, by: -1) {
            let name = names[start...].joined(separator: "/")
            if name.utf8.count <= Self.longestName, isFree(name) { return name }
        }
        // Too long, or taken by names that were chosen for that: the end of the path tells most.
        let suffix = " " + String(id.description.prefix(8))
        var end = Substring(path)
        while end.utf8.count + suffix.utf8.count > Self.longestName { end.removeFirst() }
        return end + suffix
    }

    private func isFree(_ name: String) -> Bool { pathOfName[name] == nil && !ownNames.contains(name) }
}
