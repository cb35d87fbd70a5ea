"""What the rigs written in Python share: a fleet of one node, its figures, and a writer beside it.

Each rig runs in a network namespace of its own, so that the bytes on its loopback are its own, and in a temporary
folder that is removed. Only processes that it started are stopped, by their number; they die with it.
"""
import argparse
import ctypes
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")
PRIORITIES = {"normal": [], "nice": ["nice", "-n", "19"], "idle": ["chrt", "--idle", "0"]}


class CheckFailed(Exception):
    """The product broke a promise, or did not answer."""


def arguments(description, **defaults):
    """The options that every rig has. `defaults` gives those of --mb and --priority."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--muster", default=os.path.join(HERE, "../../.build/release/muster"), help="the binary")
    parser.add_argument("--mb", type=int, default=defaults.get("mb", 256), help="size of the database")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--work", default=tempfile.gettempdir(), help="where a temporary folder is made and removed")
    parser.add_argument("--priority", choices=PRIORITIES, default=defaults.get("priority", "normal"),
                        help="how agent and coordinator are scheduled")
    return parser


def run(main, options):
    """Runs `main(options, folder)` in the rig's surroundings; its status is 1 where a check failed."""
    own_namespace()
    if not os.access(options.muster, os.X_OK):
        sys.exit(f"error: no muster at {options.muster}\nhint: Make it with 'swift build -c release', or use --muster.")
    options.muster = os.path.abspath(options.muster)
    harness()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    os.makedirs(options.work, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="muster-rig.", dir=options.work) as folder:
        try:
            main(options, folder)
        except CheckFailed as failure:
            sys.exit(f"FAILED: {failure}")


def own_namespace():
    if os.environ.get("MUSTER_RIG_NAMESPACE"):
        return
    enter = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv]
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        sys.exit("error: a network namespace cannot be made\nhint: Run this as root.")
    os.execvpe(enter[0], enter, dict(os.environ, MUSTER_RIG_NAMESPACE="1", BENCH_NS="1"))


def harness():
    """The folder of the outside harness; its modules can be imported afterwards."""
    folder = os.environ.get("BENCH", "")
    if not os.path.exists(os.path.join(folder, "writer.py")):
        sys.exit("error: BENCH does not name the outside harness\nhint: Set BENCH to the folder that has bench.py.")
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return folder


def script(name, *words, **more):
    """Runs one of the harness's programs."""
    return subprocess.run([sys.executable, os.path.join(harness(), name), *map(str, words)],
                          capture_output=True, text=True, **more)


def database(path, mb, seed=1):
    """A new database at `path`: a copy of the one that $BENCH_DATA holds, else made now."""
    base = os.path.join(os.environ.get("BENCH_DATA", "."), f"base{mb}.db")
    if seed == 1 and os.path.exists(base):
        shutil.copyfile(base, path)
    else:
        script("gen.py", path, "--mb", mb, "--seed", seed, check=True)
    os.sync()
    return path


def application(path):
    """A connection as an application keeps it: without one a database counts as closed."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("SELECT count(*) FROM accounts").fetchone()
    return connection


# What is measured


def loopback():
    """Bytes that went over this namespace's loopback, both directions together."""
    with open("/proc/net/dev") as devices:
        return next((int(line.split()[1]) for line in devices if line.strip().startswith("lo:")), 0)


def tree(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            total += size(os.path.join(folder, name))
    return total


def size(path):
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def family(pid):
    """A process and its children: the agent is its supervisor's child."""
    children = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as listed:
            children += [int(child) for child in listed.read().split()]
    return [pid] + children


def processor(pid):
    """Seconds of processor that a process and its children have used."""
    ticks = 0
    for member in family(pid):
        with open(f"/proc/{member}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def memory(pid):
    """Resident now and at its peak, MiB. Of the agent's supervisor only what is its own: they share the program."""
    now, peak = 0, 0
    members = family(pid)
    for member in members:
        with open(f"/proc/{member}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        own = ("RssAnon", "RssAnon") if len(members) > 1 and member == pid else ("VmRSS", "VmHWM")
        now += int(lines[own[0]].split()[0]) / 1024
        peak += int(lines[own[1]].split()[0]) / 1024
    return now, peak


def descriptors(pid):
    """Open files of a process and its children."""
    return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(pid))


def machine():
    """Seconds of processor that the whole machine has used."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICK


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def spread(values, digits=3):
    return {"median": round(statistics.median(values), digits), "max": round(max(values), digits)}


# How it is shown


def table(heads, rows):
    print("| " + " | ".join(heads) + " |\n|---" + "|--:" * (len(heads) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print(flush=True)


def line(**figures):
    """The figures once more, for programs."""
    print(json.dumps(figures), flush=True)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# What is run


def until(what, condition, seconds=120, pause=0.02, processes=()):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise CheckFailed(f"waited {seconds} s in vain for {what}")
        for process in processes:
            if process.poll() is not None:
                raise CheckFailed(f"a process ended with {process.returncode} while waiting for {what}")
        time.sleep(pause)


def spawn(words, log):
    def follow():
        # The parent's death is this one's SIGTERM.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    with open(log, "ab") as output:
        return subprocess.Popen(words, stdout=output, stderr=output, preexec_fn=follow)


def stop(process, seconds=60):
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Fleet:
    """One coordinator with a folder store and one node, under `folder`."""

    def __init__(self, options, folder, cold=False):
        self.binary, self.folder, self.before = options.muster, folder, PRIORITIES[options.priority]
        os.makedirs(folder, exist_ok=True)
        self.directory, self.store = os.path.join(folder, "coordinator"), os.path.join(folder, "coordinator/store")
        self.node, self.agent = os.path.join(folder, "agent"), None
        self.logs = os.path.join(folder, "coordinator.log"), os.path.join(folder, "agent.log")
        self.environment = dict(os.environ, MUSTER_CONTEXT=os.path.join(folder, "context.json"))
        self.muster("coordinator", "init", "--dir", self.directory)
        self.coordinator = spawn(
            [*self.before, self.binary, "coordinator", "run", "--dir", self.directory], self.logs[0])
        try:
            until("the coordinator", lambda: self.muster("status", check=False).returncode == 0, 60,
                  processes=[self.coordinator])
            token = self.muster("node", "invite", "rig").stdout.strip()
            self.muster("agent", "join", "--dir", self.node, token)
            if cold:
                with open(os.path.join(self.node, "agent.yaml"), "a") as settings:
                    settings.write("cache_bytes: 0\n")
            self.start_agent()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        stop(self.agent)
        stop(self.coordinator)

    def start_agent(self):
        self.agent = spawn([*self.before, self.binary, "agent", "run", "--dir", self.node], self.logs[1])

    def stop_agent(self):
        stop(self.agent)

    def muster(self, *words, check=True):
        done = subprocess.run([self.binary, *map(str, words)], env=self.environment, capture_output=True, text=True)
        if check and done.returncode:
            command = " ".join(map(str, words[:2]))
            raise CheckFailed(f"muster {command} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def protect(self, path, *words, receipt=True):
        """Protects a database and, unless told otherwise, waits for its first receipt."""
        self.muster("database", "add", "--dir", self.node, path, "--name", "live", *words)
        if receipt:
            self.await_receipts(1, 900)

    def receipts(self):
        return sum(len(names) for _, _, names in os.walk(os.path.join(self.store, "receipts")))

    def await_receipts(self, count, seconds=120):
        until(f"receipt {count}", lambda: self.receipts() >= count, seconds, processes=[self.coordinator, self.agent])

    def receipt_folder(self):
        """Where the receipts of the one lineage are: its time of change tells of the newest."""
        return next(folder for folder, _, names in os.walk(os.path.join(self.store, "receipts")) if names)

    def catalog(self, sql, *values):
        return catalog(self.directory, sql, *values)

    def complaints(self):
        """What the two logs hold above 'info', without the times."""
        found = {}
        for log in self.logs:
            with open(log, errors="replace") as lines:
                for entry in lines:
                    if any(f" {level} muster" in entry for level in ("warning", "error", "critical")):
                        text = entry.split(" ", 1)[-1].strip()
                        found[text] = found.get(text, 0) + 1
        return found


def catalog(directory, sql, *values):
    """Asks a coordinator's catalog, which is only read."""
    connection = sqlite3.connect(f"file:{directory}/catalog.db?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


PACKS_OF_NEWEST = """SELECT count(*), sum(pack.size_bytes) FROM pack_reference JOIN pack ON pack.number = pack
    WHERE lineage = (SELECT lineage FROM snapshot ORDER BY number DESC LIMIT 1) AND died IS NULL"""


class Writer:
    """The harness's writer: `seq` of its newest ledger row is the number of the last commit."""

    def __init__(self, path, folder, rate, seconds, seed=7, name="writer"):
        self.out = os.path.join(folder, name + ".json")
        self.end = os.path.join(folder, name + ".stop")
        self.process = spawn([sys.executable, os.path.join(harness(), "writer.py"), path, self.out, "--rate", str(rate),
                              "--seconds", str(seconds), "--stop", self.end, "--seed", str(seed)], self.out + ".log")

    def finish(self):
        """Waits until it ended by itself, or ends it; then its log can be read."""
        with open(self.end, "w"):
            pass
        if self.process.wait(120):
            with open(self.out + ".log") as log:
                raise CheckFailed(f"the writer ended with {self.process.returncode}: {log.read()[-400:]}")
        with open(self.out + ".lat") as lines:
            rows = [entry.split() for entry in lines]
        self.commits = [(float(row[0]), float(row[1]), int(row[2])) for row in rows]
        return self.commits

    def window(self, began, ended):
        """Latencies, in ms, of the commits between two moments."""
        taken = [latency for at, latency, _ in self.commits if began <= at <= ended]
        if not taken:
            raise CheckFailed("no commit in a window of the writer")
        return {"commits": len(taken), "p50": quantile(taken, 0.5), "p99": quantile(taken, 0.99)}


def compare(pairs):
    """What two windows of each pair (alone, beside) say of each other: medians over the pairs."""
    rows, figures = [], {"pairs": len(pairs)}
    for part in ("p50", "p99"):
        alone, beside = [pair[0][part] for pair in pairs], [pair[1][part] for pair in pairs]
        ratios = sorted(b / a for a, b in zip(alone, beside))
        figures[part] = {
            "alone": round(statistics.median(alone), 4), "beside": round(statistics.median(beside), 4),
            "ratio": round(statistics.median(ratios), 3), "least": round(ratios[0], 3), "most": round(ratios[-1], 3)}
        rows.append([part, *figures[part].values()])
    table(["writer's commit, ms", "alone", "beside Muster", "median ratio", "least", "most"], rows)
    return figures
