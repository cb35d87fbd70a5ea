/// What a caller may do; proven by its certificate.
package enum Role: String, Sendable, CaseIterable, Codable {
    /// No certificate: may redeem a token or renew, nothing else.
    case anonymous
    /// An agent: may add snapshots of its own node and read its own.
    case node
    /// May look.
    case viewer
    /// May also verify, restore and schedule.
    case `operator`
    /// May also change retention and stores, invite and revoke.
    case admin
}
