import GRDB
import MusterModel

/// Why the catalog could not answer.
package enum CatalogError: ActionableError, Equatable {
    /// SQLite could not open, read or write the file.
    case unusable(reason: String)
    /// Another connection held the file for longer than the budget.
    case busy
    /// The disk under the catalog is full.
    case full
    /// A row holds something that this version never wrote.
    case damaged(column: String)
    /// A node has more databases than it may.
    case tooManyDatabases(limit: Int)

    init(_ error: any Error) {
        switch error {
        case let error as CatalogError: self = error
        case let error as DatabaseError where error.resultCode == .SQLITE_BUSY: self = .busy
        case let error as DatabaseError where error.resultCode == .SQLITE_FULL: self = .full
        default: self = .unusable(reason: "\(error)")
        }
    }

    /// Whether it speaks of one row, and not of the catalog as a whole.
    package var isOfOneRow: Bool {
        switch self {
        case .damaged, .tooManyDatabases: true
        case .unusable, .busy, .full: false
        }
    }

    package var summary: String {
        switch self {
        case .unusable(let reason): "catalog cannot be used: \(reason)"
        case .busy: "catalog is locked by another process"
        case .full: "disk of the catalog is full"
        case .tooManyDatabases(let limit): "the node has more than \(limit) databases"
        case .damaged(let column): "catalog holds an impossible value in column '\(column)'"
        }
    }

    package var hint: String {
        switch self {
        case .unusable: "Check that the coordinator's directory is there, writable and on a local disk."
        case .busy: "Stop whatever else has catalog.db open; only the coordinator may write it."
        case .full: "Free space on the coordinator's disk; nothing acknowledged is lost."
        case .tooManyDatabases: "Look for an agent that names a new database for each snapshot; invite another node."
        case .damaged: "Stop the coordinator and rebuild the catalog from the stores; the stores hold the truth."
        }
    }

    package var isTransient: Bool {
        switch self {
        case .busy, .full: true
        case .unusable, .damaged, .tooManyDatabases: false
        }
    }
}
