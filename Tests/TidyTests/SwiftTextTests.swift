import Testing

/// The rules are as good as the text that they are shown.
@Suite("Swift text is taken apart")
struct SwiftTextTests {
    struct Sample: Sendable {
        let source: String
        let code: String
        let literals: String
    }

    static let samples = [
        Sample(source: "a // b", code: "a     ", literals: "      "),
        Sample(
            source: "a /* b /* c */ d */ e", code: "a                   e", literals: "                     "),
        Sample(source: #"a "b" c"#, code: "a     c", literals: "   b   "),
        Sample(source: #"a "\"b" c"#, code: "a       c", literals: "     b   "),
        Sample(source: #"a "b\(c(d) + "e")f" g"#, code: "a     c(d) +        g", literals: "   b          e  f   "),
        Sample(source: ##"a #"b"\(c)"# d"##, code: "a            d", literals: #"    b"\(c)    "#),
        Sample(source: "\"\"\"\na \"b\"\n\"\"\" + c", code: "   \n     \n    + c", literals: "   \na \"b\"\n       "),
        Sample(source: #"(/"/, b)"#, code: "(   , b)", literals: "        "),
        Sample(source: #"#/"/"/# b"#, code: "        b", literals: "         "),
        Sample(source: "a / b / c", code: "a / b / c", literals: "         "),
    ]

    @Test("code and literals are told apart", arguments: samples)
    func codeAndLiteralsAreToldApart(sample: Sample) {
        let text = SwiftText(sample.source)
        #expect(String(decoding: text.code, as: UTF8.self) == sample.code)
        #expect(String(decoding: text.literals, as: UTF8.self) == sample.literals)
    }

    @Test(
        "names fall into words",
        arguments: [
            ("readPackID", ["read", "pack", "id"]), ("SHA256Tree", ["sha256", "tree"]),
            ("WALReader", ["wal", "reader"]),
            ("Database", ["database"]), ("Node+Data", ["node", "data"]), ("try.d", ["try", "d"]),
        ])
    func namesFallIntoWords(name: String, words: [String]) {
        #expect(Rule.camelWords(of: name) == words)
    }
}
