import MusterModel

/// A store that is there, and took too long.
struct StoreTooSlow: ActionableError {
    let store: String
    let limit: Duration
    let isTransient = true

    var summary: String { "store '\(store)' did not answer within \(limit.components.seconds) s" }
    var hint: String { "Nothing is wrong if it is busy; look at its disk or its server if this repeats." }
}
