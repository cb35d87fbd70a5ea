import Glibc
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("Patterns for files")
struct GlobPatternTests {
    @Test(
        "match",
        arguments: [
            ("/var/lib/app/*/data.db", "/var/lib/app/a/data.db"), ("/var/lib/app/*/data.db", "/var/lib/app/.a/data.db"),
            ("/a/**/x.db", "/a/x.db"), ("/a/**/x.db", "/a/b/c/d/x.db"), ("/**/x.db", "/x.db"),
            ("/a/**/b/**/*.db", "/a/b/x.db"), ("/a/**/b/**/*.db", "/a/1/b/2/3/x.db"), ("/a/?.db", "/a/ü.db"),
            ("/a/[a-c]x.db", "/a/bx.db"), ("/a/[!a-c]x.db", "/a/dx.db"), ("/a/[]]x.db", "/a/]x.db"),
            ("/a/[a-]x.db", "/a/-x.db"), ("/a/*a*b*.db", "/a/xaxbxab.db"), ("/a/x*", "/a/x"), ("/a/\\*.db", "/a/*.db"),
            ("/a/[\\]]x", "/a/]x"), ("/a/x.db", "/a/x.db"), ("/a//x.db", "/a/x.db"), ("/*", "/new\nline"),
        ])
    func match(pattern: String, path: String) throws {
        #expect(try GlobPattern(pattern).matches(path))
    }

    @Test(
        "do not match",
        arguments: [
            ("/var/lib/app/*/data.db", "/var/lib/app/a/b/data.db"), ("/var/lib/app/*/data.db", "/var/lib/app/data.db"),
            ("/a/**/x.db", "/b/x.db"), ("/a/**/x.db", "/a/x.db/y"), ("/a/?.db", "/a/.db"), ("/a/?.db", "/a/xy.db"),
            ("/a/[a-c]x.db", "/a/dx.db"), ("/a/[!a-c]x.db", "/a/bx.db"), ("/a/*a*b*.db", "/a/xbxaxx.db"),
            ("/a/\\*.db", "/a/x.db"), ("/a/x.db", "/a/X.db"), ("/a/**/b/*.db", "/a/b/c/x.db"), ("/a/*", "/a"),
        ])
    func doNotMatch(pattern: String, path: String) throws {
        #expect(try !GlobPattern(pattern).matches(path))
    }

    @Test(
        "the folder without wildcards",
        arguments: [
            ("/var/lib/app/*/data.db", "/var/lib/app"), ("/*.db", "/"), ("/a/b.db", "/a"), ("/a/**/b/*.db", "/a"),
            ("/a\\*b/c?/d.db", "/a*b"),
        ])
    func theFolderWithoutWildcards(pattern: String, folder: String) throws {
        #expect(try GlobPattern(pattern).fixedFolder == folder)
    }

    @Test(
        "what is no pattern is refused",
        arguments: [
            "", "a/*.db", "/", "/a/../b", "/a/./b", "/a/**", "/a/b**/c", "/a/[b", "/a/[b-a]", "/a\\",
            "/" + String(repeating: "a/", count: 70) + "b",
        ])
    func whatIsNoPatternIsRefused(text: String) {
        #expect(throws: GlobError.self) { try GlobPattern(text) }
    }

    @Test("a path as a pattern matches itself alone", arguments: ["/a/*.db", "/a/[b]?.db", "/a\\b/c.db", "/ü/d.db"])
    func aPathAsAPatternMatchesItselfAlone(path: String) throws {
        let pattern = try GlobPattern(path: path)
        #expect(pattern.matches(path))
        #expect(!pattern.matches("/a/x.db"))
    }

    @Test func manyStarsTakeNoTimeToSpeakOf() throws {
        let pattern = try GlobPattern("/" + String(repeating: "*a", count: 50) + "b")
        #expect(!pattern.matches("/" + String(repeating: "a", count: 20_000)))
    }

    /// Against the C library, on random names and patterns of one component.
    @Test func oneNameMatchesAsInTheShell() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var chance = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            let name = chance.text(of: ["a", "b", "."], lengths: 1...7)
            let text = chance.text(of: ["a", "b", ".", "?", "*"], lengths: 1...7)
            guard !text.contains("**") else { continue }
            let isMatch = fnmatch(text, name, 0) == 0
            #expect(try GlobPattern("/x" + text).matches("/x" + name) == isMatch, "\(text) \(name), seed \(seed)")
        }
    }
}

extension SeededGenerator {
    fileprivate mutating func text(of characters: [Character], lengths: ClosedRange<Int>) -> String {
        String((0..<Int.random(in: lengths, using: &self)).map { _ in characters.randomElement(using: &self) ?? "a" })
    }
}
