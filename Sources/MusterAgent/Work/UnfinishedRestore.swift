import Foundation
import MusterEngine
import MusterFormat
import MusterModel

/// The file that an ordered restore builds, noted before it is made: an agent that is killed may never get the order
/// again, and its owner's folder is to hold nothing unfinished then.
struct UnfinishedRestore {
    private let directory: AgentDirectory

    init(_ directory: AgentDirectory) { self.directory = directory }

    /// The name of the unfinished file follows from the order, so that the agent's next life finds it.
    static func mark(of grant: GrantID) -> RandomSource { RandomSource { Array(grant.bytes.prefix($0)) } }

    func note(_ terms: RestoreGrant.Terms) throws {
        try PrivateFile.write("\(terms.id)\n\(terms.targetPath)", to: directory.unfinishedRestoreFile)
    }

    func forget() { unlink(directory.unfinishedRestoreFile) }

    /// Removes what an earlier life of the agent left; where its owner allows nothing any more, it stays.
    func remove() throws {
        let path = directory.unfinishedRestoreFile
        guard FileManager.default.fileExists(atPath: path) else { return }
        let lines = try PrivateFile.text(at: path).split(separator: "\n", maxSplits: 1)
        if lines.count == 2, let grant = GrantID(lines[0]) {
            let allowed = try directory.configuration().restoreInto
            let folder = try RestoreFolder(for: String(lines[1]), allowed: allowed, makingFolders: false)
            defer { folder.leave() }
            unlink(SnapshotRestore.partialFile(for: folder.target, random: Self.mark(of: grant)))
        }
        forget()
    }
}
