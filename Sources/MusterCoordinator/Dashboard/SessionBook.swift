import MusterFormat
import MusterModel
import Synchronization

/// Who is signed in on the dashboard.
///
/// A link is good once and for minutes, a session for hours. Of both only hashes of their secrets are kept, in memory:
/// what is in no file cannot be copied from one, and after a restart everybody opens the dashboard anew. A session is
/// worth no more than the certificate that it was opened with, which is looked up for each request.
///
/// Both are bounded for each certificate, and in all: where there is no room, the oldest of whoever has most goes. So
/// nobody can sign others out by asking for more.
final class SessionBook: Sendable {
    static let linkLifetime = Duration.seconds(300)
    static let longestSession = Duration.seconds(12 * 3600)
    static let longestIdle = Duration.seconds(3600)
    static let (linksOfOne, sessionsOfOne) = (8, 16)
    static let (mostLinks, mostSessions) = (256, 1024)

    private struct Link {
        let certificate: CertificateFingerprint
        let expiresAt: Timestamp
    }

    private struct Session {
        let certificate: CertificateFingerprint
        let formSecret: String
        let openedAt: Timestamp
        var usedAt: Timestamp

        func isOver(at now: Timestamp) -> Bool {
            now >= openedAt + longestSession || now >= usedAt + longestIdle
        }
    }

    private struct State {
        var links: [[UInt8]: Link] = [:]
        var sessions: [[UInt8]: Session] = [:]
    }

    private let random: RandomSource
    private let state = Mutex(State())

    init(random: RandomSource) { self.random = random }

    /// - Returns: the secret of a new link.
    func makeLink(for certificate: CertificateFingerprint, now: Timestamp) -> (secret: String, expiresAt: Timestamp) {
        let secret = Hex.encode(random.bytes(32))
        let link = Link(certificate: certificate, expiresAt: now + Self.linkLifetime)
        state.withLock { state in
            state.links = state.links.filter { $0.value.expiresAt > now }
            Self.makeRoom(
                in: &state.links, for: certificate, ofOne: Self.linksOfOne, inAll: Self.mostLinks,
                whose: \.certificate, age: \.expiresAt)
            state.links[Self.hash(secret)] = link
        }
        return (secret, link.expiresAt)
    }

    /// Whether a link would open a session. It stays as good as it was: who only looks at what it leads to, such as the
    /// preview of a chat, does not use it up.
    func isGood(link: String, now: Timestamp) -> Bool {
        state.withLock { state in state.links[Self.hash(link)].map { now < $0.expiresAt } ?? false }
    }

    /// Uses a link up.
    ///
    /// - Returns: the secret of the session that it opens, or nil for a link that is not good.
    func open(_ link: String, now: Timestamp) -> (secret: String, certificate: CertificateFingerprint)? {
        let (secret, formSecret) = (Hex.encode(random.bytes(32)), Hex.encode(random.bytes(32)))
        return state.withLock { state in
            guard let found = state.links.removeValue(forKey: Self.hash(link)), now < found.expiresAt else {
                return nil
            }
            state.sessions = state.sessions.filter { !$0.value.isOver(at: now) }
            Self.makeRoom(
                in: &state.sessions, for: found.certificate, ofOne: Self.sessionsOfOne, inAll: Self.mostSessions,
                whose: \.certificate, age: \.usedAt)
            state.sessions[Self.hash(secret)] = Session(
                certificate: found.certificate, formSecret: formSecret, openedAt: now, usedAt: now)
            return (secret, found.certificate)
        }
    }

    /// - Parameter isUse: false for what a page asks by itself; that keeps no session alive.
    /// - Returns: what the session's forms must hold and whose it is, or nil where it is over.
    func session(
        _ secret: String, isUse: Bool = true, now: Timestamp
    ) -> (certificate: CertificateFingerprint, formSecret: String)? {
        let key = Self.hash(secret)
        return state.withLock { state in
            guard var session = state.sessions[key] else { return nil }
            guard !session.isOver(at: now) else {
                state.sessions[key] = nil
                return nil
            }
            if isUse {
                // The clock may have been set back; a session never gets younger by that.
                session.usedAt = max(session.usedAt, now)
                state.sessions[key] = session
            }
            return (session.certificate, session.formSecret)
        }
    }

    /// Takes out what is oldest: of that certificate where it has its share, else of whoever has most.
    private static func makeRoom<Entry>(
        in entries: inout [[UInt8]: Entry], for certificate: CertificateFingerprint, ofOne: Int, inAll: Int,
        whose: (Entry) -> CertificateFingerprint, age: (Entry) -> Timestamp
    ) {
        let counts = entries.values.reduce(into: [:]) { $0[whose($1), default: 0] += 1 }
        var loser: CertificateFingerprint?
        if counts[certificate, default: 0] >= ofOne {
            loser = certificate
        } else if entries.count >= inAll {
            loser = counts.max { $0.value < $1.value }?.key
        }
        guard let loser else { return }
        let oldest = entries.filter { whose($0.value) == loser }.min { age($0.value) < age($1.value) }
        if let oldest { entries[oldest.key] = nil }
    }

    func close(_ secret: String) { state.withLock { _ = $0.sessions.removeValue(forKey: Self.hash(secret)) } }

    private static func hash(_ secret: String) -> [UInt8] { Coordinator.hash(Array(secret.utf8)) }
}

/// The session of one request, with whom it belongs to as the catalog says now.
struct OpenSession: Sendable {
    static let cookie = "__Host-muster"

    let secret: String
    let formSecret: String
    let role: Role
    let subject: String

    /// What each of its forms holds, so that no other page can send one.
    var formToken: HTML {
        emptyTag("input", .of(.type, "hidden"), .of(.name, PageForm.token), .of(.value, formSecret))
    }

    /// May start verifications and snapshots.
    var mayAct: Bool { role == .operator || role == .admin }

    /// Only over TLS, only to this name, out of reach of scripts, and never along with what another site began.
    static func cookie(_ secret: String) -> String {
        let seconds = Int(SessionBook.longestSession.inSeconds)
        return "\(cookie)=\(secret); Path=/; Max-Age=\(seconds); Secure; HttpOnly; SameSite=Strict"
    }

    static let noCookie = "\(cookie)=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict"

    /// The session's secret among a request's cookies.
    static func secret(in cookies: String?) -> String? {
        for pair in (cookies ?? "").split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1).map { $0.trimmingPrefix(while: { $0 == " " }) }
            if parts.count == 2, parts[0] == Self.cookie, parts[1].utf8.count == 64 { return String(parts[1]) }
        }
        return nil
    }
}
