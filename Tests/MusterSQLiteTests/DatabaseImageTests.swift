import Foundation
import StressRig
import Testing

@testable import MusterSQLite

@Suite("Database image")
struct DatabaseImageTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("image.db")
    }

    private func make(_ sql: String) throws {
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute(sql)
    }

    private static let rows = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000)
        INSERT INTO t SELECT i, 'row ' || i FROM n
        """

    @Test("opening an image makes no files, reads no stale -wal, and refuses writes")
    func openingAnImageMakesNoFiles() throws {
        try make("PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b); \(Self.rows)")
        #expect(sidecars(of: path).isEmpty)
        try Data("stale".utf8).write(to: URL(fileURLWithPath: path + "-wal"))
        let image = try DatabaseImage(path: path)
        #expect(try image.connection.integer("SELECT sum(a) FROM t") == 2_001_000)
        #expect(try image.integrityCheck().isEmpty)
        #expect(throws: SQLiteError.self) { try image.connection.execute("INSERT INTO t VALUES(0, 'x')") }
        #expect(sidecars(of: path) == [path + "-wal"])
    }

    @Test("damage is found", arguments: [100, 20, 20_000])
    func damageIsFound(offset: UInt64) throws {
        try make("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t(b); \(Self.rows)")
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: offset)
        try file.write(contentsOf: Data(repeating: 0x5a, count: 64))
        try file.close()
        #expect(try DatabaseImage(path: path).integrityCheck().isEmpty == false)
    }

    @Test("an integrity check ends when it is told to")
    func anIntegrityCheckEndsWhenToldTo() throws {
        try make("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t(b); \(Self.rows)")
        let image = try DatabaseImage(path: path)
        do {
            _ = try image.integrityCheck(shouldStop: { true })
            Issue.record("it did not end")
        } catch {
            #expect(error.isInterrupted)
        }
        #expect(try image.integrityCheck().isEmpty, "the connection is of use again")
    }

    private final class Failing: PageSource {
        struct Broken: Error {}
        let byteCount: UInt64 = 8192
        func read(at offset: UInt64, into bytes: inout MutableRawSpan) throws { throw Broken() }
    }

    @Test("a source that fails is an I/O error, not an empty database")
    func aFailingSourceIsAnError() throws {
        do {
            _ = try DatabaseImage(Failing()).integrityCheck()
            Issue.record("it was sound")
        } catch { #expect(error.primaryCode == 10) }
    }

    @Test("the inventory tells what is there")
    func theInventoryTellsWhatIsThere() throws {
        try make(
            """
            PRAGMA page_size=1024; PRAGMA auto_vacuum=2; PRAGMA encoding='UTF-16le'; PRAGMA user_version=-3;
            PRAGMA application_id=77; CREATE TABLE t(a INTEGER PRIMARY KEY, b); \(Self.rows);
            CREATE TABLE counted(a); CREATE INDEX ci ON counted(a); INSERT INTO counted VALUES(1),(2),(3); ANALYZE;
            CREATE TABLE bare(k PRIMARY KEY) WITHOUT ROWID; CREATE VIEW v AS SELECT * FROM t;
            CREATE TABLE "odd ""name"(a);
            CREATE VIRTUAL TABLE f USING fts5(x);
            CREATE TABLE trap(RowID, oid, _rowid_); INSERT INTO trap SELECT a, a, a FROM t;
            CREATE TABLE decoy(rowid); INSERT INTO decoy VALUES(99), (98);
            DELETE FROM t WHERE a > 1500
            """)
        let capture = try pinned(path)
        let inventory = try capture.inventory()
        #expect(inventory.userVersion == -3 && inventory.applicationID == 77)
        #expect(inventory.journalMode == "delete" && inventory.autoVacuum == .incremental)
        #expect(inventory.encoding == "UTF-16le" && inventory.pageSize == 1024)
        #expect(inventory.pageCount == capture.pageCount && inventory.freePageCount > 0)
        #expect((inventory.lastWriterVersion ?? 0) > 3_030_000)
        let rows = Dictionary(uniqueKeysWithValues: inventory.tables.map { ($0.name, $0.estimatedRows) })
        #expect(rows["t"] == 2000 && rows["counted"] == 3 && rows["bare"] == .some(nil) && rows["odd \"name"] == 0)
        #expect(rows["trap"] == .some(nil) && rows["decoy"] == 2, "a column that hides the rowid is not asked")
        #expect(rows["v"] == nil && rows["f"] == nil && rows["f_content"] != nil)
        let schema = String(decoding: try #require(inventory.canonicalSchema), as: UTF8.self)
        #expect(schema.contains("CREATE VIEW v AS SELECT * FROM t"))
        try capture.finish()
    }

    @Test("the schema's text survives a VACUUM and sees a change")
    func theCanonicalSchema() throws {
        try make("CREATE TABLE t(a); CREATE TABLE u(a); CREATE INDEX i ON u(a)")
        let first = try schema()
        try make("DROP INDEX i; CREATE INDEX i ON u(a); VACUUM")
        #expect(try schema() == first)
        try make("ALTER TABLE u ADD COLUMN b")
        #expect(try schema() != first)
    }

    private func schema() throws -> [UInt8] {
        let capture = try pinned(path)
        defer { capture.abandon() }
        return try #require(try capture.inventory().canonicalSchema)
    }
}
