package import MusterModel

/// Databases that are protected wherever a file of theirs turns up.
package struct DatabasePattern: Equatable, Sendable {
    package let pattern: GlobPattern
    package let schedule: Schedule
    /// What matches and is not wanted.
    package var exclude: [Exclusion]
    /// True while none of its databases is to be touched.
    package var isPaused: Bool
    /// Databases of it that are paused one by one.
    package var pausedPaths: [String]
    /// What a drill asks of each of its databases.
    package var expectations: DrillExpectations

    package init(
        pattern: GlobPattern, schedule: Schedule, exclude: [Exclusion] = [], isPaused: Bool = false,
        pausedPaths: [String] = [], expectations: DrillExpectations = DrillExpectations()
    ) {
        (self.pattern, self.schedule, self.exclude) = (pattern, schedule, exclude)
        (self.isPaused, self.pausedPaths, self.expectations) = (isPaused, pausedPaths, expectations)
    }

    /// True if the file belongs to this pattern.
    package func covers(_ path: String) -> Bool {
        guard pattern.matches(path), !FilePath(path).isBesideADatabase else { return false }
        var prefix = ""
        let fixed = pattern.fixedFolder == "/" ? 0 : pattern.fixedFolder.split(separator: "/").count
        for (depth, name) in path.split(separator: "/").enumerated() {
            prefix += "/" + name
            if depth >= fixed, excludes(prefix, name: name) { return false }
        }
        return true
    }

    /// - Parameter path: of a file or folder below the fixed folder, and its last component.
    func excludes(_ path: String, name: some StringProtocol) -> Bool {
        exclude.contains { $0.covers(path, name: name) }
    }

    func isPaused(_ path: FilePath) -> Bool { isPaused || pausedPaths.contains { FilePath($0) == path } }
}

/// Files and folders that a pattern leaves out: a path with wildcards, or a name wherever it stands.
package struct Exclusion: Equatable, Sendable, CustomStringConvertible {
    private enum Rule: Sendable {
        case path(GlobPattern)
        case name(GlobComponent)
    }

    package let description: String
    private let rule: Rule

    /// `/a/b*`, `/a/**/tmp` (or `/a/**/tmp/**`): that path and what is below; `*.tmp`: every such name.
    package init(_ text: String) throws(GlobError) {
        description = text
        if text.hasPrefix("/") {
            rule = .path(try GlobPattern(text.hasSuffix("/**") ? String(text.dropLast(3)) : text))
        } else {
            guard !text.isEmpty, !text.contains("/") else {
                throw GlobError(text, "an exclusion is a name, or an absolute path")
            }
            rule = .name(try GlobComponent(text, of: text))
        }
    }

    /// Exactly this file.
    init(path: String) throws(GlobError) {
        let pattern = try GlobPattern(path: path)
        (description, rule) = (pattern.description, .path(pattern))
    }

    fileprivate func covers(_ path: String, name: some StringProtocol) -> Bool {
        switch rule {
        case .path(let pattern): pattern.matches(path)
        case .name(let component): component.matches(name)
        }
    }

    package static func == (a: Self, b: Self) -> Bool { a.description.utf8.elementsEqual(b.description.utf8) }
}
