#!/usr/bin/env python3
"""An application with a live database, for deploy/try. Python's standard library only.

writer.py make DB --journal wal|delete --page-size N    a new database
writer.py write DB [--pause SECONDS]                    transactions until told to stop (SIGTERM)
writer.py top DB                                        the number of the newest transaction
writer.py check DB [--from N] [--to N]                  is this one committed state of it?

Each transaction moves an amount between two accounts and appends the next row
of the ledger. So in every committed state, and in no other, the balances add
up to what they were, the ledger has no gap, and each balance is its start
plus what the ledger says.
"""
import argparse
import random
import signal
import sqlite3
import sys
import time

ACCOUNTS, START = 500, 10_000


def connect(path):
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def make(options):
    connection = connect(options.db)
    connection.execute(f"PRAGMA page_size = {options.page_size}")
    connection.execute(f"PRAGMA journal_mode = {options.journal}")
    connection.executescript(
        """CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
        CREATE TABLE ledger (seq INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER, note TEXT);
        CREATE INDEX ledger_source ON ledger (source);"""
    )
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO account VALUES (?, ?)", ((n, START) for n in range(1, ACCOUNTS + 1)))
    chance = random.Random(options.db)
    for _ in range(options.rows):
        transfer(connection, chance)
    connection.execute("COMMIT")


def transfer(connection, chance):
    source, target = chance.sample(range(1, ACCOUNTS + 1), 2)
    amount, note = chance.randrange(1, 100), chance.randbytes(100).hex()
    connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
    connection.execute("INSERT INTO ledger SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, ? FROM ledger",
                       (source, target, amount, note))
    connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))


def write(options):
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    connection, chance = connect(options.db), random.Random()
    # Checkpoints much more often than an application would: the harder case for a backup.
    connection.execute("PRAGMA wal_autocheckpoint = 40")
    while not stop:
        connection.execute("BEGIN IMMEDIATE")
        transfer(connection, chance)
        connection.execute("COMMIT")
        time.sleep(options.pause)


def top(options):
    print(connect(options.db).execute("SELECT max(seq) FROM ledger").fetchone()[0])


def check(options):
    connection = sqlite3.connect(options.db)
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    count, newest = connection.execute("SELECT count(*), max(seq) FROM ledger").fetchone()
    total = connection.execute("SELECT sum(balance) FROM account").fetchone()[0]
    wrong = connection.execute(
        """WITH moved AS (SELECT source AS id, -amount AS amount FROM ledger UNION ALL
                          SELECT target, amount FROM ledger),
                due AS (SELECT id, sum(amount) AS amount FROM moved GROUP BY id)
           SELECT count(*) FROM account LEFT JOIN due USING (id) WHERE balance <> ? + coalesce(amount, 0)""",
        (START,)).fetchone()[0]
    if count != newest:
        problems.append(f"the ledger has {count} rows up to {newest}")
    if total != ACCOUNTS * START:
        problems.append(f"the balances add up to {total}, not {ACCOUNTS * START}")
    if wrong:
        problems.append(f"{wrong} balances are not what the ledger says")
    if newest < options.first or (options.last and newest > options.last):
        problems.append(f"the newest transaction is {newest}, not one of {options.first} to {options.last}")
    if problems:
        sys.exit("\n".join(problems))
    print(f"integrity_check ok, {count} transactions without a gap, {ACCOUNTS} balances add up to {total}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["make", "write", "top", "check"])
    parser.add_argument("db")
    parser.add_argument("--journal", default="wal")
    parser.add_argument("--page-size", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=20_000, help="make: transactions to start with")
    parser.add_argument("--pause", type=float, default=0.005, help="write: between two transactions")
    parser.add_argument("--from", type=int, default=0, dest="first", help="check: the newest one is at least this")
    parser.add_argument("--to", type=int, default=0, dest="last", help="check: the newest one is at most this")
    options = parser.parse_args()
    {"make": make, "write": write, "top": top, "check": check}[options.what](options)


if __name__ == "__main__":
    main()
