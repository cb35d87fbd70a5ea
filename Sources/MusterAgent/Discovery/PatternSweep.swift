import Glibc
import MusterSQLite

/// One walk through the folders of all patterns. Blocks; give it a thread that may.
///
/// Symbolic links below a pattern's fixed folder are not followed: a file
/// would be found twice, or a loop never end, or whoever may make a link would
/// choose what the agent reads. What it visits is bounded, and it says where it
/// stopped.
struct PatternSweep {
    struct Limits: Sendable {
        var files = 15_000
        var entries = 5_000_000
    }

    /// What a walk found, and what it could not see.
    struct Outcome: Sendable {
        /// Every database, with the pattern that it belongs to: the first that covers it.
        var found: [FilePath: Int] = [:]
        /// Files that match and are no databases yet, as they were when that was found out.
        var candidates: [FilePath: FileStatus] = [:]
        /// Known ones whose file is gone.
        var missing: Set<FilePath> = []
        /// Every folder whose entries matter.
        var folders: Set<String> = []
        /// Folders that could not be read, with the reason: what is in them is not known to be gone.
        var unreadable: [(folder: String, reason: String)] = []
        /// Which limit ended it before its time.
        var limitHit: String?
        /// False where only some names were looked at.
        var isFull = false
        var duration = Duration.zero
    }

    private let patterns: [DatabasePattern]
    /// Folders of Muster's own.
    private let excluded: Set<String>
    private let limits: Limits
    /// Databases that need no second look.
    private let known: Set<FilePath>
    /// Folders that known databases may be in.
    private let knownFolders: Set<String>
    private let oldCandidates: [FilePath: FileStatus]
    private let shouldStop: () -> Bool
    /// Told of each folder before it is read, so that no change of it is missed afterwards.
    private let willRead: (String) -> Void
    private(set) var outcome = Outcome()
    private var entries = 0

    init(
        patterns: [DatabasePattern], excluded: Set<String>, limits: Limits = Limits(), known: Set<FilePath> = [],
        knownFolders: Set<String> = [], candidates: [FilePath: FileStatus] = [:],
        willRead: @escaping (String) -> Void = { _ in }, shouldStop: @escaping () -> Bool = { false }
    ) {
        (self.patterns, self.excluded, self.limits) = (patterns, excluded, limits)
        (self.known, self.knownFolders, oldCandidates) = (known, knownFolders, candidates)
        (self.shouldStop, self.willRead) = (shouldStop, willRead)
    }

    /// Walks through all folders of all patterns.
    mutating func run() {
        for index in patterns.indices where outcome.limitHit == nil {
            let pattern = patterns[index].pattern
            walk(pattern.fixedFolder, pattern.beginning, index, isFixed: true)
        }
        noteMissing(known)
    }

    /// Looks at these paths alone: files, or folders with all that is below.
    mutating func look(at paths: [FilePath]) {
        for path in paths {
            for index in patterns.indices where outcome.limitHit == nil {
                lookAt(path, index)
            }
        }
        noteMissing(paths.filter(known.contains))
        // All that is known is gone through only where a whole folder came or went.
        let folders = Set(paths.lazy.map(\.description).filter(knownFolders.contains))
        if !folders.isEmpty { noteMissing(known.filter { Self.isBelow(folders, $0) }) }
    }

    private static func isBelow(_ folders: Set<String>, _ path: FilePath) -> Bool {
        var folder = path.folder
        while !folders.contains(folder) {
            guard folder != "/" else { return false }
            folder = FilePath(folder).folder
        }
        return true
    }

    /// What could not be seen for another reason, a folder without permission or a disk that is away with an error,
    /// is not gone.
    private mutating func noteMissing(_ paths: some Sequence<FilePath>) {
        for path in paths where outcome.found[path] == nil {
            guard !shouldStop() else { return }
            do throws(FileStatus.Missing) {
                let status = try FileStatus(path: path.description, followsLink: false)
                if status.kind != .file { outcome.missing.insert(path) }
            } catch {
                if error.isGone { outcome.missing.insert(path) }
            }
        }
    }

    private mutating func lookAt(_ path: FilePath, _ index: Int) {
        let pattern = patterns[index].pattern
        let fixed = pattern.fixedFolder == "/" ? "/" : pattern.fixedFolder + "/"
        guard path.description.hasPrefix(fixed) else { return }
        var folder = pattern.fixedFolder
        var places = pattern.beginning
        let names = path.description.dropFirst(fixed.count).split(separator: "/")
        for (depth, name) in names.enumerated() {
            places = pattern.step(places, over: name)
            let entry = Self.join(folder, String(name))
            guard !places.isEmpty, !patterns[index].excludes(entry, name: name), !excluded.contains(entry) else {
                return
            }
            if depth == names.count - 1 {
                let last = Entry(name: String(name), kind: .unknown)
                if let below = visit(last, in: folder, places, index) { walk(below, places, index, isFixed: false) }
            }
            folder = entry
        }
    }

    // MARK: - Folders

    private struct Entry {
        enum Kind { case file, folder, other, unknown }
        let name: String
        let kind: Kind
    }

    private mutating func walk(_ top: String, _ beginning: GlobPattern.Places, _ index: Int, isFixed: Bool) {
        var waiting = [(folder: top, places: beginning, isFixed: isFixed)]
        let pattern = patterns[index]
        while let (folder, places, isFixed) = waiting.popLast() {
            guard outcome.limitHit == nil, !shouldStop() else { return }
            guard !excluded.contains(folder) else { continue }
            outcome.folders.insert(folder)
            willRead(folder)
            do throws(FolderUnreadable) {
                for entry in try interesting(folder, places, pattern, followsLink: isFixed) {
                    let next = pattern.pattern.step(places, over: entry.name)
                    if let below = visit(entry, in: folder, next, index) { waiting.append((below, next, false)) }
                }
            } catch {
                // Gone is gone, and no reason to doubt that the databases are.
                if error.code != ENOENT, error.code != ENOTDIR {
                    outcome.unreadable.append((folder, String(cString: strerror(error.code))))
                }
            }
        }
    }

    private struct FolderUnreadable: Error {
        let code: Int32
    }

    /// The entries that the pattern lets through; a folder may hold millions of others.
    private mutating func interesting(
        _ folder: String, _ places: GlobPattern.Places, _ pattern: DatabasePattern, followsLink: Bool
    ) throws(FolderUnreadable) -> [Entry] {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (followsLink ? 0 : O_NOFOLLOW))
        guard descriptor >= 0 else { throw FolderUnreadable(code: errno) }
        guard let stream = fdopendir(descriptor) else {
            let code = errno
            close(descriptor)
            throw FolderUnreadable(code: code)
        }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw FolderUnreadable(code: errno) }
                return entries
            }
            self.entries += 1
            if self.entries > limits.entries {
                outcome.limitHit = "more than \(limits.entries) files and folders lie below the patterns' folders"
                return entries
            }
            if let entry = Self.entry(entry), isWanted(entry, in: folder, places, pattern) { entries.append(entry) }
        }
    }

    /// - Returns: nil for a name that is not UTF-8, which no path of ours can hold, and for what is neither.
    private static func entry(_ raw: UnsafeMutablePointer<dirent>) -> Entry? {
        let kind: Entry.Kind
        switch Int32(raw.pointee.d_type) {
        case Int32(DT_REG): kind = .file
        case Int32(DT_DIR): kind = .folder
        case Int32(DT_UNKNOWN): kind = .unknown
        default: return nil
        }
        let name = withUnsafePointer(to: &raw.pointee.d_name) { tuple in
            tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
        }
        guard let name, name != ".", name != ".." else { return nil }
        return Entry(name: name, kind: kind)
    }

    private func isWanted(
        _ entry: Entry, in folder: String, _ places: GlobPattern.Places, _ pattern: DatabasePattern
    ) -> Bool {
        let next = pattern.pattern.step(places, over: entry.name)
        let isMatch = pattern.pattern.isMatch(next) && entry.kind != .folder
        guard isMatch || pattern.pattern.mayMatchBelow(next) && entry.kind != .file else { return false }
        return !pattern.excludes(Self.join(folder, entry.name), name: entry.name)
    }

    // MARK: - Entries

    /// - Returns: the entry's path if it is a folder to walk through.
    private mutating func visit(
        _ entry: Entry, in folder: String, _ places: GlobPattern.Places, _ index: Int
    ) -> String? {
        let path = Self.join(folder, entry.name)
        var kind = entry.kind
        if kind == .unknown {
            // What cannot be looked at any more is told as missing, if it was known.
            guard let status = try? FileStatus(path: path, followsLink: false) else { return nil }
            kind = status.kind == .folder ? .folder : status.kind == .file ? .file : .other
        }
        let pattern = patterns[index].pattern
        if kind == .file, pattern.isMatch(places) { take(FilePath(path), index) }
        return kind == .folder && pattern.mayMatchBelow(places) ? path : nil
    }

    private mutating func take(_ path: FilePath, _ index: Int) {
        guard !path.isBesideADatabase, outcome.found[path] == nil else { return }
        guard known.contains(path) || isDatabase(path) else { return }
        guard outcome.found.count < limits.files else {
            outcome.limitHit = "the patterns find more than \(limits.files) databases"
            return
        }
        outcome.found[path] = index
    }

    private mutating func isDatabase(_ path: FilePath) -> Bool {
        // Gone again, or no file: the next sweep sees it if it comes back.
        guard let seen = try? FileStatus(path: path.description, followsLink: false), seen.kind == .file else {
            return false
        }
        if oldCandidates[path] != seen, case .database = DatabaseSniff(path: path.description) { return true }
        if outcome.candidates.count < limits.files { outcome.candidates[path] = seen }
        return false
    }

    static func join(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : folder + "/" + name
    }
}
