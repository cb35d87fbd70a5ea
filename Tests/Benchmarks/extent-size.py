#!/usr/bin/env python3
"""Measures what the extent size costs and gains: extent-size.py BENCH_DIR WORK_DIR [--mb 200]

BENCH_DIR holds gen.py and mutate.py. Prints the table of proto/decisions/0001-extent-size.md.
Python's standard library, and libzstd by ctypes. Times are CPU time of this process, best of 3.
"""
import argparse
import ctypes
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

PAGE = 4096
SEAL = 30  # version, type, nonce, tag
DIRECTORY = 40
zstd = ctypes.CDLL("libzstd.so.1")
for name in ("ZSTD_compressCCtx", "ZSTD_decompressDCtx", "ZSTD_compressBound"):
    getattr(zstd, name).restype = ctypes.c_size_t
zstd.ZSTD_createCCtx.restype = zstd.ZSTD_createDCtx.restype = ctypes.c_void_p
zstd.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
zstd.ZSTD_compressCCtx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                   ctypes.c_size_t, ctypes.c_int]
zstd.ZSTD_decompressDCtx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                     ctypes.c_size_t]
cctx, dctx = zstd.ZSTD_createCCtx(), zstd.ZSTD_createDCtx()
out = ctypes.create_string_buffer(zstd.ZSTD_compressBound(1 << 20))


def compress(plain):
    n = zstd.ZSTD_compressCCtx(cctx, out, len(out), plain, len(plain), 3)
    return out.raw[:n] if n < len(plain) else None


def extents(path, size):
    with open(path, "rb") as f:
        while piece := f.read(size):
            yield piece


def checkpointed(path):
    c = sqlite3.connect(path)
    c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()


def touched_pages(old, new):
    """Indexes of pages that differ, or that only the new file has."""
    pages = []
    with open(old, "rb") as a, open(new, "rb") as b:
        index = 0
        while True:
            x, y = a.read(256 * PAGE), b.read(256 * PAGE)
            if not y:
                return pages
            if x != y:
                pages += [index + k for k in range(len(y) // PAGE)
                          if x[k * PAGE:(k + 1) * PAGE] != y[k * PAGE:(k + 1) * PAGE]]
            index += 256


def btree_path(path, rowid):
    """Page indexes that looking up one row of `events` reads: interior pages down to its leaf."""
    with open(path, "rb") as f:
        page = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_schema WHERE name='events'").fetchone()[0]
        pages = []
        while True:
            pages.append(page - 1)
            f.seek((page - 1) * PAGE)
            b = f.read(PAGE)
            if b[0] != 5:
                return [0] + pages
            cells = int.from_bytes(b[3:5], "big")
            page = int.from_bytes(b[8:12], "big")
            for i in range(cells):
                at = int.from_bytes(b[12 + 2 * i:14 + 2 * i], "big")
                key, k = 0, at + 4
                while True:
                    key = key << 7 | b[k] & 127
                    k += 1
                    if b[k - 1] < 128:
                        break
                if rowid <= key:
                    page = int.from_bytes(b[at:at + 4], "big")
                    break


def measure(base, mutations, size):
    plains = list(extents(base, size))
    frames, best_c, best_d = [], 9e9, 9e9
    for _ in range(3):
        start = time.process_time()
        frames = [compress(p) for p in plains]
        best_c = min(best_c, time.process_time() - start)
        start = time.process_time()
        for frame, plain in zip(frames, plains):
            if frame is not None:
                zstd.ZSTD_decompressDCtx(dctx, out, len(plain), frame, len(frame))
        best_d = min(best_d, time.process_time() - start)
    total = sum(map(len, plains))
    sealed = [len(f if f is not None else p) + SEAL for f, p in zip(frames, plains)]
    per_extent = 1 + 1 + 4 + 3 + 32 + 32  # the columns of a map group
    row = {
        "extents": len(plains), "ratio": total / sum(s - SEAL for s in sealed),
        "sealed MiB": sum(sealed) / 2**20, "map + directory KiB": len(plains) * (per_extent + DIRECTORY) / 1024,
        "zstd-3 MiB/s": total / best_c / 2**20, "unzstd MiB/s": total / best_d / 2**20,
    }
    for mode, (path, pages) in mutations.items():
        hit = sorted({p * PAGE // size for p in pages})
        with open(path, "rb") as f:
            sent = 0
            for e in hit:
                f.seek(e * size)
                plain = f.read(size)
                frame = compress(plain)
                sent += len(plain if frame is None else frame) + SEAL
        row[f"{mode}: extents"] = len(hit)
        row[f"{mode}: re-emitted MiB"] = sent / 2**20
    r, fetched = random.Random(7), []
    top = sqlite3.connect(base).execute("SELECT max(id) FROM events").fetchone()[0]
    for _ in range(200):
        fetched.append(sum(sealed[e] for e in {p * PAGE // size for p in btree_path(base, r.randrange(top) + 1)}))
    row["point query KiB"] = sorted(fetched)[100] / 1024
    return row


def main():
    a = argparse.ArgumentParser()
    a.add_argument("bench")
    a.add_argument("work")
    a.add_argument("--mb", type=int, default=200)
    o = a.parse_args()
    base = os.path.join(o.work, "base.db")
    if not os.path.exists(base):
        subprocess.run([sys.executable, os.path.join(o.bench, "gen.py"), base, "--mb", str(o.mb)], check=True)
    checkpointed(base)
    mutations = {}
    for mode in "abc":
        path = os.path.join(o.work, f"{mode}.db")
        shutil.copyfile(base, path)
        subprocess.run([sys.executable, os.path.join(o.bench, "mutate.py"), path, mode], check=True)
        checkpointed(path)
        pages = touched_pages(base, path)
        mutations[f"{mode} ({len(pages)} pages)"] = (path, pages)
    sizes = (64, 128, 256)
    rows = [measure(base, mutations, kib << 10) for kib in sizes]
    print("| |" + "|".join(f" {k} KiB " for k in sizes) + "|\n|---|" + "--:|" * len(sizes))
    for key in rows[0]:
        cells = (f" {r[key]:,} " if isinstance(r[key], int) else f" {r[key]:,.2f} " for r in rows)
        print(f"| {key} |" + "|".join(cells) + "|")


if __name__ == "__main__":
    main()
