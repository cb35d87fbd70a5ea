/// What the compiler takes on trust is argued for beside it; what only one machine has stays out.
extension Rule {
    static let proofs = [
        Rule(
            "what is unchecked has a comment that proves it",
            refuses: [
                Example("Sources/MusterEngine/A.swift", "final class A: @unchecked Sendable {}\n"),
                Example("Sources/MusterEngine/A.swift", "// Far away.\n\nnonisolated(unsafe) var a = 1\n"),
            ],
            accepts: [
                Example(
                    "Sources/MusterEngine/A.swift",
                    "// All is behind the lock.\n@available(*, noasync)\nfinal class A: @unchecked Sendable {}\n"
                ),
                Example(
                    "Sources/MusterEngine/A.swift",
                    "/// Set once, before any thread starts.\nnonisolated(unsafe) var a = 1\n"),
            ]
        ) { file in
            checkComments(file, above: ["@unchecked", "nonisolated(unsafe)"], onTheLineToo: false)
        },
        Rule(
            "an error that is dropped has a comment that says why",
            refuses: [Example("Sources/MusterEngine/A.swift", "func a() {\n    try? b()\n}\n")],
            accepts: [
                Example("Sources/MusterEngine/A.swift", "    // The file may be gone already.\n    try? b()\n"),
                Example("Sources/MusterEngine/A.swift", "    try? b()  // The file may be gone already.\n"),
                Example(
                    "Sources/MusterEngine/A.swift", "    // Nil means unknown.\n    let c = d(\n        try? b())\n"),
            ]
        ) { file in
            checkComments(file, above: ["try?"], onTheLineToo: true)
        },
    ]

    static let machinePaths = [
        Rule(
            "no path of a machine that built it",
            refuses: ["root", "home/someone", "Users/someone", "work/main", "work/shared", "tmp/dev-someone"].map {
                Example("deploy/try", "cd /\($0)/muster\n")
            } + [Example("Sources/README.md", "see (/" + "root/notes)\n")],
            accepts: [
                Example("Sources/MusterAPI/A.swift", "let route = \"/v1/work/main\"\n"),
                Example("deploy/try", "cd \"$HOME\"; rm -r ./root/ /var/lib/muster/root/\n"),
            ],
            check: checkMachinePaths)
    ]

    /// A comment counts on the line itself, or at most three lines above it with no blank line between.
    private static func checkComments(_ file: SourceFile, above marks: [String], onTheLineToo: Bool) -> [Violation] {
        guard file.isSource, !file.isGenerated else { return [] }
        return file.codeLines.enumerated().compactMap { index, code in
            guard let mark = marks.first(where: code.contains) else { return nil }
            let before = file.lines[max(0, index - 3)..<index].reversed().prefix { !$0.allSatisfy(\.isWhitespace) }
            let comments = onTheLineToo ? Array(before) + [file.lines[index]] : Array(before)
            guard !comments.contains(where: { $0.contains("//") || $0.contains("*/") }) else { return nil }
            return file.violation(line: index + 1, "\(mark) without a comment")
        }
    }

    private static func checkMachinePaths(_ file: SourceFile) -> [Violation] {
        // Built from parts, so that this file does not refuse itself.
        let folders = ["root/", "home/\\w+/", "Users/\\w+/", "work/main", "work/shared", "tmp/dev-"]
        guard let path = try? Regex("(?:^|[\\s\"'`=(:])/(?:" + folders.joined(separator: "|") + ")") else {
            return [file.violation(line: 1, "the rule's own pattern does not parse")]
        }
        return file.lines.enumerated().compactMap { index, line in
            line.contains(path) ? file.violation(line: index + 1, "a path of one machine: \(line)") : nil
        }
    }
}
