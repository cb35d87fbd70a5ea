import Foundation
import Testing

/// Checks of the source tree itself. Sources/README.md says what they hold it to.
@Suite("The tree is tidy")
struct TidyTests {
    @Test("every file keeps the rule", arguments: Rule.all)
    func everyFileKeepsTheRule(rule: Rule) {
        for violation in Checkout.files.flatMap(rule.check) {
            Issue.record("\(violation)")
        }
    }

    @Test("a file that breaks the rule is refused", arguments: Rule.all)
    func aFileThatBreaksTheRuleIsRefused(rule: Rule) {
        for example in rule.refused {
            #expect(!rule.check(example.file).isEmpty, "\(example.path): \(example.text)")
        }
    }

    @Test("a file that comes close is accepted", arguments: Rule.all)
    func aFileThatComesCloseIsAccepted(rule: Rule) {
        for example in rule.accepted {
            #expect(rule.check(example.file).map(\.message) == [], "\(example.path): \(example.text)")
        }
    }

    /// Without this, a checkout that was not found would keep every rule.
    @Test func theRulesSeeTheTree() {
        let paths = Set(Checkout.files.map(\.path))
        #expect(paths.contains("Package.swift"))
        #expect(paths.contains("Sources/README.md"))
        #expect(paths.contains("Tests/TidyTests/TidyTests.swift"))
        #expect(Checkout.files.count { $0.isSource && $0.swift != nil } > 50)
    }
}

/// Package.swift, the folders and the code map name the same targets.
@Suite("The code map is true")
struct CodeMapTests {
    @Test func everyTargetHasItsFolder() {
        for target in targets(in: Checkout.text(of: "Package.swift") ?? "") {
            let folder = (target.isTest ? "Tests/" : "Sources/") + target.name
            let isThere = Checkout.isFolder(folder) || Checkout.isFolder("Tests/" + target.name)
            #expect(isThere, "target \(target.name) has no folder \(folder)")
        }
    }

    @Test func everyFolderIsATarget() throws {
        let names = Set(targets(in: Checkout.text(of: "Package.swift") ?? "").map(\.name))
        for top in ["Sources", "Tests"] {
            let folders = try FileManager.default.contentsOfDirectory(atPath: Checkout.root.appending(path: top).path())
            for folder in folders where Checkout.isFolder(top + "/" + folder) && folder != "Benchmarks" {
                #expect(names.contains(folder), "\(top)/\(folder) is built by nobody")
            }
        }
    }

    @Test func everyTargetIsOnTheMap() {
        let map = Checkout.text(of: "Sources/README.md") ?? ""
        for target in targets(in: Checkout.text(of: "Package.swift") ?? "") where !target.isTest {
            #expect(map.contains("`\(target.name)`"), "Sources/README.md does not tell what \(target.name) is for")
        }
    }

    @Test func everyPathOnTheMapExists() {
        let map = Checkout.text(of: "Sources/README.md") ?? ""
        let paths = map.matches(of: /`((?:Sources|Tests|deploy|proto)\/[\w.\/+-]+)`/).map { String($0.output.1) }
        #expect(!paths.isEmpty)
        for path in paths {
            let isThere = FileManager.default.fileExists(atPath: Checkout.root.appending(path: path).path())
            #expect(isThere, "Sources/README.md names \(path), which is not there")
        }
    }

    @Test func targetsAreReadFromThePackage() {
        let package = """
            .target(name: "A"), .executableTarget(
                name: "B"), .testTarget(name: "CTests", dependencies: [.target(name: "A")]), .product(name: "D")
            """
        let found = targets(in: package)
        #expect(Set(found.map(\.name)) == ["A", "B", "CTests"])
        #expect(found.filter(\.isTest).map(\.name) == ["CTests"])
    }

    private func targets(in package: String) -> [(name: String, isTest: Bool)] {
        package.matches(of: /\.(target|executableTarget|testTarget)\(\s*name:\s*"(\w+)"/).map { match in
            (String(match.output.2), match.output.1 == "testTarget")
        }
    }
}
