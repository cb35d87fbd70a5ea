/// What fits on a screen can be read.
extension Rule {
    static let longestFile = 400
    static let longestFunction = 60

    static let lengths = [
        Rule(
            "no file is longer than \(longestFile) lines",
            refuses: [
                Example("Sources/MusterModel/A.swift", String(repeating: "let a = 1\n", count: longestFile + 1)),
                Example("Sources/CCurl/shim.c", String(repeating: "int a;\n", count: longestFile + 1)),
                Example("deploy/try", String(repeating: ":\n", count: longestFile + 1)),
            ],
            accepts: [
                Example("Sources/MusterModel/A.swift", String(repeating: "let a = 1\n", count: longestFile)),
                Example("Sources/MusterAPI/A.pb.swift", String(repeating: "let a = 1\n", count: longestFile + 1)),
                Example("proto/format.md", String(repeating: "text\n", count: longestFile + 1)),
            ],
            check: checkFileLength),
        Rule(
            "no function is longer than \(longestFunction) lines",
            refuses: [
                Example("Sources/MusterModel/A.swift", "func a() {\n" + body + "}\n"),
                Example("Sources/MusterModel/A.swift", "    package init(a: Int) throws {\n" + body + "}\n"),
                Example(
                    "Sources/MusterModel/A.swift",
                    "    func a(\n        b: () -> Void = { c() }\n    ) {\n" + body + "}\n"),
                Example("Sources/MusterModel/A.swift", "var a: Int {\n" + body + "}\n"),
                Example("Tests/MusterModelTests/A.swift", "@Test func a() {\n let b = \"}\"\n" + body + "}\n"),
            ],
            accepts: [
                Example(
                    "Sources/MusterModel/A.swift",
                    "protocol A {\n    func a() -> Int\n    var b: Int { get }\n}\nlet c = {\n" + body + "}\n"),
                Example("Sources/MusterModel/A.swift", "func a() {\n}\n" + body),
                Example(
                    "Sources/MusterModel/A.swift",
                    "extension A {\n" + String(repeating: "    func a() {}\n", count: 61) + "}\n"),
            ],
            check: checkFunctionLength),
    ]

    private static let body = String(repeating: "    work()\n", count: longestFunction)

    private static func checkFileLength(_ file: SourceFile) -> [Violation] {
        let isCode = file.swift != nil || [".c", ".h", ".py", ".sh"].contains { file.path.hasSuffix($0) }
        let isScript = !file.name.contains(".") && file.path != "LICENSE"
        let count = file.lines.count - (file.lines.last == "" ? 1 : 0)
        guard isCode || isScript, !file.isGenerated, count > longestFile else { return [] }
        return [file.violation(line: count, "\(count) lines; split it at \(longestFile)")]
    }

    private static func checkFunctionLength(_ file: SourceFile) -> [Violation] {
        guard !file.isGenerated else { return [] }
        return file.functions.filter { $0.lineCount > longestFunction }.map { function in
            file.violation(
                line: function.line, "\(function.lineCount) lines in one function; split it at \(longestFunction)")
        }
    }
}

extension SourceFile {
    /// Functions, initialisers and computed properties that have a body, from signature to closing brace.
    var functions: [(line: Int, lineCount: Int)] {
        guard let code = swift?.code else { return [] }
        return words(of: code).compactMap { start, word in
            guard Self.wordsWithBody.contains(word),
                let open = bodyOpening(code, after: start, isProperty: word == "var")
            else { return nil }
            let (first, last) = (line(ofPosition: start), line(ofPosition: closingBrace(code, of: open)))
            return (first, last - first + 1)
        }
    }

    private static let wordsWithBody: Set = ["func", "init", "deinit", "subscript", "var"]
    /// Where one of these comes before `{`, the declaration had no body.
    private static let wordsOfNextDeclaration: Set = [
        "func", "init", "deinit", "subscript", "var", "let", "case", "static",
    ]

    private func bodyOpening(_ code: [UInt8], after start: Int, isProperty: Bool) -> Int? {
        var depth = 0
        var position = start
        while position < code.count, code[position].isNamePart { position += 1 }
        // `self.init(…)`, `.init(…)`: a call, not a declaration.
        if start > 0, code[start - 1] == UInt8(ascii: ".") { return nil }
        while position < code.count {
            switch code[position] {
            case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "{") where depth == 0: return position
            case UInt8(ascii: "}") where depth == 0: return nil
            case UInt8(ascii: "="), .newline:
                if isProperty, depth == 0 { return nil }
            case let byte where byte.isNamePart && depth == 0:
                let word = code[position...].prefix { $0.isNamePart }
                if Self.wordsOfNextDeclaration.contains(String(decoding: word, as: UTF8.self)) { return nil }
                position += word.count - 1
            default: break
            }
            position += 1
        }
        return nil
    }

    private func closingBrace(_ code: [UInt8], of open: Int) -> Int {
        var depth = 0
        for position in open..<code.count {
            if code[position] == UInt8(ascii: "{") { depth += 1 }
            if code[position] == UInt8(ascii: "}") { depth -= 1 }
            if depth == 0 { return position }
        }
        return code.count - 1
    }

    /// Every name and keyword in the code, with its position.
    func words(of code: [UInt8]) -> [(position: Int, word: String)] {
        var found: [(position: Int, word: String)] = []
        var position = 0
        while position < code.count {
            let word = code[position...].prefix { $0.isNamePart }
            if !word.isEmpty { found.append((position, String(decoding: word, as: UTF8.self))) }
            position += max(word.count, 1)
        }
        return found
    }
}
