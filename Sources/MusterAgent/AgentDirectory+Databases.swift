import Foundation
import MusterModel

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
        try change { configuration in
            let twin = configuration.databases.first { $0.name == database.name || $0.path == database.path }
            if let twin { throw DatabaseKnown(name: twin.name, path: twin.path) }
            configuration.databases.append(database)
        }.isAgentTold
    }

    /// Pauses a database, or lets its snapshots go on.
    package func setPaused(_ isPaused: Bool, _ name: String) throws -> ConfigurationChange {
        try change { configuration in
            configuration.databases[try index(of: name, in: configuration)].isPaused = isPaused
        }
    }

    /// Takes a database out of the agent's care; the coordinator keeps what it has of it.
    package func remove(_ name: String) throws -> ConfigurationChange {
        try change { configuration in
            configuration.databases.remove(at: try index(of: name, in: configuration))
        }
    }

    private func index(of name: String, in configuration: AgentConfiguration) throws -> Int {
        let databases = configuration.databases
        // A name may look like another one's path or id: the name is what was meant.
        if let index = databases.firstIndex(where: { $0.name == name }) { return index }
        let index = databases.firstIndex { $0.path == name || $0.id.description == name }
        guard let index else { throw DatabaseNotListed(name: name) }
        return index
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
        return ConfigurationChange(version: version, isAgentTold: DirectoryLock.signalReload(self))
    }

    // MARK: - Taking it up

    /// Returns when no agent runs, or when the one that does works by the change or by a later one.
    ///
    /// - Throws: `NotTakenUp` after `limit`.
    package func awaitUptake(
        of change: ConfigurationChange, limit: Duration, monotonic: @Sendable () -> Duration,
        sleep: @Sendable (Duration) async throws -> Void
    ) async throws {
        guard change.isAgentTold else { return }
        let deadline = monotonic() + limit
        while !isTakenUp(change) {
            guard DirectoryLock.isHeld(self) else { return }
            guard monotonic() < deadline else { throw NotTakenUp(file: configurationFile, limit: limit) }
            try await sleep(.milliseconds(20))
        }
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
    /// True if an agent runs in the directory.
    package let isAgentTold: Bool
}

/// Tells one state of a file from every other: a file that is replaced has another inode or another time.
struct FileVersion: Equatable, Sendable, CustomStringConvertible {
    let description: String

    init?(path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        description =
            "\(status.st_dev):\(status.st_ino):\(status.st_size):\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }
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
