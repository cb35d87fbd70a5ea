/// Calls that have one room, or none.
extension Rule {
    static let bannedCalls =
        [
            Rule(
                "only muster prints or exits",
                banning: [
                    "print(", "debugPrint(", "dump(", "exit(", "_exit(", "abort(", "fputs(", "puts(",
                    "FileHandle.standardOutput", "FileHandle.standardError", "STDOUT_FILENO", "STDERR_FILENO",
                ],
                where: { $0.isSource && $0.target != "muster" }, instead: "return it to 'muster', or log it",
                accepts: [
                    "reprint(1)", "// print(1)", "let a = \"print(1)\"", "onExit(1)", "func abort() {}",
                    "upload.abort()",
                ]),
            Rule(
                "the clock is a parameter",
                banning: [
                    "Date()", "Date.now", "Date(timeIntervalSinceNow", "ContinuousClock.now", "ContinuousClock().now",
                    "SuspendingClock", "DispatchTime.now", "NIODeadline.now", "clock_gettime(", "gettimeofday(",
                    "systemUptime",
                ],
                where: isBelowStartUp, instead: "take a clock as a parameter",
                accepts: ["Date(timeIntervalSince1970: 0)", "let a = UpDate()", "a.now()"]),
            Rule(
                "chance is a parameter",
                banning: [
                    "SystemRandomNumberGenerator", ".random(", ".randomElement(", ".shuffled(", "UUID()", "arc4random",
                    "getrandom(", "getentropy(",
                ],
                where: isBelowStartUp, instead: "take a RandomSource as a parameter",
                accepts: ["random.bytes(16)", "UUID(uuidString: a)"]),
            Rule(
                "the environment is read at start-up only",
                banning: ["processInfo.environment", "getenv(", "setenv(", "CommandLine.arguments"],
                where: isBelowStartUp, instead: "take it as a parameter", accepts: ["environment[\"A\"]"]),
            Rule(
                "nothing crashes on purpose",
                banning: ["try!", "as!", "fatalError(", "unsafeBitCast(", "unowned(unsafe)"],
                where: { $0.isSource }, instead: "throw, or state it as a precondition",
                accepts: ["try? a()", "a as? B", "precondition(a)", "preconditionFailure(\"a\")", "let a = !b"]),
            Rule(
                "no test crashes instead of failing",
                banning: ["try!", "as!", "fatalError("],
                where: { $0.isTest }, instead: "throw, or use #require", at: "Tests/MusterModelTests/A.swift"),
            Rule(
                "programs are started by ChildProcess",
                // What these open is inherited by every program that another thread starts at that moment.
                banning: ["Process()", "Foundation.Process", "Pipe()", "posix_spawn(", "popen("],
                where: { $0.path != ownProgram }, instead: "use ChildProcess of MusterTestSupport",
                accepts: ["ChildProcess()", "// Process()"]),
            Rule(
                "sleeping is for loops that poll or back off",
                banning: ["Task.sleep(", "Thread.sleep(", "usleep(", "nanosleep("],
                where: { $0.isSource && placesThatSleep[$0.path] == nil },
                instead: "wait for the event itself, or add the file to placesThatSleep with a reason",
                accepts: ["try await sleep(interval)"]),
        ] + bannedText

    /// What it hands on it names, and what it starts closes all else; it tests nothing.
    private static let ownProgram = "Sources/muster/Commands/OwnProgram.swift"

    /// Files that may sleep, each with the reason.
    private static let placesThatSleep = [
        "Sources/MusterAgent/DirectoryLock.swift": "another process's write of who it is raises no event",
        "Sources/MusterTransfer/TransferLoop.swift": "what the system has too little of comes back without an event",
        "Sources/MusterCoordinator/HTTP/Call.swift": "it waits for a deadline, which is time itself",
        "Sources/MusterModel/Patience.swift": "it waits for a deadline, which is time itself",
        "Sources/MusterServing/BodyPace.swift": "it measures how fast a peer sends, which is time itself",
        "Sources/MusterSQLite/DirectReader.swift": "the release of another process's file lock raises no event",
        "Sources/muster/Commands/Agent/AgentSupervisor.swift":
            "what keeps standing still is started again at a slower pace",
        "Sources/MusterSQLite/Follow/FollowCore.swift": "another process's commit raises no event",
        "Sources/MusterSQLite/Follow/FollowState+Attach.swift":
            "the release of another process's file lock raises no event",
        "Sources/MusterTestSupport/ChildProcess.swift": "the end of a program raises no event that waits with a limit",
        "Sources/MusterSQLite/Follow/FollowState+Leaving.swift": "it waits until the times of files have moved on",
        "Sources/MusterSQLite/WALIndex.swift": "a writer that is storing a header in shared memory raises no event",
        "Sources/muster/Commands/Surroundings.swift": "it hands sleeping on as a parameter",
    ]

    /// Files of the roles that make the clock, the random source and the like, and hand them on.
    private static let startUpFiles: Set<String> = []

    private static func isBelowStartUp(_ file: SourceFile) -> Bool {
        file.isSource && !["muster", "MusterTestSupport"].contains(file.target) && !startUpFiles.contains(file.path)
    }

    private static let bannedText = [
        Rule(
            "no source is opened as immutable or checkpointed",
            refuses: [
                Example("Sources/MusterSQLite/A.swift", "let uri = \"file:a?mode=ro&immutable=1\"\n"),
                Example("Sources/MusterSQLite/A.swift", "execute(\"PRAGMA WAL_Checkpoint(TRUNCATE)\")\n"),
                Example("Sources/MusterSQLite/A.swift", "sqlite3_wal_checkpoint_v2(a, nil, 0, nil, nil)\n"),
            ],
            accepts: [
                Example("Sources/MusterSQLite/A.swift", "// Never immutable=1, never a wal_checkpoint.\n"),
                Example("Tests/StressRig/A.swift", "execute(\"PRAGMA wal_checkpoint\")\n"),
            ],
            check: checkTextAgainstSources),
        Rule(
            "SQL on the catalog stays in MusterCatalog",
            refuses: [
                Example("Sources/MusterCoordinator/A.swift", "let a = \"SELECT id FROM snapshot\"\n"),
                Example("Sources/muster/A.swift", "let a = \"\"\"\n    insert into pack (id) values (?)\n    \"\"\"\n"),
                Example("Sources/MusterEngine/A.swift", "let a = \"DELETE FROM pack\"\n"),
            ],
            accepts: [
                Example("Sources/MusterCatalog/A.swift", "let a = \"SELECT id FROM snapshot\"\n"),
                Example("Sources/MusterAgent/State/A.swift", "let a = \"UPDATE head SET sequence = ?\"\n"),
                Example("Sources/muster/A.swift", "let a = \"select a snapshot to restore\"\n"),
            ],
            check: checkSQL),
    ]

    private static func checkTextAgainstSources(_ file: SourceFile) -> [Violation] {
        guard file.isSource else { return [] }
        return zip(file.codeLines, file.literalLines).enumerated().compactMap { index, parts in
            let text = (parts.0 + parts.1).lowercased()
            guard let word = ["immutable=1", "wal_checkpoint"].first(where: text.contains) else { return nil }
            return file.violation(line: index + 1, "\(word) would change or misread the application's database")
        }
    }

    /// Targets that speak SQL to files other than the catalog: the sources, and the agent's state.db.
    private static let targetsWithSQL: Set = ["MusterCatalog", "MusterSQLite", "MusterAgent"]

    private static func checkSQL(_ file: SourceFile) -> [Violation] {
        guard file.isSource, !targetsWithSQL.contains(file.target) else { return [] }
        let statement =
            /\b(select\b.*\bfrom|insert\s+(or\s+\w+\s+)?into|update\s+\w+\s+set|delete\s+from|create\s+table)\b/
            .ignoresCase()
        return file.literalLines.enumerated().compactMap { index, line in
            guard line.contains(statement), !line.contains(/\bselect an?\s/) else { return nil }
            return file.violation(line: index + 1, "SQL outside MusterCatalog")
        }
    }

    /// A rule against words in code; each word is its own example of what is refused.
    private init(
        _ description: String, banning words: [String], where applies: @escaping @Sendable (SourceFile) -> Bool,
        instead: String, accepts: [String] = [], at path: String = "Sources/MusterEngine/A.swift"
    ) {
        self.init(
            description,
            refuses: words.map { Example(path, "let a = \($0)\n") },
            accepts: accepts.map { Example(path, $0 + "\n") }
        ) { file in
            guard applies(file), let code = file.swift?.code else { return [] }
            return words.flatMap { word in
                code.positions(of: word).map { position in
                    file.violation(line: file.line(ofPosition: position), "\(word) is banned here: \(instead)")
                }
            }
        }
    }
}

extension [UInt8] {
    /// Where `word` stands by itself: not as part of a longer name, and a call not as one of a member.
    func positions(of word: String) -> [Int] {
        let wanted = Array(word.utf8)
        guard let first = wanted.first, let last = wanted.last else { return [] }
        var found: [Int] = []
        var rest = self[...]
        while let start = rest.firstIndex(of: first) {
            rest = self[(start + 1)...]
            let end = start + wanted.count
            guard end <= count, self[start..<end].elementsEqual(wanted) else { continue }
            let isStart = start == 0 || !first.isNamePart || !self[start - 1].isNamePart
            let isEnd = end == count || !last.isNamePart || !self[end].isNamePart
            let isMember = start > 0 && self[start - 1] == UInt8(ascii: ".") && word.contains("(") && first.isNamePart
            let isDeclaration = self[..<start].suffix(5).elementsEqual("func ".utf8)
            if isStart, isEnd, !isMember, !isDeclaration { found.append(start) }
        }
        return found
    }
}
