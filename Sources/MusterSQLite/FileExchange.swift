import CSQLite

/// Two files that change their names in one step, so that at no moment either name leads nowhere.
package enum FileExchange {
    /// - Returns: 0, or why not, as `errno` has it: nothing has changed then.
    package static func run(_ first: String, _ second: String) -> Int32 { unsafe -csqlite_exchange(first, second) }
}
