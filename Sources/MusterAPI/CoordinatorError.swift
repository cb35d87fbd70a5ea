package import MusterModel
package import MusterTransfer

/// Why the coordinator did not do what was asked.
package enum CoordinatorError: RetryAfterError {
    /// It answered, and said no.
    case refused(status: Int, body: Muster_V1_ErrorBody, retryAfter: Duration? = nil)
    /// It answered something that is not in the contract.
    case unreadable(path: String, reason: String)
    case transfer(TransferError)

    package var summary: String {
        switch self {
        case .refused(let status, let body, _):
            body.summary.isEmpty ? "the coordinator answered with status \(status)" : body.summary
        case .unreadable(let path, let reason): "the coordinator's answer to \(path) cannot be read: \(reason)"
        case .transfer(let error): error.summary
        }
    }

    package var hint: String {
        switch self {
        case .refused(_, let body, _): body.hint.isEmpty ? "Look at the coordinator's log." : body.hint
        case .unreadable: "Check that both sides run the same version of Muster."
        case .transfer(let error): error.hint
        }
    }

    package var isTransient: Bool {
        switch self {
        case .refused(let status, let body, _): body.transient || HTTPStatusError.isTransient(status: status)
        case .unreadable: false
        case .transfer(let error): error.isTransient
        }
    }

    /// The fixed word for programs, or "" where there is none.
    package var code: String {
        if case .refused(_, let body, _) = self { body.code } else { "" }
    }

    /// Packs that are to be sent again before a commit.
    package var missingPacks: [PackID] {
        if case .refused(_, let body, _) = self { body.missingPacks.compactMap { PackID($0) } } else { [] }
    }

    package var retryAfter: Duration? {
        if case .refused(_, _, let retryAfter) = self { retryAfter } else { nil }
    }

    /// True if the named thing does not exist.
    package var isNotFound: Bool {
        if case .refused(404, _, _) = self { true } else { false }
    }
}
