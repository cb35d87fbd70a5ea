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

    /// One suite says what a store is: no kind of store and no wrapper is left out of it.
    @Test func everyStoreIsInTheConformanceSuite() {
        let stores = Checkout.files.filter(\.isSource).flatMap(\.codeLines).compactMap { line in
            line.firstMatch(of: /(?:class|struct|actor) (\w+): Store\b/).map { String($0.output.1) }
        }
        #expect(stores.count >= 6, "\(stores)")
        let suites = Checkout.files.filter { file in
            file.isTest && file.codeLines.contains { $0.contains("StoreConformance.claims") }
        }.flatMap(\.codeLines)
        for store in stores {
            #expect(suites.contains { $0.contains(store) }, "no suite runs StoreConformance on \(store)")
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
        for target in PackageTarget.all(in: Checkout.text(of: "Package.swift") ?? "") {
            #expect(Checkout.isFolder(target.folder), "target \(target.name) has no folder \(target.folder)")
        }
    }

    @Test func everyFolderIsATarget() throws {
        let built = Set(PackageTarget.all(in: Checkout.text(of: "Package.swift") ?? "").map(\.folder))
        for top in ["Sources", "Tests"] {
            let names = try FileManager.default.contentsOfDirectory(atPath: Checkout.root.appending(path: top).path())
            // Benchmarks are driven by scripts.
            for folder in names.map({ top + "/" + $0 }) where Checkout.isFolder(folder) && folder != "Tests/Benchmarks"
            {
                #expect(built.contains(folder), "\(folder) is built by nobody")
            }
        }
    }

    @Test func everyTargetIsOnTheMap() {
        let map = Checkout.text(of: "Sources/README.md") ?? ""
        for target in PackageTarget.all(in: Checkout.text(of: "Package.swift") ?? "") where !target.isTest {
            let isOnMap = map.contains("`\(target.name)`") || map.contains("`\(target.folder)`")
            #expect(isOnMap, "Sources/README.md does not tell what \(target.name) is for")
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
                name: "a-tool", path: "Tests/Tool"),
            .testTarget(name: "CTests", dependencies: [.target(name: "A")]), .product(name: "D")
            """
        let found = PackageTarget.all(in: package)
        #expect(Set(found.map(\.folder)) == ["Sources/A", "Tests/Tool", "Tests/CTests"])
        #expect(found.filter(\.isTest).map(\.name) == ["CTests"])
    }
}

/// A target as Package.swift declares it.
struct PackageTarget {
    let name: String
    let folder: String
    let isTest: Bool

    static func all(in package: String) -> [PackageTarget] {
        let starts = package.matches(of: /\.(target|executableTarget|testTarget)\(\s*name:\s*"([\w-]+)"/)
        let ends = starts.dropFirst().map(\.range.lowerBound) + [package.endIndex]
        return zip(starts, ends).map { start, end in
            let isTest = start.output.1 == "testTarget"
            let path = package[start.range.upperBound..<end].firstMatch(of: /path:\s*"([^"]+)"/)
            return PackageTarget(
                name: String(start.output.2),
                folder: path.map { String($0.output.1) } ?? (isTest ? "Tests/" : "Sources/") + start.output.2,
                isTest: isTest)
        }
    }
}
