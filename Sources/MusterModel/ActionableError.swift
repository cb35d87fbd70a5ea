/// An error that a person may have to act on.
///
/// `summary` says what went wrong, in lower case and without a full stop;
/// `hint` is one full sentence that says what to do next.
package protocol ActionableError: Error, CustomStringConvertible {
    var summary: String { get }
    var hint: String { get }
    /// True if the same call may succeed later without anyone's help.
    var isTransient: Bool { get }
}

extension ActionableError {
    package var description: String { "\(summary)\nhint: \(hint)" }
}
