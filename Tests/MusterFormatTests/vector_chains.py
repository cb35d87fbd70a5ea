"""Rebuilds the delta vectors: a full manifest, then the changes of each delta on its base chain."""
from vector_format import (
    DIFFERENCE, EXTENT, MANIFEST, MAP, SCATTER, block, changed, check_pack, content_root, digests, extent_hash,
    group_hashes, message, need, one, packed, page, sha, signed, unzstd)

SIZE, PER = 512, 4
FULL, DELTA_1, DELTA_2, DELTA_3 = "snapshot.manifest", "delta-1.manifest", "delta-2.manifest", "delta-3.manifest"
NEW = {1: page(1, 512), 2: changed(2), 5: page(105, 512), 6: page(106, 512), 7: page(107, 512), 8: page(108, 512)}
# Each delta: its base, its parent, the packs that are new against each, and the pages it must give.
CHAIN = {
    DELTA_1: (FULL, FULL, ["delta-1.pack"], ["delta-1.pack"], 12, NEW),
    DELTA_2: (FULL, DELTA_1, ["delta-1.pack", "delta-2.pack"], ["delta-2.pack"], 12,
              {**NEW, 1: changed(1), 9: changed(9)}),
    DELTA_3: (DELTA_2, DELTA_2, [], [], 9, {**NEW, 1: changed(1), 9: changed(9)}),
}


class Rebuilt:
    """The state of one manifest: rows of (pack, offset, length, chunk, pages) and hashes, and scatter entries."""

    def __init__(self):
        self.rows, self.hashes, self.pages, self.packs = {}, {}, {}, {}
        self.count = 0


def manifest(data, value, keys):
    signed(data, b"MUSTMANI", "muster/1/manifest", value["node_signing_public"])
    public_bytes, at = block(data, 8)
    sealed, at = block(data, at)
    need(at == len(data) - 64, "manifest: bytes not accounted for")
    public = message(public_bytes)
    return public, message(keys.open(sealed, MANIFEST, one(public, 30), sha(public_bytes)))


def chunk(state, pack, offset, length, identifier, keys, kind, plain_length):
    need(pack in state.packs, "a pack that the chain does not name")
    sealed = state.packs[pack][offset:offset + length]
    need(sha(sealed) == identifier, "chunk id")
    return keys.open(sealed, kind, plain_length)


def ascending(steps):
    need(all(steps), "a step of nothing")
    total, numbers = 0, []
    for step in steps:
        total += step
        numbers.append(total)
    return numbers


def pages_of(state, extent):
    return min(PER, state.count - extent * PER)


def extents(state, numbers, columns, chunks, hashes, table):
    """The rows of extent chunks of either kind of map."""
    packs, offsets, lengths, counts = columns
    counts = counts or [0] * len(numbers)
    need({len(c) for c in (packs, offsets, lengths, counts, chunks, hashes)} <= {len(numbers)}, "columns")
    for number, pack, offset, length, count, identifier, digest in zip(
            numbers, packs, offsets, lengths, counts, chunks, hashes):
        need(count <= PER and number * PER < state.count, "an extent row")
        row = (table[pack], offset, length, identifier, count or pages_of(state, number))
        state.rows[number], state.hashes[number] = row, digest
        for position in range(number * PER + 1, number * PER + PER + 1):
            state.pages.pop(position, None)


def pack_table(fields, own):
    table = [own if p == bytes(32) else p for p in digests(one(fields, 1, b""))]
    need(None not in table and len(set(table)) == len(table) == len(packed(fields, 2)), "packs of a map")
    return table


def scatter(state, entries, table, first, last):
    for fields in map(message, entries):
        numbers, dead = ascending(packed(fields, 7)), ascending(packed(fields, 10))
        before = one(fields, 8)
        total = one(fields, 9) or before + len(numbers)
        need(before + len(numbers) <= total and len(dead) < len(numbers), "a run of pages")
        need(not dead or dead[-1] <= len(numbers), "a dead page")
        kind = {1: SCATTER, 2: DIFFERENCE}[one(fields, 1)]
        place = (table[one(fields, 2)], one(fields, 3), one(fields, 4), one(fields, 5), one(fields, 6))
        need(kind == DIFFERENCE or place[4] == total * SIZE, "bytes of a scatter chunk")
        for index, number in enumerate(numbers):
            if index + 1 not in dead:
                need(first * PER < number <= min(state.count, (last + 1) * PER), "a page outside of the map")
                state.pages[number] = (kind, place, before + index, total)


def changes(state, fields, own, first, last):
    table = pack_table(fields, own)
    placed = [n - 1 for n in ascending(packed(fields, 3))]
    continued = [n - 1 for n in ascending(packed(fields, 10))]
    need(not set(placed) & set(continued), "an extent both placed and continued")
    need(all(first <= n <= last for n in placed + continued), "an extent outside of the map")
    extents(state, placed, [packed(fields, n) for n in (4, 5, 6, 7)], digests(one(fields, 8, b"")),
            digests(one(fields, 9, b"")), table)
    hashes = digests(one(fields, 11, b""))
    need(len(hashes) == len(continued), "columns")
    for number, digest in zip(continued, hashes):
        need(number in state.rows, "an extent that the base does not have")
        state.hashes[number] = digest
    scatter(state, fields.get(12, []), table, first, last)


def apply_full(state, private, keys):
    for reference in map(message, private[2]):
        plain = chunk(state, *(one(reference, n) for n in (2, 3, 4, 6)), keys, MAP, one(reference, 5))
        group = message(plain)
        table = pack_table({1: group[2], 2: group[3]}, one(reference, 2))
        numbers = [one(reference, 1) * 256 + n for n in packed(group, 4)]
        extents(state, numbers, [packed(group, n) for n in (5, 6, 7, 11)], digests(one(group, 8)),
                digests(one(group, 9)), table)


def apply_delta(state, private, keys):
    need(2 not in private and (5 in private) != (6 in private), "a delta's map is in one place")
    highest = -(-state.count // PER) - 1
    # What lies behind the last page is gone.
    state.rows = {n: row for n, row in state.rows.items() if n <= highest}
    state.pages = {n: entry for n, entry in state.pages.items() if n <= state.count}
    if 5 in private:
        need(len(one(private, 5)) <= 64 << 10, "inline changes")
        return changes(state, message(one(private, 5)), None, 0, highest)
    last = -1
    for reference in map(message, private[6]):
        need(last < one(reference, 1) <= one(reference, 2) <= highest, "change chunks ascend")
        last = one(reference, 2)
        plain = chunk(state, *(one(reference, n) for n in (3, 4, 5, 7)), keys, MAP, one(reference, 6))
        changes(state, message(plain), one(reference, 3), one(reference, 1), last)


def rebuild(state, keys):
    image, hashes = b"", []
    for extent in range(-(-state.count // PER)):
        pack, offset, length, identifier, count = state.rows[extent]
        base = chunk(state, pack, offset, length, identifier, keys, EXTENT, count * SIZE)
        content = b""
        for index in range(pages_of(state, extent)):
            number = extent * PER + index + 1
            old = base[index * SIZE:(index + 1) * SIZE]
            content += supplied(state, number, old, keys) if number in state.pages else old
        need(len(content) == pages_of(state, extent) * SIZE, "a page that nothing supplies")
        need(extent_hash(content, SIZE) == state.hashes[extent], f"hash of extent {extent}")
        hashes.append(state.hashes[extent])
        image += content
    return image, hashes


def supplied(state, number, old, keys):
    kind, place, position, total = state.pages[number]
    plain = chunk(state, *place[:4], keys, kind, place[4])
    if kind == SCATTER:
        return plain[position * SIZE:(position + 1) * SIZE]
    at, frames = 0, []
    while at < len(plain):
        frame, at = block(plain, at)
        frames.append(frame)
    need(len(frames) == total, "differences of a chunk")
    return unzstd(frames[position], SIZE, old)


def state_of(name, read, value, keys):
    data = read(name)
    public, private = manifest(data, value, keys)
    if name == FULL:
        state = Rebuilt()
        state.packs = {sha(read("snapshot.pack")): read("snapshot.pack")}
        state.count = one(public, 17)
        apply_full(state, private, keys)
        return state, one(public, 2), sha(data), public
    base, parent, since_base, since_parent, count, _ = CHAIN[name]
    state, base_id, base_hash, base_public = state_of(base, read, value, keys)
    reference = message(one(public, 9))
    need((one(reference, 1), one(reference, 2)) == (base_id, base_hash), f"{name}: base")
    need(one(message(one(public, 8)), 2) == sha(read(parent)), f"{name}: parent")
    need(all(one(public, n) == one(base_public, n) for n in (3, 4, 6, 11, 15, 16)), f"{name}: another lineage")
    need(one(public, 7) > one(base_public, 7), f"{name}: sequence")
    for field, packs in ((19, since_base), (21, since_parent)):
        need(sorted(sha(read(p)) for p in packs) == digests(one(public, field, b"")), f"{name}: packs")
    for pack in since_base:
        check_pack(read(pack))
        state.packs[sha(read(pack))] = read(pack)
    state.count = one(public, 17)
    need(state.count == count, f"{name}: pages")
    apply_delta(state, private, keys)
    return state, one(public, 2), sha(data), public


def check(read, value, keys):
    for name, (_, _, _, _, count, new) in CHAIN.items():
        state, _, _, public = state_of(name, read, value, keys)
        image, hashes = rebuild(state, keys)
        need(image == b"".join(new.get(n, page(n, SIZE)) for n in range(1, count + 1)), f"{name}: the database")
        need(content_root(SIZE, PER, count, group_hashes(hashes)) == one(public, 18), f"{name}: content root")
