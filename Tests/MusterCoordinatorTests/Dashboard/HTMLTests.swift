import MusterModel
import Testing

@testable import MusterCoordinator

@Suite("HTML of the dashboard")
struct HTMLTests {
    static let hostile = [
        "\"><script>alert(1)</script>", "'><img src=x onerror=alert(1)>", "</title><script>", "<!--", "&lt;b&gt;",
        "a\u{0}b\u{1B}[31m", "javascript:alert(1)", "\u{202E}evil",
    ]

    @Test("no text becomes markup", arguments: hostile)
    func noTextBecomesMarkup(text: String) {
        let piece = tag("p", .of(.title, text), .label(text)) {
            text
            tag("b") { text }
        }
        let markup = piece.markup
        #expect(markup.filter { $0 == "<" }.count == 4, "\(markup)")
        #expect(markup.filter { $0 == "\"" }.count == 4, "\(markup)")
        #expect(!markup.unicodeScalars.contains { $0.value < 0x20 }, "\(markup)")
        #expect(!markup.contains("'"))
    }

    @Test func escapingKeepsWhatItEscapes() {
        #expect(HTML.text("a < b & \"c\" 'd' > é\n").markup == "a &lt; b &amp; &quot;c&quot; &#39;d&#39; &gt; é\n")
    }

    @Test("no part of an address leaves its place", arguments: hostile)
    func noPartOfAnAddressLeavesItsPlace(text: String) {
        let path = PagePath("nodes", text, query: ["find": text, "empty": "", "none": nil]).description
        #expect(path.hasPrefix("/nodes/"))
        #expect(path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/?=%-._~".contains($0)) }, "\(path)")
        #expect(path.split(separator: "/").count == 2 && path.filter { $0 == "?" }.count == 1)
        #expect(!path.contains("empty") && !path.contains("none"))
    }

    @Test func addressesWithoutSegmentsAreTheFleetOrThisPage() {
        #expect(PagePath().description == "/")
        #expect(PagePath.here("main").description == "#main")
        #expect(PagePath(query: ["state": "stale"], fragment: "databases").description == "/?state=stale#databases")
    }

    @Test func attributesThatAreNotThereAreLeftOut() {
        #expect(emptyTag("input", .of(.value, nil), .flag(.disabled, if: false)).markup == "<input>")
        #expect(emptyTag("input", .flag(.disabled, if: true)).markup == "<input disabled>")
    }

    @Test(
        "figures are short and exact",
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1 << 20, "1 MiB"),
            (1_048_575, "1 MiB"), (123 << 20, "123 MiB"), (5 << 40, "5 TiB"), (-1, "0 B"),
        ])
    func figuresAreShortAndExact(bytes: Int, text: String) {
        #expect(PageText.bytes(Int64(bytes)) == text)
    }

    @Test(
        "spans have two units",
        arguments: [
            (Duration.zero, "0 s"), (.milliseconds(12), "12 ms"), (.seconds(59), "59 s"), (.seconds(61), "1 min 1 s"),
            (.seconds(3600), "1 h"), (.seconds(7300), "2 h 1 min"), (.seconds(50 * 3600), "2 d 2 h"),
            (.seconds(40 * 86_400 + 5), "40 d"),
        ])
    func spansHaveTwoUnits(span: Duration, text: String) { #expect(PageText.span(span) == text) }

    @Test func aShareIsAllOnlyWhereItIsAll() {
        #expect(PageText.share(999, of: 1000) == "99 %")
        #expect(PageText.share(1, of: 1000) == "1 %")
        #expect(PageText.share(1000, of: 1000) == "100 %")
        #expect(PageText.share(0, of: 1000) == "0 %" && PageText.share(0, of: 0) == "0 %")
    }
}
