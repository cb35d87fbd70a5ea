package import MusterModel

/// Why a restore gave no file.
package enum RestoreError: ActionableError {
    /// A stored object is damaged, missing or another one; nothing of it was used.
    case damaged(snapshot: SnapshotID, store: String, object: String, reason: String)
    /// Every object was whole, but the database they make is not sound.
    case unsound(snapshot: SnapshotID, store: String, problems: [String])
    /// Every object was whole, and the database is the one that was captured; whether it is sound could not be asked to
    /// the end.
    case unchecked(snapshot: SnapshotID, reason: String)
    case noKey(snapshot: SnapshotID, keyEpoch: UInt32)
    case targetExists(path: String)
    case targetRefused(path: String, reason: String)

    package var summary: String {
        switch self {
        case .damaged(let snapshot, let store, let object, let reason):
            "snapshot \(snapshot) cannot be restored from \(store): object \(object): \(reason)"
        case .unsound(let snapshot, let store, let problems):
            "snapshot \(snapshot) from \(store) fails integrity_check: \(problems.first ?? "no reason given")"
        case .unchecked(let snapshot, let reason):
            "snapshot \(snapshot) was rebuilt as it was captured, but integrity_check came to no end: \(reason)"
        case .noKey(let snapshot, let keyEpoch):
            "no key at hand opens snapshot \(snapshot) (key epoch \(keyEpoch))"
        case .targetExists(let path): "'\(path)' exists"
        case .targetRefused(let path, let reason): "'\(path)' cannot be written: \(reason)"
        }
    }

    package var hint: String {
        switch self {
        case .damaged:
            "No file was written. See what else is hit with 'muster verify ID --level scrub', and restore another snapshot."
        case .unsound:
            "No file was written. The source may have been damaged when it was captured: restore an older snapshot."
        case .unchecked: "No file was written. 'muster restore --no-integrity-check' writes it without asking."
        case .noKey: "Give the node's --agent-dir or the fleet's --recovery-key FILE."
        case .targetExists: "Choose a path where nothing stands, or move that file away."
        case .targetRefused: "Check the folder's permissions and free space."
        }
    }

    package var isTransient: Bool { false }

    /// As reports name a pack.
    static func object(_ pack: PackID) -> String { "pack \(pack)" }

    func blames(_ pack: PackID) -> Bool {
        if case .damaged(_, _, let object, _) = self { object == Self.object(pack) } else { false }
    }

    /// The same, of the store that the bytes came from; "" for one that is not known.
    func found(in store: String) -> RestoreError {
        guard !store.isEmpty, case .damaged(let snapshot, _, let object, let reason) = self else { return self }
        return .damaged(snapshot: snapshot, store: store, object: object, reason: reason)
    }

    /// What a verdict says of it; nil where the stored snapshot is not to blame.
    package var failing: Failing? {
        switch self {
        case .damaged(let snapshot, let store, let object, let reason):
            Failing(snapshot: snapshot.description, store: store, object: object, reason: reason)
        case .unsound(let snapshot, let store, let problems):
            Failing(
                snapshot: snapshot.description, store: store, object: "",
                reason: "integrity_check: \(problems.prefix(3).joined(separator: "; "))")
        case .unchecked, .noKey, .targetExists, .targetRefused: nil
        }
    }
}
