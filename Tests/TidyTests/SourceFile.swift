import Foundation

/// One file of the tree, with what the rules ask about it.
struct SourceFile {
    /// Relative to the checkout, with `/`.
    let path: String
    let lines: [String]
    /// Nil for what is not Swift.
    let swift: SwiftText?

    init(path: String, text: String) {
        self.path = path
        lines = text.components(separatedBy: "\n")
        swift = path.hasSuffix(".swift") ? SwiftText(text) : nil
    }

    /// `MusterModel` for `Sources/MusterModel/Hex.swift`.
    var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    var name: String { path.split(separator: "/").last.map(String.init) ?? "" }
    var isSource: Bool { path.hasPrefix("Sources/") }
    var isTest: Bool { path.hasPrefix("Tests/") }
    var isGenerated: Bool { path.hasSuffix(".pb.swift") }

    func isIn(_ targets: Set<String>) -> Bool { isSource && targets.contains(target) }

    var codeLines: [String] { swift.map { Self.lines(of: $0.code) } ?? [] }
    var literalLines: [String] { swift.map { Self.lines(of: $0.literals) } ?? [] }

    /// The 1-based line of a position in `swift`.
    func line(ofPosition position: Int) -> Int {
        1 + (swift?.code[..<position].count { $0 == .newline } ?? 0)
    }

    private static func lines(of bytes: [UInt8]) -> [String] {
        bytes.split(separator: .newline, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// The checkout that this test was compiled from.
enum Checkout {
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every text file that belongs to the project, in the order of paths.
    static let files: [SourceFile] = {
        let roots = ["Sources", "Tests", "deploy", "proto", ".ci", "README.md", "Package.swift", ".swift-format"]
        return roots.flatMap(paths).sorted().compactMap { path in
            guard let text = text(of: path) else { return nil }
            return SourceFile(path: path, text: text)
        }
    }()

    /// - Returns: nil for what is not UTF-8 text, such as golden bytes.
    static func text(of path: String) -> String? {
        try? String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: root.appending(path: path).path(), isDirectory: &isFolder)
        return exists && isFolder.boolValue
    }

    /// The files at or below `path`, without what a build leaves behind.
    private static func paths(at path: String) -> [String] {
        guard isFolder(path) else { return [path] }
        let below = FileManager.default.enumerator(atPath: root.appending(path: path).path())
        let names = below?.compactMap { $0 as? String } ?? []
        return names.filter { !$0.contains(".build") && !$0.contains("__pycache__") }.map { path + "/" + $0 }
            .filter { !isFolder($0) }
    }
}
