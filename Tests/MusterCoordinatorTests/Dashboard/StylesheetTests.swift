import Foundation
import Testing

@testable import MusterCoordinator

/// Reads the colours out of the stylesheet and computes what WCAG 2 asks for.
@Suite("Colours of the dashboard")
struct StylesheetTests {
    /// Text and what it stands on.
    static let pairs = [
        ("text", "page"), ("text", "sheet"), ("text", "soft"), ("muted", "page"), ("muted", "sheet"), ("muted", "soft"),
        ("link", "page"), ("link", "sheet"), ("on-accent", "accent"), ("on-proven", "proven"),
        ("on-unproven", "unproven"), ("on-stale", "stale"), ("on-failing", "failing"), ("on-never", "never"),
        ("good-text", "good-soft"), ("calm-text", "calm-soft"), ("warning-text", "warning-soft"),
        ("bad-text", "bad-soft"), ("idle-text", "idle-soft"),
    ]
    /// What must be seen, and what it stands on: section 1.4.11.
    static let shapes = [
        ("line-1", "sheet"), ("line-2", "sheet"), ("focus", "page"), ("focus", "sheet"), ("proven", "sheet"),
        ("unproven", "sheet"), ("failing", "sheet"), ("on-never", "sheet"),
    ]

    @Test("text can be read", arguments: pairs, [false, true])
    func textCanBeRead(pair: (String, String), isDark: Bool) throws {
        let contrast = try Self.contrast(pair.0, pair.1, isDark: isDark)
        #expect(contrast >= 4.5, "\(pair.0) on \(pair.1), dark \(isDark): \(contrast)")
    }

    @Test("shapes can be seen", arguments: shapes, [false, true])
    func shapesCanBeSeen(pair: (String, String), isDark: Bool) throws {
        let contrast = try Self.contrast(pair.0, pair.1, isDark: isDark)
        #expect(contrast >= 3, "\(pair.0) on \(pair.1), dark \(isDark): \(contrast)")
    }

    @Test func nothingComesFromElsewhere() {
        #expect(!Stylesheet.text.contains("url(") && !Stylesheet.text.contains("@import"))
        #expect(PageAsset.style.name.wholeMatch(of: #/muster-[0-9a-f]{16}\.css/#) != nil)
    }

    private static func contrast(_ text: String, _ ground: String, isDark: Bool) throws -> Double {
        let (a, b) = (try luminance(text, isDark), try luminance(ground, isDark))
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)
    }

    /// WCAG 2, relative luminance.
    private static func luminance(_ name: String, _ isDark: Bool) throws -> Double {
        let blocks = Stylesheet.text.components(separatedBy: "@media (prefers-color-scheme: dark)")
        try #require(blocks.count == 2)
        let pattern = try Regex("--\(name): #([0-9a-f]{6});", as: (Substring, Substring).self)
        let match = try #require(blocks[isDark ? 1 : 0].firstMatch(of: pattern), "--\(name)")
        let value = try #require(Int(match.output.1, radix: 16))
        func part(_ shift: Int) -> Double {
            let share = Double(value >> shift & 255) / 255
            return share <= 0.03928 ? share / 12.92 : pow((share + 0.055) / 1.055, 2.4)
        }
        return 0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }
}
