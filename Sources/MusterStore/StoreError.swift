import Glibc
package import MusterModel

/// Why a store did not do what it was asked.
package enum StoreError: ActionableError, Equatable {
    case notFound(store: String, object: ObjectName)
    /// Objects are written once: the one that stands was not touched.
    case alreadyExists(store: String, object: ObjectName)
    case full(store: String)
    case readOnly(store: String)
    /// The object is larger than the caller allowed.
    case tooLarge(store: String, object: String, byteCount: UInt64, limitBytes: UInt64)
    /// The object ends before the bytes that were asked for.
    case tooShort(store: String, object: String, byteCount: UInt64, neededBytes: UInt64)
    /// The writer was committed, aborted, or failed before: it takes no more.
    case writerClosed(store: String)
    /// The operating system refused; `object` may be "".
    case failed(store: String, object: String, operation: String, code: Int32)
    /// The server that keeps the store is there, and does not do this; `object` may be "".
    case refused(store: String, object: String, reason: String, hint: String)
    case notAStore(path: String, reason: String)
    case folderNotEmpty(path: String)
    /// The store does not answer: its disk is not mounted, its machine or the way to it is down.
    case unavailable(store: String, reason: String)
    /// Whoever asked wants it no more, and does not wait for what becomes of it: that says nothing of the store.
    case cancelled(store: String)
    /// At the store's place is another store: two disks were mounted in each other's place.
    case displaced(store: String, found: StoreID, expected: StoreID)

    package var summary: String {
        switch self {
        case .notFound(let store, let object): "store '\(store)' has no object \(object)"
        case .alreadyExists(let store, let object): "store '\(store)' already has an object \(object)"
        case .full(let store): "store '\(store)' is full"
        case .readOnly(let store): "store '\(store)' cannot be written to"
        case .tooLarge(let store, let object, let byteCount, let limitBytes):
            "object \(object) in store '\(store)' has \(byteCount) bytes where at most \(limitBytes) are expected"
        case .tooShort(let store, let object, let byteCount, let neededBytes):
            "object \(object) in store '\(store)' ends after \(byteCount) bytes where \(neededBytes) are expected"
        case .writerClosed(let store): "a writer of store '\(store)' was used after its end"
        case .failed(let store, let object, let operation, let code):
            "store '\(store)' failed to \(operation)\(object.isEmpty ? "" : " " + object): \(Self.text(of: code))"
        case .refused(let store, let object, let reason, _):
            "store '\(store)' refused\(object.isEmpty ? "" : " " + object): \(reason)"
        case .notAStore(let path, let reason): "folder '\(path)' is not a store: \(reason)"
        case .folderNotEmpty(let path): "folder '\(path)' holds other files"
        case .unavailable(let store, let reason): "store '\(store)' is away: \(reason)"
        case .cancelled(let store): "a request to store '\(store)' was cancelled"
        case .displaced(let store, let found, let expected):
            "store '\(store)' is away: store \(found) is in the place of \(expected)"
        }
    }

    package var hint: String {
        switch self {
        case .notFound, .tooLarge, .tooShort:
            "Run 'muster store check' to find what is missing or damaged, and repair it from another store."
        case .alreadyExists: "Nothing was changed; write under a new generation."
        case .full: "Free space on the store's disk, or shorten the retention policy and run 'muster gc run'."
        case .readOnly: "Mount the disk for writing, and check the owner of the store's folder."
        case .writerClosed: "Start the write again; please report this if it repeats."
        case .failed: "Check the disk and its kernel log, and that this user owns the store's folder."
        case .refused(_, _, _, let hint): hint
        case .notAStore: "Check the path; a new store is made by 'muster store add' or 'muster coordinator init'."
        case .folderNotEmpty: "Choose an empty folder, or one that does not exist yet."
        case .unavailable: "Bring the store back, or mount its disk; what is missing there is copied by itself then."
        case .cancelled: "Start it again if it is still wanted."
        case .displaced:
            "Mount each disk where it belongs, or let each address lead to its own store; until then it counts as away."
        }
    }

    package var isTransient: Bool {
        switch self {
        case .failed(_, _, _, let code): [EAGAIN, EINTR, EBUSY, EMFILE, ENFILE, ENOMEM, ETIMEDOUT].contains(code)
        case .unavailable, .displaced, .cancelled: true
        default: false
        }
    }

    private static func text(of code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        let size = buffer.count
        // The portable form of strerror_r: 0 on success (string.h picks the GNU form only with _GNU_SOURCE).
        guard unsafe strerror_r(code, &buffer, size) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
