import ArgumentParser
import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel

/// Restores a database to where it was: what stands there is kept.
extension Restore {
    /// Refuses while somebody has the database open: they would go on with the file that was moved away.
    func refuseOpen(_ place: RestoreInPlace) throws {
        let (processes, unseen) = place.openers()
        if !processes.isEmpty { throw TargetInUse(path: place.target, processes: processes) }
        if unseen > 0 {
            Console.note("note: \(unseen) processes of other users could not be looked at; be sure that none uses it")
        }
    }

    /// With --agent-dir: a new file may get the number of the one that stood there, and pass for it.
    ///
    /// Before the file has its name and not after: a history that ends without need does no harm, one that goes on over a
    /// restore does.
    func beginLineage(at path: String) throws {
        guard let directory = key.agentDir else { return }
        try AgentDirectory(path: directory).beginLineage(ofDatabaseAt: path)
    }

    /// - Returns: what stood there before, under its new name.
    func restoreInPlace(
        _ restore: SnapshotRestore, _ snapshot: SnapshotID, at path: String,
        onProgress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws -> (plan: RestorePlan, kept: String?) {
        let place = RestoreInPlace(target: path)
        if live, place.isThere { return try await restoreLive(restore, snapshot, place, onProgress) }
        try refuseOpen(place)
        let built = place.buildPath(Surroundings.random)
        let plan = try await restore.run(
            snapshot, to: built, checkIntegrity: integrityCheck, onProgress: onProgress)
        do {
            // Looked at again: it took a while.
            try refuseOpen(place)
            try beginLineage(at: place.target)
        } catch {
            unlink(built)
            throw error
        }
        // Where it fails, its error says where both are.
        return (plan, try place.replace(with: built))
    }
}

extension Restore {
    /// Replaces the content of a database that others have open, under SQLite's own locks.
    private func restoreLive(
        _ restore: SnapshotRestore, _ snapshot: SnapshotID, _ place: RestoreInPlace,
        _ onProgress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws -> (plan: RestorePlan, kept: String?) {
        let directory = AgentDirectory(path: key.agentDir ?? "")
        try directory.refuseUnpaused(place.target)
        // What the file says is not yet what the agent does.
        try await directory.awaitUptake(
            limit: LocalDatabase.uptakeLimit, monotonic: Surroundings.monotonic, sleep: Surroundings.sleep)
        let built = place.buildPath(Surroundings.random)
        let plan = try await restore.run(snapshot, to: built, checkIntegrity: integrityCheck, onProgress: onProgress)
        defer { unlink(built) }
        try beginLineage(at: place.target)
        return (plan, try place.replaceContent(with: built))
    }
}

private struct TargetInUse: ActionableError {
    let path: String
    let processes: [Int32]
    var summary: String {
        "'\(path)' is open in process \(processes.prefix(5).map(String.init).joined(separator: ", "))"
    }
    var hint: String {
        "Stop the application, pause the database with 'muster database pause --dir DIR NAME', then try again; or let "
            + "--live replace its content while it is open."
    }
    var isTransient: Bool { true }
}
