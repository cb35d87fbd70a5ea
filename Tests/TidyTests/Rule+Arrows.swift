/// The arrows of the code map: who may import whom, and which target owns a library.
extension Rule {
    static let arrows = [
        Rule(
            "imports follow the arrows",
            refuses: [
                Example("Sources/MusterModel/A.swift", "import MusterSQLite\n"),
                Example("Sources/MusterEngine/Backup/A.swift", "package import MusterAPI\n"),
                Example("Sources/MusterAgent/A.swift", "import struct MusterCoordinator.Coordinator\n"),
                Example("Sources/MusterAgent/A.swift", "@preconcurrency import CSQLite\n"),
                Example("Sources/NewRoom/A.swift", "import MusterModel\n"),
            ],
            accepts: [
                Example("Sources/MusterEngine/A.swift", "package import MusterStore\nimport Foundation\n"),
                Example("Sources/MusterModel/A.swift", "// import MusterSQLite\nlet a = \"import MusterAPI\"\n"),
                Example("Tests/MusterEngineTests/A.swift", "@testable import MusterAgent\n"),
            ],
            check: checkArrows),
        Rule(
            "one target imports each library",
            refuses: [
                Example("Sources/MusterCoordinator/A.swift", "import GRDB\n"),
                Example("Sources/MusterEngine/A.swift", "internal import NIOSSL\n"),
                Example("Sources/MusterCatalog/A.swift", "import SQLite3\n"),
            ],
            accepts: [Example("Sources/MusterCatalog/A.swift", "package import GRDB\n")],
            check: checkLibraries),
    ]

    /// Layer by layer, as drawn in Sources/README.md.
    static let importsOfOurs: [String: Set<String>] = {
        var table: [String: Set<String>] = [
            "CSQLite": [], "CCrypto": [], "CZstd": [], "CCurl": [],
            "MusterModel": [],
            "MusterSQLite": ["CSQLite", "MusterModel"],
            "MusterFormat": ["CCrypto", "CZstd", "MusterModel"],
            "MusterTransfer": ["CCurl", "MusterModel"],
            "MusterServing": [],
            "MusterAPI": ["MusterModel", "MusterTransfer"],
            "MusterStore": ["MusterModel", "MusterTransfer"],
            "MusterCatalog": ["MusterModel"],
            "MusterEngine": ["MusterModel", "MusterSQLite", "MusterFormat", "MusterStore"],
        ]
        let engineAndBelow: Set = [
            "MusterModel", "MusterSQLite", "MusterFormat", "MusterTransfer", "MusterAPI", "MusterStore", "MusterEngine",
        ]
        table["MusterAgent"] = engineAndBelow.union(["MusterServing"])
        table["MusterCoordinator"] = engineAndBelow.union(["MusterServing", "MusterCatalog"])
        table["MusterTestSupport"] = engineAndBelow.union(["MusterCatalog", "MusterAgent", "MusterCoordinator"])
        table["muster"] = engineAndBelow.union(["MusterAgent", "MusterCoordinator"])
        return table
    }()

    /// Libraries with a room of their own; every other library may be imported where Package.swift says so.
    private static let roomsOfLibraries: [String: Set<String>] = [
        // The catalog, and the agent's own state.db.
        "GRDB": ["MusterCatalog", "MusterAgent"],
        "GRDBSQLite": [], "SQLite3": [],
        "CoreMetrics": ["MusterCoordinator", "MusterAgent", "MusterServing"],
        "Hummingbird": ["MusterCoordinator", "MusterAgent", "MusterServing"],
        "HummingbirdTLS": ["MusterCoordinator", "MusterAgent"],
        "NIOSSL": ["MusterCoordinator", "MusterAgent", "MusterServing"], "NIOPosix": ["MusterCoordinator"],
        "ArgumentParser": ["muster"],
        "FoundationNetworking": [],
    ]

    private static func checkArrows(_ file: SourceFile) -> [Violation] {
        guard file.isSource, file.swift != nil else { return [] }
        guard let allowed = importsOfOurs[file.target] else {
            return [file.violation(line: 1, "\(file.target) is in no layer; add it to the table of Rule+Arrows.swift")]
        }
        return file.imports.compactMap { line, module in
            guard importsOfOurs[module] != nil, !allowed.contains(module) else { return nil }
            return file.violation(line: line, "\(file.target) imports \(module); it may import \(allowed.sorted())")
        }
    }

    private static func checkLibraries(_ file: SourceFile) -> [Violation] {
        guard file.isSource else { return [] }
        return file.imports.compactMap { line, module in
            guard let rooms = roomsOfLibraries[module], !rooms.contains(file.target) else { return nil }
            return file.violation(line: line, "only \(rooms.sorted()) may import \(module)")
        }
    }
}

extension SourceFile {
    /// The modules that the file imports, whatever attributes, access and kind stand around them.
    var imports: [(line: Int, module: String)] {
        codeLines.enumerated().compactMap { index, line in
            let words = line.split(separator: " ").map(String.init)
            guard let place = words.firstIndex(of: "import"), words[..<place].allSatisfy(isImportPrefix) else {
                return nil
            }
            var rest = words[(place + 1)...]
            if let kind = rest.first, Self.importKinds.contains(kind) { rest = rest.dropFirst() }
            guard let module = rest.first?.split(whereSeparator: { ".;".contains($0) }).first else { return nil }
            return (index + 1, String(module))
        }
    }

    private static let importKinds: Set = [
        "struct", "class", "enum", "protocol", "func", "var", "let", "typealias", "actor",
    ]

    private func isImportPrefix(_ word: String) -> Bool {
        word.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains(word)
    }
}
