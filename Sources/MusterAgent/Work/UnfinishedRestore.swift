import Foundation
import MusterEngine
import MusterFormat
import MusterModel

/// The files that ordered restores build, noted before they are made: an agent that is killed may never get the order
/// again, and its owner's folder is to hold nothing unfinished then.
///
/// One restore goes on at a time, but one of a life before may wait for a folder that is not there.
struct UnfinishedRestore {
    /// The oldest are forgotten beyond it.
    private static let most = 64

    private struct Entry: Codable {
        let grant, path: String
    }

    private let directory: AgentDirectory

    init(_ directory: AgentDirectory) { self.directory = directory }

    /// The name of the unfinished file follows from the order, so that the agent's next life finds it.
    static func mark(of grant: GrantID) -> RandomSource { RandomSource { Array(grant.bytes.prefix($0)) } }

    func note(_ terms: RestoreGrant.Terms) throws {
        let others = try entries().filter { $0.grant != terms.id.description }
        let entry = Entry(grant: terms.id.description, path: terms.targetPath)
        try write(others.suffix(Self.most - 1) + [entry])
    }

    func forget(_ grant: GrantID) throws { try write(try entries().filter { $0.grant != grant.description }) }

    /// Removes what earlier lives of the agent left; where its owner allows nothing any more, it stays noted.
    ///
    /// - Throws: why the first of those that stay does.
    func remove() throws {
        var (left, failure): ([Entry], (any Error)?) = ([], nil)
        let noted = try entries()
        let allowed = noted.isEmpty ? [] : try directory.configuration().restoreInto
        for entry in noted {
            guard let grant = GrantID(entry.grant) else { continue }
            do {
                let folder = try RestoreFolder(for: entry.path, allowed: allowed, makingFolders: false)
                defer { folder.leave() }
                unlink(SnapshotRestore.partialFile(for: folder.target, random: Self.mark(of: grant)))
            } catch {
                left.append(entry)
                failure = failure ?? error
            }
        }
        if left.count < noted.count { try write(left) }
        if let failure { throw failure }
    }

    private func entries() throws -> [Entry] {
        let path = directory.unfinishedRestoreFile
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        let text = try PrivateFile.text(at: path)
        do {
            return try JSONDecoder().decode([Entry].self, from: Data(text.utf8))
        } catch {
            // As earlier versions wrote it: one order, its id and its path. What nobody can read names nothing.
            let lines = text.split(separator: "\n", maxSplits: 1).map(String.init)
            return lines.count == 2 && GrantID(lines[0]) != nil ? [Entry(grant: lines[0], path: lines[1])] : []
        }
    }

    private func write(_ entries: [Entry]) throws {
        guard !entries.isEmpty else {
            unlink(directory.unfinishedRestoreFile)
            return
        }
        let json = try JSONEncoder().encode(entries)
        try PrivateFile.write(String(decoding: json, as: UTF8.self), to: directory.unfinishedRestoreFile)
    }
}
