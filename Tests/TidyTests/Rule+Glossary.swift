import Foundation

/// One word, one meaning: the words of the glossary, and those that it replaces.
extension Rule {
    static let glossary = [
        Rule(
            "names use the words of the glossary",
            refuses: [
                Example("Sources/MusterStore/A.swift", "package protocol StorageBackend {}\n"),
                Example("Sources/MusterStore/A.swift", "struct RemoteStore {}\n"),
                Example("Sources/MusterEngine/A.swift", "func readData(at: Int) {}\n"),
                Example("Sources/MusterEngine/A.swift", "enum PackInfo {}\n"),
                Example("Sources/MusterEngine/A.swift", "package actor PackManager {}\n"),
                Example("Sources/MusterEngine/A.swift", "final class PathHelper {}\n"),
                Example("Sources/MusterEngine/A.swift", "typealias IDUtils = Int\n"),
                Example("Sources/MusterEngine/BackupUtil.swift", "\n"),
                Example("Sources/MusterAgent/Helpers/A.swift", "\n"),
                Example("Sources/MusterAgent/A.swift", "struct HostName {}\n"),
                Example("Sources/MusterCoordinator/A.swift", "struct ConnectedClient {}\n"),
                Example("Sources/MusterCoordinator/A.swift", "func pruneSnapshots() {}\n"),
                Example("Tests/MusterEngineTests/A.swift", "struct TestUtils {}\n"),
            ],
            accepts: [
                Example("Sources/MusterEngine/A.swift", "func bytes(of file: Data) -> Data { Data() }\n"),
                Example("Sources/MusterEngine/A.swift", "struct Database {}\nlet metadata = 1\nlogger.info(\"a\")\n"),
                Example("Sources/MusterAPI/CoordinatorClient.swift", "package actor CoordinatorClient {}\n"),
                Example("Sources/MusterCoordinator/A.swift", "struct ClientCertificate {}\nfunc client() {}\n"),
                Example("Sources/MusterAPI/A.pb.swift", "struct DataInfo {}\n"),
            ],
            check: checkWords),
        Rule(
            "verbs say what is done",
            refuses: [
                Example("Sources/MusterCoordinator/A.swift", "func handleCommit() {}\n"),
                Example("Sources/MusterEngine/A.swift", "func processPack() {}\n"),
                Example("Sources/MusterEngine/A.swift", "func doBackup() {}\n"),
            ],
            accepts: [
                Example("Sources/MusterSQLite/A.swift", "let handle = 1\nfunc closeHandle() {}\nfunc document() {}\n"),
                Example("Sources/MusterSQLite/A.swift", "struct ProcessID {}\nfunc processes() {}\n"),
                // The name is Hummingbird's: a requirement of RouterMiddleware.
                Example("Sources/MusterCoordinator/A.swift", "func handle(_ request: Request) {}\n"),
            ],
            check: checkVerbs),
    ]

    /// What to say instead.
    private static let replacements: [String: String] = [
        "backend": "store", "backends": "stores", "remote": "store, node or coordinator", "data": "what it is of",
        "info": "what it tells", "infos": "what it tells", "manager": "what it does", "helper": "what it does",
        "helpers": "what they do", "util": "what it does", "utils": "what they do", "utilities": "what they do",
        "host": "node", "hosts": "nodes", "client": "node", "clients": "nodes", "prune": "expire or gc",
        "common": "what it is of", "misc": "what it is of",
    ]

    /// Names in which such a word means something else than what the glossary replaces.
    private static let exceptions: Set = ["CoordinatorClient", "ClientCertificate", "HTTPClient"]

    /// Right in the name of a function or a variable: `func client(at url: String) -> CoordinatorClient`.
    private static let bannedInTypesOnly: Set = ["client", "clients", "host", "hosts"]

    private static func checkWords(_ file: SourceFile) -> [Violation] {
        guard file.isSource || file.isTest, !file.isGenerated else { return [] }
        let path = file.path.split(separator: "/").dropFirst(2).map { (line: 1, name: withoutExtension(String($0))) }
        return (path + file.declaredNames).compactMap { line, name in
            let cleared = exceptions.reduce(name) { $0.replacing($1, with: "") }
            let isType = name.first?.isUppercase == true
            let word = camelWords(of: cleared).first { word in
                replacements[word] != nil && (isType || !bannedInTypesOnly.contains(word))
            }
            guard let word, let replacement = replacements[word] else { return nil }
            return file.violation(line: line, "'\(name)' holds the word '\(word)'; say \(replacement)")
        }
    }

    private static let emptyVerbs: Set = ["handle", "process", "do"]

    private static func checkVerbs(_ file: SourceFile) -> [Violation] {
        guard file.isSource, !file.isGenerated else { return [] }
        return file.declaredNames.compactMap { line, name in
            guard let verb = camelWords(of: name).first, emptyVerbs.contains(verb), name.first?.isLowercase == true,
                !(name == "handle" && file.target == "MusterCoordinator")
            else { return nil }
            return file.violation(line: line, "'\(name)' starts with '\(verb)'; say what is done")
        }
    }

    private static func withoutExtension(_ name: String) -> String {
        name.split(separator: ".").first.map(String.init) ?? name
    }

    /// `readPackID` gives read, pack, id; `SHA256Tree` gives sha256, tree.
    static func camelWords(of name: String) -> [String] {
        var words: [String] = []
        let letters = Array(name)
        for (index, letter) in letters.enumerated() {
            let previous = index > 0 ? letters[index - 1] : "_"
            let next = index + 1 < letters.count ? letters[index + 1] : "_"
            let startsWord =
                letter.isUppercase && (!previous.isUppercase || next.isLowercase)
                || !previous.isLetter && !previous.isNumber
            if startsWord || words.isEmpty { words.append("") }
            if letter.isLetter || letter.isNumber { words[words.count - 1].append(letter.lowercased()) }
        }
        return words.filter { !$0.isEmpty }
    }
}

extension SourceFile {
    /// Types and functions that the file declares.
    var declaredNames: [(line: Int, name: String)] {
        guard let code = swift?.code else { return [] }
        let words = words(of: code)
        return zip(words, words.dropFirst()).compactMap { keyword, name in
            guard Self.declaring.contains(keyword.word), !Self.declaring.contains(name.word),
                code[(keyword.position + keyword.word.utf8.count)..<name.position].allSatisfy({ $0 == .space })
            else { return nil }
            return (line(ofPosition: name.position), name.word)
        }
    }

    private static let declaring: Set = ["struct", "class", "enum", "protocol", "actor", "typealias", "func"]
}
