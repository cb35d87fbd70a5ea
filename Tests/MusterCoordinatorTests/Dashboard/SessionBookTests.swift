import MusterFormat
import MusterModel
import Testing

@testable import MusterCoordinator

@Suite("Sessions of the dashboard")
struct SessionBookTests {
    let book = SessionBook(random: .system)
    let start = Timestamp(microseconds: 1_767_225_600_000_000)

    private func certificate() throws -> CertificateFingerprint {
        try #require(CertificateFingerprint(bytes: RandomSource.system.bytes(32)))
    }

    @Test func aLinkIsGoodOnce() throws {
        let whose = try certificate()
        let link = book.makeLink(for: whose, now: start)
        let opened = try #require(book.open(link.secret, now: start))
        #expect(opened.certificate == whose)
        #expect(book.open(link.secret, now: start) == nil)
        let session = try #require(book.session(opened.secret, now: start))
        #expect(session.certificate == whose && session.formSecret != opened.secret)
        #expect(book.session(link.secret, now: start) == nil)
    }

    @Test func aLinkIsGoodForFiveMinutes() throws {
        let link = book.makeLink(for: try certificate(), now: start)
        #expect(link.expiresAt == start + .seconds(300))
        #expect(book.open(link.secret, now: start + .seconds(300)) == nil)
        let other = book.makeLink(for: try certificate(), now: start)
        #expect(book.open(other.secret, now: start + .seconds(299)) != nil)
    }

    @Test func aSessionEndsWhenItIsIdle() throws {
        let secret = try openSession(now: start)
        #expect(book.session(secret, now: start + .seconds(3599)) != nil)
        #expect(book.session(secret, now: start + .seconds(7198)) != nil)
        #expect(book.session(secret, now: start + .seconds(7198 + 3600)) == nil)
    }

    @Test func whatAPageAsksByItselfKeepsNoSessionAlive() throws {
        let secret = try openSession(now: start)
        for minutes in 1..<60 {
            #expect(book.session(secret, isUse: false, now: start + .seconds(minutes * 60)) != nil)
        }
        #expect(book.session(secret, isUse: false, now: start + .seconds(3600)) == nil)
    }

    @Test func aSessionEndsHoweverBusyItIs() throws {
        let secret = try openSession(now: start)
        for minutes in stride(from: 30, to: 12 * 60, by: 30) {
            #expect(book.session(secret, now: start + .seconds(minutes * 60)) != nil, "after \(minutes) minutes")
        }
        #expect(book.session(secret, now: start + .seconds(12 * 3600)) == nil)
    }

    @Test func aSessionThatIsClosedIsGone() throws {
        let secret = try openSession(now: start)
        book.close(secret)
        #expect(book.session(secret, now: start) == nil)
    }

    @Test func whoOpensMoreThanAShareLosesTheIdlestOfTheirOwn() throws {
        let (greedy, modest) = (try certificate(), try certificate())
        let other = try openSession(as: modest, now: start)
        let first = try openSession(as: greedy, now: start)
        let second = try openSession(as: greedy, now: start + .seconds(1))
        for index in 0..<500 {
            _ = try openSession(as: greedy, now: start + .seconds(2 + index / 100))
            // The second one is in use, and so stays.
            #expect(book.session(second, now: start + .seconds(3 + index / 100)) != nil)
        }
        #expect(book.session(first, now: start + .seconds(60)) == nil)
        #expect(book.session(other, now: start + .seconds(60)) != nil)
        let links = (0..<50).map { book.makeLink(for: greedy, now: start + .seconds($0 / 10)) }
        #expect(links.count { book.isGood(link: $0.secret, now: start + .seconds(30)) } == SessionBook.linksOfOne)
        #expect(book.open(links[0].secret, now: start + .seconds(30)) == nil)
        #expect(book.open(links[49].secret, now: start + .seconds(30)) != nil)
    }

    /// Where all places are taken, the room is made by whoever takes most of it.
    @Test func theirNumberIsBounded() throws {
        let modest = try certificate()
        let kept = try openSession(as: modest, now: start)
        var others: [String] = []
        for _ in 0..<SessionBook.mostSessions / SessionBook.sessionsOfOne + 2 {
            let whose = try certificate()
            for _ in 0..<SessionBook.sessionsOfOne {
                others.append(try openSession(as: whose, now: start + .seconds(1)))
            }
        }
        let open = others.count { book.session($0, isUse: false, now: start + .seconds(60)) != nil }
        #expect(open == SessionBook.mostSessions - 1)
        #expect(book.session(kept, now: start + .seconds(60)) != nil)
        let link = book.makeLink(for: modest, now: start)
        for _ in 0..<SessionBook.mostLinks / 2 {
            let whose = try certificate()
            for _ in 0..<3 { _ = book.makeLink(for: whose, now: start + .seconds(1)) }
        }
        #expect(book.isGood(link: link.secret, now: start + .seconds(2)))
    }

    @Test(
        "only this cookie counts",
        arguments: [
            ("__Host-muster=\(String(repeating: "a", count: 64))", true),
            ("x=1; __Host-muster=\(String(repeating: "a", count: 64)); y=2", true),
            ("muster=\(String(repeating: "a", count: 64))", false), ("__Host-muster=", false),
            ("__Host-muster=abc", false), ("", false), (";;==;", false),
        ])
    func onlyThisCookieCounts(cookies: String, isFound: Bool) {
        #expect((OpenSession.secret(in: cookies) != nil) == isFound)
    }

    private func openSession(as certificate: CertificateFingerprint? = nil, now: Timestamp) throws -> String {
        let whose = try certificate ?? self.certificate()
        return try #require(book.open(book.makeLink(for: whose, now: now).secret, now: now)).secret
    }
}
