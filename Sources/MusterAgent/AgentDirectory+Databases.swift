import Foundation
import MusterEngine
package import MusterModel
import MusterSQLite

/// What the command line changes in `agent.yaml`, and how a running agent takes it up.
///
/// The file is replaced as a whole, then a running agent is told by SIGHUP. It reads the file, lets go of what it
/// does not protect any more, and then writes down which version of the file it works by: whoever waits for that
/// version knows that no lock of the agent is left on a database that the version pauses or does not name.
extension AgentDirectory {
    /// Adds a database.
    ///
    /// - Returns: true if an agent runs in this directory.
    package func add(_ database: ProtectedDatabase) throws -> Bool {
        let found = try AgentState.discovered(inFile: stateFile).first { $0.name == database.name }
        if let found, found.path != database.path { throw DatabaseKnown(name: found.name, path: found.path) }
        return try change { configuration in
            let twin = configuration.databases.first { $0.name == database.name || $0.path == database.path }
            if let twin { throw DatabaseKnown(name: twin.name, path: twin.path) }
            configuration.databases.append(database)
        }.isAgentTold
    }

    /// Adds a pattern: its files are found by the agent when it runs.
    ///
    /// - Returns: true if an agent runs in this directory.
    package func add(_ pattern: DatabasePattern) throws -> Bool {
        try change { configuration in
            guard !configuration.patterns.contains(where: { $0.pattern == pattern.pattern }) else {
                throw PatternKnown(pattern: pattern.pattern.description)
            }
            configuration.patterns.append(pattern)
        }.isAgentTold
    }

    /// Pauses a database, or all of a pattern, or lets their snapshots go on.
    package func setPaused(_ isPaused: Bool, _ name: String) throws -> ConfigurationChange {
        try change { configuration in
            switch try find(name, in: configuration) {
            case .listed(let index): configuration.databases[index].isPaused = isPaused
            case .pattern(let index): configuration.patterns[index].isPaused = isPaused
            case .found(let path, let index):
                let pattern = configuration.patterns[index]
                guard isPaused || !pattern.isPaused else {
                    throw PatternPaused(path: path, pattern: pattern.pattern.description)
                }
                let others = pattern.pausedPaths.filter { FilePath($0) != FilePath(path) }
                configuration.patterns[index].pausedPaths = isPaused ? others + [path] : others
            }
        }
    }

    /// Takes a database, or a pattern with all that it found, out of the agent's care; the coordinator keeps what it
    /// has of them.
    package func remove(_ name: String) throws -> ConfigurationChange {
        try change { configuration in
            switch try find(name, in: configuration) {
            case .listed(let index): configuration.databases.remove(at: index)
            case .pattern(let index): configuration.patterns.remove(at: index)
            case .found(let path, _):
                // It may match several, and the next one must not take it up.
                for index in configuration.patterns.indices where configuration.patterns[index].covers(path) {
                    configuration.patterns[index].exclude.append(try Exclusion(path: path))
                    configuration.patterns[index].pausedPaths.removeAll { FilePath($0) == FilePath(path) }
                }
            }
        }
    }

    /// Refuses where an agent may be at that file: it would take the new content for changes of the old.
    package func refuseUnpaused(_ path: String) throws {
        for database in try databases(at: path) where !database.isPaused {
            throw DatabaseNotPaused(name: database.name, directory: self.path)
        }
    }

    /// The next snapshot of what is protected at that path begins a lineage.
    package func beginLineage(ofDatabaseAt path: String) throws {
        try AgentState.forgetHeads(of: try databases(at: path).map(\.id), inFile: stateFile)
    }

    private func databases(at path: String) throws -> [ProtectedDatabase] {
        let place = Self.place(of: path)
        return try databases().map(\.database).filter { Self.place(of: $0.path) == place }
    }

    /// The file that a path leads to, or would if it were there.
    private static func place(of path: String) -> String {
        let there = RestoreInPlace(target: path).target
        guard there == path else { return there }
        let url = URL(filePath: path)
        let folder = RestoreInPlace(target: url.deletingLastPathComponent().path(percentEncoded: false)).target
        return folder + "/" + url.lastPathComponent
    }

    /// Changes what drills ask of a database, or of all that a pattern finds.
    package func setExpectations(
        of name: String, _ body: (inout DrillExpectations) throws -> Void
    ) throws -> ConfigurationChange {
        try change { configuration in
            switch try find(name, in: configuration) {
            case .listed(let index): try body(&configuration.databases[index].expectations)
            case .pattern(let index): try body(&configuration.patterns[index].expectations)
            case .found(let path, let index):
                throw FoundByPattern(path: path, pattern: configuration.patterns[index].pattern.description)
            }
        }
    }

    /// What a name on the command line stands for.
    private enum Named {
        case listed(Int)
        case pattern(Int)
        case found(path: String, pattern: Int)
    }

    private func find(_ name: String, in configuration: AgentConfiguration) throws -> Named {
        let databases = configuration.databases
        // A name may look like another one's path or id: the name is what was meant.
        if let index = databases.firstIndex(where: { $0.name == name }) { return .listed(index) }
        let found = try AgentState.discovered(inFile: stateFile)
        if let row = found.first(where: { $0.name == name }), let index = configuration.pattern(of: row.path) {
            return .found(path: row.path, pattern: index)
        }
        if let index = databases.firstIndex(where: { $0.path == name || $0.id.description == name }) {
            return .listed(index)
        }
        if let index = configuration.patterns.firstIndex(where: { $0.pattern.description == name }) {
            return .pattern(index)
        }
        let row = found.first { $0.path == name || $0.id.description == name }
        if let row, let index = configuration.pattern(of: row.path) { return .found(path: row.path, pattern: index) }
        throw DatabaseNotListed(name: name)
    }

    /// All databases of the node, found ones too, as an agent that reads the file now would have them.
    package func databases() throws -> [ListedDatabase] {
        let configuration = try configuration()
        var book = DiscoveryBook(try AgentState.discovered(inFile: stateFile), configuration)
        // New names are for the agent to give.
        _ = book.use(configuration)
        return book.databases.enumerated().map { index, database in
            // Those of the configuration come first.
            let pattern = index < configuration.databases.count ? nil : configuration.pattern(of: database.path)
            return ListedDatabase(
                database: database, pattern: pattern.map { configuration.patterns[$0].pattern.description })
        }
    }

    /// What kept the last search for the patterns' files from being complete; "" where nothing did.
    package var searchNotes: String {
        // No file: no agent has searched yet.
        (try? PrivateFile.text(at: searchNotesFile)) ?? ""
    }

    private func change(_ body: (inout AgentConfiguration) throws -> Void) throws -> ConfigurationChange {
        let turn = try ConfigurationTurn(self)
        defer { turn.end() }
        var configuration = try configuration()
        let before = configuration
        try body(&configuration)
        if configuration != before { try write(configuration) }
        guard let version = FileVersion(path: configurationFile) else {
            throw AgentDirectoryError.damagedFile(configurationFile)
        }
        let change = ConfigurationChange(version: version, reach: DirectoryLock.signalReload(self))
        if case .notReached(let process) = change.reach, !isTakenUp(change) {
            throw AgentNotReached(directory: path, process: process)
        }
        return change
    }

    // MARK: - Taking it up

    /// Returns when no agent runs, or when the one that does works by the change or by a later one.
    ///
    /// - Throws: `NotTakenUp` after `limit`.
    package func awaitUptake(
        of change: ConfigurationChange, limit: Duration, monotonic: @Sendable () -> Duration,
        sleep: @Sendable (Duration) async throws -> Void
    ) async throws {
        let deadline = monotonic() + limit
        while !isTakenUp(change) {
            guard DirectoryLock.isHeld(self) else { return }
            guard monotonic() < deadline else { throw NotTakenUp(file: configurationFile, limit: limit) }
            try await sleep(.milliseconds(20))
        }
    }

    /// As above, of the configuration as it stands.
    package func awaitUptake(
        limit: Duration, monotonic: @Sendable () -> Duration, sleep: @Sendable (Duration) async throws -> Void
    ) async throws {
        try await awaitUptake(of: change { _ in }, limit: limit, monotonic: monotonic, sleep: sleep)
    }

    private func isTakenUp(_ change: ConfigurationChange) -> Bool {
        // No file: the agent has not come to it yet.
        guard let applied = try? PrivateFile.text(at: appliedFile) else { return false }
        return applied == change.version.description || applied == FileVersion(path: configurationFile)?.description
    }

    /// The agent works by this version now, and has let go of everything else.
    func noteApplied(_ version: FileVersion) throws { try PrivateFile.write(version.description, to: appliedFile) }
}

/// `agent.yaml` was changed, if it had to be.
package struct ConfigurationChange: Sendable {
    fileprivate let version: FileVersion
    fileprivate let reach: DirectoryLock.Reach
    /// True if an agent runs in the directory.
    package var isAgentTold: Bool { reach != .noAgent }
}

/// Tells one state of a file from every other: a file that is replaced has another inode or another time.
struct FileVersion: Equatable, Sendable, CustomStringConvertible {
    let description: String

    init?(path: String) {
        // Without the file there is no version of it.
        guard let status = try? FileStatus(path: path, followsLink: false) else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        // As above.
        guard let status = try? FileStatus(descriptor: descriptor) else { return nil }
        self.init(status)
    }

    private init(_ status: FileStatus) {
        description = "\(status.device):\(status.inode):\(status.sizeBytes):\(status.modifiedNanoseconds)"
    }
}

/// A database of the node, and the pattern that found it.
package struct ListedDatabase: Sendable {
    package let database: ProtectedDatabase
    /// Nil where the configuration names it by itself.
    package let pattern: String?
}

extension AgentConfiguration {
    /// The first pattern that covers the file: the one it belongs to.
    fileprivate func pattern(of path: String) -> Int? { patterns.firstIndex { $0.covers(path) } }
}

package struct PatternKnown: ActionableError {
    let pattern: String
    package var summary: String { "this node has the pattern '\(pattern)' already" }
    package var hint: String {
        "To change it, remove it with 'muster database remove' and add it again, or edit agent.yaml."
    }
    package var isTransient: Bool { false }
}

package struct FoundByPattern: ActionableError {
    let path: String
    let pattern: String
    package var summary: String { "'\(path)' was found by the pattern '\(pattern)', and has no entry of its own" }
    package var hint: String { "Name the pattern: what is asserted of it is asked of all its databases." }
    package var isTransient: Bool { false }
}

package struct PatternPaused: ActionableError {
    let path: String
    let pattern: String
    package var summary: String { "'\(path)' is paused with all of its pattern" }
    package var hint: String { "Resume the pattern: muster database resume --dir DIR '\(pattern)'." }
    package var isTransient: Bool { false }
}

package struct DatabaseKnown: ActionableError {
    let name: String
    let path: String
    package var summary: String { "this node already protects '\(path)' under the name '\(name)'" }
    package var hint: String { "Choose another name with --name, or leave it as it is." }
    package var isTransient: Bool { false }
}

/// No database of the directory has this name, path or id.
package struct DatabaseNotListed: ActionableError {
    let name: String
    package var summary: String { "this node protects no database '\(name)'" }
    package var hint: String { "Look at the names with 'muster database list --dir DIR'." }
    package var isTransient: Bool { false }
}

package struct NotTakenUp: ActionableError {
    let file: String
    let limit: Duration
    package var summary: String { "the running agent did not take '\(file)' up within \(limit.text)" }
    package var hint: String {
        "Look at the agent's log for what is wrong with the file or holds the agent up, then run the command again."
    }
    package var isTransient: Bool { true }
}

/// An agent runs that could not be told to read its configuration again: it may hold locks that it is to give back.
package struct AgentNotReached: ActionableError {
    let directory, process: String
    package var summary: String {
        "an agent runs in '\(directory)' and could not be told of the change (its lock names process \(process))"
    }
    package var hint: String {
        "agent.yaml is written: run 'systemctl reload muster-agent', or restart the agent, as the one who started it; "
            + "then run this command again."
    }
    package var isTransient: Bool { false }
}

private struct DatabaseNotPaused: ActionableError {
    let name, directory: String
    var summary: String { "database '\(name)' is not paused" }
    var hint: String {
        "Pause it with 'muster database pause --dir \(directory) \(name)', restore, then let it go on with "
            + "'muster database resume --dir \(directory) \(name)': a new lineage begins."
    }
    var isTransient: Bool { false }
}
