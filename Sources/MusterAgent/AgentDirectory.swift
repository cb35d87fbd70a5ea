import Foundation
import MusterModel

/// The agent's directory: who the node is, what it protects, and what it remembers.
///
/// | file | holds |
/// |---|---|
/// | `agent.yaml` | configuration |
/// | `signing.key`, `scope.key` | the node's Ed25519 seed and its scope secret with id and epoch, hex |
/// | `tls.key`, `tls.pem`, `ca.pem` | client certificate and the fleet's CA |
/// | `receipt.pub`, `recovery.pub` | the coordinator's receipt key and the recovery keys, pinned at join |
/// | `state.db` | see `AgentState` |
/// | `agent.applied` | the version of `agent.yaml` that the running agent works by |
/// | `agent.search` | what keeps the search for the patterns' files from being complete |
/// | `agent.lock` | held, with the process id inside, while an agent runs |
/// | `packs/` | packs that were pushed, as sealed; see `PackCache` |
/// | `restore.unfinished` | the order and path of the restore at work; see `UnfinishedRestore` |
/// | `scratch/` | databases being verified; emptied at start |
package struct AgentDirectory: Sendable {
    package let path: String

    package init(path: String) { self.path = URL(filePath: path).standardizedFileURL.path(percentEncoded: false) }

    package var configurationFile: String { file(AgentConfiguration.fileName) }
    package var certificateFile: String { file("tls.pem") }
    package var certificateKeyFile: String { file("tls.key") }
    package var authorityFile: String { file("ca.pem") }
    package var stateFile: String { file("state.db") }
    package var lockFile: String { file("agent.lock") }
    var appliedFile: String { file("agent.applied") }
    /// What keeps the search for databases from being complete; absent or empty where nothing does.
    package var searchNotesFile: String { file("agent.search") }
    package var scratch: String { file("scratch") }
    var packCache: String { file("packs") }
    var signingKeyFile: String { file("signing.key") }
    var scopeKeyFile: String { file("scope.key") }
    var receiptKeyFile: String { file("receipt.pub") }
    var recoveryKeysFile: String { file("recovery.pub") }
    /// There only while an ordered restore is under way.
    var unfinishedRestoreFile: String { file("restore.unfinished") }
    /// There only while a join is under way.
    var joinRequestFile: String { file("join.request") }

    private func file(_ name: String) -> String { path.hasSuffix("/") ? path + name : path + "/" + name }

    package var isJoined: Bool { FileManager.default.fileExists(atPath: configurationFile) }

    /// Makes the directory with mode 0700 where it does not exist.
    package func create() throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    package func configuration(overrides: [String: String] = [:]) throws -> AgentConfiguration {
        try versionedConfiguration(overrides: overrides).configuration
    }

    /// The configuration, and which version of the file it is.
    func versionedConfiguration(
        overrides: [String: String] = [:]
    ) throws -> (configuration: AgentConfiguration, version: FileVersion) {
        guard isJoined else { throw AgentDirectoryError.notJoined(path) }
        let file = try FileHandle(forReadingFrom: URL(filePath: configurationFile))
        let bytes = try file.readToEnd() ?? Data()
        guard let version = FileVersion(descriptor: file.fileDescriptor) else {
            throw AgentDirectoryError.damagedFile(configurationFile)
        }
        try file.close()
        let yaml = String(decoding: bytes, as: UTF8.self)
        return (try AgentConfiguration(yaml: yaml, overrides: overrides), version)
    }

    /// Removes what a verification that was killed left behind.
    func emptyScratch() throws {
        guard FileManager.default.fileExists(atPath: scratch) else { return }
        try FileManager.default.removeItem(atPath: scratch)
    }

    package func write(_ configuration: AgentConfiguration) throws {
        // What the agent would not take back must not replace what it takes.
        guard try AgentConfiguration(yaml: configuration.yaml) == configuration else {
            throw AgentDirectoryError.refusedWrite(configurationFile, reason: "a name or path cannot be written down")
        }
        try PrivateFile.write(Array(configuration.yaml.utf8), to: configurationFile)
    }
}

package enum AgentDirectoryError: ActionableError {
    case notJoined(String)
    case alreadyJoined(String)
    case inUse(String, processID: String)
    case damagedFile(String)
    case refusedWrite(String, reason: String)

    package var summary: String {
        switch self {
        case .notJoined(let path): "'\(path)' is not an agent's directory"
        case .alreadyJoined(let path): "'\(path)' already belongs to a node"
        case .inUse(let path, let processID): "another agent (process \(processID)) runs in '\(path)'"
        case .damagedFile(let file): "'\(file)' is missing or does not hold what belongs there"
        case .refusedWrite(let file, let reason): "'\(file)' cannot be written: \(reason)"
        }
    }
    package var hint: String {
        switch self {
        case .notJoined: "Run 'muster agent join --dir DIR TOKEN' first, or give the right --dir."
        case .alreadyJoined: "Choose an empty directory, or retire the old node and remove the directory."
        case .inUse: "Stop that agent, or give this one a directory of its own."
        case .damagedFile: "Put the file back from a copy; if it is lost, join the node again in a new directory."
        case .refusedWrite: "Check that the disk is not full and that the directory belongs to this user."
        }
    }
    package var isTransient: Bool { false }
}
