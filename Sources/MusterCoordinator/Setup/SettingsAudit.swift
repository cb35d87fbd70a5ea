import Foundation
import MusterCatalog
import MusterFormat
import MusterModel
import Yams

/// `coordinator.yaml` is changed by an editor, and takes effect with the next start: who changed it nobody can tell, that
/// it was changed and where is a row of the audit.
extension Coordinator {
    private static let actor = "settings file"

    /// Compares the settings with those of the start before. Of what was never started there is nothing to compare with.
    func auditSettings() async throws {
        let digests = try Self.digests(ofSettings: settingsText)
        guard let known = try await catalog.setting(PinnedSetting.settings) else {
            return try await catalog.set(PinnedSetting.settings, to: [UInt8](JSONEncoder().encode(digests)))
        }
        // What cannot be read is no digest of anything: all keys count as changed.
        let before = (try? JSONDecoder().decode([String: String].self, from: Data(known))) ?? [:]
        let changed = Set(digests.keys).union(before.keys).filter { digests[$0] != before[$0] }.sorted()
        guard !changed.isEmpty else { return }
        try await catalog.set(
            PinnedSetting.settings, to: [UInt8](JSONEncoder().encode(digests)),
            audit: Catalog.AuditRow(
                actor: Self.actor, action: "settings", subject: "changed: \(changed.joined(separator: ", "))".cut(255),
                at: clock.now()))
    }

    /// A digest of each top-level key's value: the values themselves may be secret.
    private static func digests(ofSettings text: String) throws -> [String: String] {
        var digests: [String: String] = [:]
        for (key, value) in try Yams.compose(yaml: text)?.mapping ?? [:] {
            digests[key.string ?? ""] = Hex.encode(Coordinator.hash([UInt8](try Yams.serialize(node: value).utf8)))
        }
        return digests
    }
}
