import MusterModel
import MusterSQLite

/// Whether what the owner wrote holds in a rebuilt database.
package struct AssertionOutcome: Hashable, Sendable {
    package let name: String
    package let passed: Bool
    /// The number that was compared; nil where there was none.
    package let value: Double?
    /// "" where it passed. Without anything of the database in it.
    package let reason: String

    /// Judges here: whoever answered is not asked whether the answer is a good one.
    init(_ assertion: OwnerAssertion, _ answer: RebuiltAnswers.Answer) {
        let trouble: RebuiltTrouble?
        (trouble, value) =
            switch answer {
            case .none(let trouble): (trouble, nil)
            case .number(let number) where assertion.wantsNumber && number.isFinite:
                (assertion.allows(number) ? nil : .outOfBounds, number)
            // Where there is a number, there is a row.
            case .row, .number: (assertion.wantsNumber ? .noNumber : nil, nil)
            }
        (name, passed, reason) = (assertion.name, trouble == nil, trouble?.description ?? "")
    }
}
