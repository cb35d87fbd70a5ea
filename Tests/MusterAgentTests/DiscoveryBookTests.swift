import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("Book of found databases")
struct DiscoveryBookTests {
    private let random = RandomSource.seeded(9)
    private let noon = Timestamp(microseconds: 1_000_000_000)

    private func configuration(_ patterns: String..., databases: [String] = []) throws -> AgentConfiguration {
        var configuration = AgentConfiguration(
            coordinatorURL: "https://c:1", nodeName: "n", nodeID: NodeID(from: random))
        let schedule = try #require(Schedule(every: .seconds(1)))
        configuration.patterns = try patterns.map {
            DatabasePattern(pattern: try GlobPattern($0), schedule: schedule)
        }
        configuration.databases = databases.map {
            ProtectedDatabase(id: DatabaseID(from: random), name: $0, path: "/" + $0, schedule: schedule)
        }
        return configuration
    }

    private func book(_ configuration: AgentConfiguration) -> DiscoveryBook {
        var book = DiscoveryBook([], configuration)
        _ = book.use(configuration)
        return book
    }

    /// What a sweep sees where exactly these files are.
    @discardableResult
    private func see(_ paths: String..., by book: inout DiscoveryBook, at time: Timestamp? = nil)
        -> DiscoveryBook.Changes
    {
        let found = Dictionary(uniqueKeysWithValues: paths.map { (FilePath($0), 0) })
        let missing = book.present.subtracting(found.keys)
        return book.take(found: found, missing: missing, now: time ?? noon, random: random)
    }

    @Test func aDatabaseThatComesBackIsTheSame() throws {
        var book = book(try configuration("/app/*/x.db"))
        let first = see("/app/a/x.db", "/app/b/x.db", by: &book)
        #expect(first.rows.map(\.name) == ["a/x.db", "b/x.db"])
        #expect(book.databases.allSatisfy { $0.isActive })

        let gone = see("/app/b/x.db", by: &book, at: noon + .seconds(5))
        #expect(gone.rows.map(\.vanishedAt) == [noon + .seconds(5)])
        #expect(book.databases.map(\.isActive) == [false, true])
        #expect(see("/app/b/x.db", by: &book, at: noon + .seconds(9)).isEmpty, "it is told once")

        let back = see("/app/a/x.db", "/app/b/x.db", by: &book)
        #expect(back.rows == [first.rows[0]])
        #expect(book.databases.map(\.id) == first.rows.map(\.id))
    }

    @Test func aMovedDatabaseIsANewOne() throws {
        var book = book(try configuration("/app/*/x.db"))
        let id = try #require(see("/app/a/x.db", by: &book).rows.first?.id)
        let moved = see("/app/b/x.db", by: &book)
        #expect(moved.rows.count == 2)
        #expect(moved.rows.first { $0.path == "/app/b/x.db" }?.id != id)
        #expect(moved.rows.first { $0.path == "/app/a/x.db" }?.vanishedAt == noon)
    }

    @Test func twoWaysToWriteOneNameAreTwoDatabases() throws {
        var book = book(try configuration("/app/*.db"))
        let changes = see("/app/\u{e9}.db", "/app/e\u{301}.db", by: &book)
        #expect(Set(changes.rows.map(\.id)).count == 2)
        #expect(Set(changes.rows.map(\.name)).count == 2)
        #expect(see("/app/\u{e9}.db", "/app/e\u{301}.db", by: &book).isEmpty)
    }

    @Test func namesAreUniqueAndStable() throws {
        let long = "/z/app/" + String(repeating: "ä", count: 300) + ".db"
        var book = book(try configuration("/**/app/*.db", "/a/app/*.db", databases: ["x.db"]))
        let two = DatabasePattern(
            pattern: try GlobPattern("/a/app/*.db"), schedule: try #require(Schedule(every: .seconds(1))))
        var narrow = try configuration(databases: ["x.db"])
        narrow.patterns = [two]
        _ = book.use(narrow)
        // The name below the fixed folder is the configuration's.
        #expect(see("/a/app/x.db", by: &book).rows.map(\.name) == ["app/x.db"])
        _ = book.use(try configuration("/**/app/*.db", databases: ["x.db"]))
        let names = see("/a/app/x.db", "/b/app/x.db", long, by: &book).rows.map(\.name)
        #expect(names.contains("b/app/x.db"))
        #expect(names.allSatisfy { (1...255).contains($0.utf8.count) })
        // Another configuration renames nobody, but for who has the name of one that it lists.
        let ids = book.rows.mapValues(\.id)
        let renamed = book.use(try configuration("/**/app/*.db", databases: ["app/x.db"])).rows
        #expect(renamed.map(\.path) == ["/a/app/x.db"])
        #expect(renamed.map(\.name) == ["a/app/x.db"])
        #expect(book.rows.mapValues(\.id) == ids)
        #expect(Set(book.databases.map(\.name)).count == book.databases.count)
    }

    @Test func whatTheConfigurationListsIsNotFoundASecondTime() throws {
        var book = book(try configuration("/*.db"))
        let id = try #require(see("/x.db", by: &book).rows.first?.id)
        _ = book.use(try configuration("/*.db", databases: ["x.db"]))
        #expect(book.databases.map(\.path) == ["/x.db"])
        #expect(book.databases.map(\.id) != [id])
        _ = book.use(try configuration("/*.db"))
        #expect(book.databases.map(\.id) == [id], "it was kept in mind")
    }

    @Test func aPatternThatIsTakenAwayTakesItsDatabasesOffTheBoard() throws {
        let configuration = try configuration("/app/*.db")
        var book = book(configuration)
        let id = try #require(see("/app/x.db", by: &book).rows.first?.id)
        _ = book.use(try self.configuration())
        #expect(book.databases.isEmpty)
        _ = book.use(configuration)
        #expect(book.databases.map(\.id) == [id])
    }

    @Test("paused are", arguments: ["one", "all"])
    func pausedAre(which: String) throws {
        var configuration = try configuration("/app/*.db")
        var book = book(configuration)
        see("/app/x.db", "/app/y.db", by: &book)
        if which == "one" { configuration.patterns[0].pausedPaths = ["/app/x.db"] }
        if which == "all" { configuration.patterns[0].isPaused = true }
        _ = book.use(configuration)
        #expect(book.databases.map(\.isPaused) == [true, which == "all"])
    }

    @Test func whatIsExcludedIsNotCovered() throws {
        let schedule = try #require(Schedule(every: .seconds(1)))
        let pattern = DatabasePattern(
            pattern: try GlobPattern("/app/**/*.db"), schedule: schedule,
            exclude: try ["*.tmp.db", "cache", "/app/a/**", "/app/b/x?.db"].map { try Exclusion($0) })
        for path in ["/app/x.db", "/app/b/y.db", "/app/b/xyz.db", "/app/c/ab.db"] { #expect(pattern.covers(path)) }
        for path in [
            "/app/x.tmp.db", "/app/c/cache/d/x.db", "/app/a/x.db", "/app/a/b/x.db", "/app/b/xy.db", "/app/x.db-wal",
        ] {
            #expect(!pattern.covers(path), "\(path)")
        }
        #expect(throws: GlobError.self) { try Exclusion("a/b") }
        #expect(throws: GlobError.self) { try Exclusion("") }
    }
}
