import Glibc
import MusterSQLite

/// The tables and what must hold in every committed state: the sum of balances is `ledger_head.total`; entries are
/// numbered without a gap up to `ledger_head.sequence`; each one's chain value follows from the one before.
enum Schedule {
    static func initialise(path: String, options: Options) throws {
        let rows = options.number("rows", default: 2000)
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("PRAGMA page_size=\(options.number("page_size", default: 4096))")
        try connection.execute("PRAGMA auto_vacuum=\(options.number("auto_vacuum", default: 0))")
        try connection.execute("PRAGMA journal_mode=\(options.text("journal_mode", default: "wal"))")
        try connection.execute(
            """
            CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER, pad BLOB);
            CREATE TABLE entry(sequence INTEGER PRIMARY KEY, writer, step, chain INTEGER, payload BLOB);
            CREATE TABLE ledger_head(id INTEGER PRIMARY KEY, sequence, chain, total);
            CREATE TABLE attachment(id INTEGER PRIMARY KEY, bytes BLOB);
            CREATE INDEX account_balance ON account(balance);
            BEGIN;
            WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < \(rows))
            INSERT INTO account SELECT id, 1000, randomblob(\(options.number("pad", default: 200))) FROM n;
            INSERT INTO ledger_head VALUES(1, 0, 12345, \(rows * 1000));
            COMMIT
            """)
    }

    /// Opens the database as an application does, with settings that differ from process to process.
    static func open(path: String, options: Options, dice: inout Dice) throws -> SQLiteConnection {
        let connection = try SQLiteConnection(path: path, access: .readWrite, busyTimeoutMilliseconds: 10_000)
        try connection.execute("PRAGMA synchronous=NORMAL")
        // A small cache spills uncommitted pages into the WAL or the file.
        if dice.happens(oneIn: 2) { try connection.execute("PRAGMA cache_size=16") }
        let chosen = options.number("autocheckpoint", default: 0)
        try connection.execute(
            "PRAGMA wal_autocheckpoint=\(chosen > 0 ? chosen : [1000, 1000, 200, 50][dice.roll(4)])")
        return connection
    }
}

/// Moves money, appends entries, churns blobs, rolls back, reconnects.
struct Writer {
    private let path: String
    private let number: Int
    private let pauseMicroseconds: Int
    private let options: Options
    private let ledger: Ledger
    private let leash = Leash()
    private var dice: Dice
    private var step: Int64 = 0
    private var commits: Int64 = 0
    private var rollbacks: Int64 = 0
    private var refusals: Int64 = 0

    init(path: String, options: Options) throws {
        self.path = path
        number = options.number("number", default: 1)
        pauseMicroseconds = options.number("pause", default: 3000)
        self.options = options
        let ledgerPath = options.text("ledger", default: path + ".ledger")
        ledger = Ledger(path: ledgerPath, number: number)
        let committed = Ledger.load(path: ledgerPath, number: number, slot: 1)
        commits = committed
        // A process that was killed does not do the same again.
        dice = Dice(seed: (options.number("seed", default: 1) * 31 + number) * 1_000_003 + Int(committed))
    }

    mutating func run() throws {
        while leash.isHeld { try session() }
    }

    /// Opens the database, works for a while, closes it.
    private mutating func session() throws {
        let connection = try Schedule.open(path: path, options: options, dice: &dice)
        if try connection.text("PRAGMA journal_mode") != "wal" {
            // The rollback modes are each connection's own choice.
            try connection.execute("PRAGMA journal_mode=\(["DELETE", "TRUNCATE", "PERSIST"][dice.roll(3)])")
        }
        let rows = try Int(connection.integer("SELECT count(*) FROM account") ?? 1)
        for _ in 0..<(20 + dice.roll(60)) where leash.isHeld {
            attempt(connection, rows: rows)
            usleep(UInt32(dice.roll(pauseMicroseconds + 1)))
        }
    }

    /// One transaction; whatever stops it is rolled back and counted.
    private mutating func attempt(_ connection: borrowing SQLiteConnection, rows: Int) {
        do {
            try connection.execute("BEGIN IMMEDIATE")
            let sequence = try transact(connection, rows: rows)
            if dice.happens(oneIn: 16) {
                // Big enough to spill before it is taken back.
                try connection.execute("UPDATE account SET pad = randomblob(length(pad)) WHERE id % 7 = 0; ROLLBACK")
                rollbacks += 1
                ledger.store(rollbacks, in: 2)
                return
            }
            try connection.execute("COMMIT")
            commits += 1
            ledger.store(sequence, in: 0)
            ledger.store(commits, in: 1)
        } catch {
            refusals += 1
            ledger.store(refusals, in: 3)
            // It fails where no transaction is open any more, which is what is wanted.
            try? connection.execute("ROLLBACK")
        }
    }

    private mutating func transact(_ connection: borrowing SQLiteConnection, rows: Int) throws -> Int64 {
        let sequence = (try connection.integer("SELECT sequence FROM ledger_head") ?? 0) + 1
        var moved = 0
        let moves = dice.happens(oneIn: 20) ? 400 : 2 + dice.roll(12)
        for move in 0..<moves {
            let amount = move == moves - 1 ? -moved : dice.roll(200) - 100
            moved += amount
            let account = 1 + dice.roll(rows)
            try connection.execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(account)")
        }
        step += 1
        try connection.execute(
            """
            UPDATE ledger_head SET sequence = \(sequence),
                chain = (chain * 48271 + \(sequence) * 69621 + \(number) * 16807 + \(step)) % 2147483647;
            INSERT INTO entry SELECT sequence, \(number), \(step), chain, randomblob(\(dice.roll(300))) FROM ledger_head
            """)
        if dice.happens(oneIn: 4) { try connection.execute("DELETE FROM entry WHERE sequence < \(sequence - 150)") }
        if dice.happens(oneIn: 10) {
            try connection.execute(
                "INSERT OR REPLACE INTO attachment VALUES(\(dice.roll(12)), randomblob(\(dice.roll(120_000))))")
        }
        if dice.happens(oneIn: 15) { try connection.execute("DELETE FROM attachment WHERE id = \(dice.roll(12))") }
        if dice.happens(oneIn: 30) { try connection.execute("PRAGMA incremental_vacuum(20)") }
        return sequence
    }
}

/// Checkpoints in every mode at random.
struct Checkpointer {
    private let path: String
    private let ledger: Ledger
    private let pauseMicroseconds: Int
    private let mode: String
    /// Reads before each checkpoint, from a mapped file: SQLite then unmaps it in the middle of the checkpoint.
    private let maps: Bool
    private let leash = Leash()
    private var dice: Dice
    private var done: Int64 = 0
    private var busy: Int64 = 0

    init(path: String, options: Options) {
        self.path = path
        ledger = Ledger(
            path: options.text("ledger", default: path + ".ledger"), number: options.number("number", default: 5))
        pauseMicroseconds = options.number("pause", default: 30_000)
        mode = options.text("mode", default: "any")
        maps = options.number("maps", default: 0) > 0
        dice = Dice(seed: options.number("seed", default: 1) * 31 + 5)
    }

    mutating func run() throws {
        while leash.isHeld { try session() }
    }

    private mutating func session() throws {
        let connection = try SQLiteConnection(path: path, access: .readWrite, busyTimeoutMilliseconds: 200)
        if maps { try connection.execute("PRAGMA mmap_size=268435456") }
        for _ in 0..<(10 + dice.roll(40)) where leash.isHeld {
            // A read that is refused is tried again before the next checkpoint.
            if maps { _ = try? connection.integer("SELECT sum(balance) FROM account") }
            usleep(UInt32(dice.roll(pauseMicroseconds + 1)))
            let roll = dice.roll(6)
            let mode = mode == "any" ? ["PASSIVE", "FULL", "RESTART", "TRUNCATE", "PASSIVE", "PASSIVE"][roll] : mode
            // A checkpoint that is refused is part of the game.
            let answer = try? connection.integer("PRAGMA wal_checkpoint(\(mode))")
            done += 1
            if answer != 0 { busy += 1 }
            ledger.store(done, in: 0)
            ledger.store(busy, in: 1)
        }
    }
}

/// Rebuilds the whole file now and then.
struct Vacuumer {
    private let path: String
    private let ledger: Ledger
    private let pauseMicroseconds: Int
    private let leash = Leash()
    private var dice: Dice
    private var done: Int64 = 0

    init(path: String, options: Options) {
        self.path = path
        ledger = Ledger(
            path: options.text("ledger", default: path + ".ledger"), number: options.number("number", default: 6))
        pauseMicroseconds = options.number("pause", default: 400_000)
        dice = Dice(seed: options.number("seed", default: 1) * 31 + 6)
    }

    mutating func run() throws {
        while leash.isHeld {
            usleep(UInt32(dice.roll(pauseMicroseconds + 1)))
            do { try vacuum() } catch let error as SQLiteError where error.isTransient { continue }
            done += 1
            ledger.store(done, in: 0)
        }
    }

    private func vacuum() throws {
        let connection = try SQLiteConnection(path: path, access: .readWrite, busyTimeoutMilliseconds: 10_000)
        try connection.execute("VACUUM")
    }
}
