#!/usr/bin/python3
"""Opens and checks proto/vectors from proto/format.md alone: read_vectors.py [FOLDER]

Shares no code with Muster; vector_format.py says what it needs. Exits 1 at the first thing that is not as the
format says. `--make-difference FILE` writes difference.plain.
"""
import json
import os
import re
import struct
import sys

import vector_chains
import vector_grants
from vector_format import (
    DIFFERENCE, EXTENT, MANIFEST, MAP, SCATTER, Keys, Refused, block, body, changed, check_pack, content_root, digests,
    extent_hash, group_hashes, message, need, one, open_secret, packed, page, sha, signed, u32, u64, unzstd, zstd_from)


def check_keys(read):
    keys = json.loads(read("keys.json"))
    value = {name: bytes.fromhex(text) for name, text in keys.items() if name != "key_epoch"}
    scope_keys = Keys(value["scope_secret"], value["scope"], int(keys["key_epoch"]))
    for purpose in ("chunk", "map", "manifest"):
        need(scope_keys.key[purpose] == value[f"{purpose}_key"], f"{purpose} key")
        need(scope_keys.nonce_key[purpose] == value[f"{purpose}_nonce_key"], f"{purpose} nonce key")
    need(sha(value["node_signing_public"]) == value["node_signing_key_id"], "signing key id")
    return value, scope_keys


def check_trees(read):
    for tree in json.loads(read("hash-tree.json")):
        size, per, count = tree["page_size"], tree["pages_per_extent"], tree["page_count"]
        data = b"".join(page(n, size) for n in range(1, count + 1))
        step = size * per
        extents = [extent_hash(data[i:i + step], size) for i in range(0, len(data), step)]
        groups = group_hashes(extents)
        need([h.hex() for h in extents] == tree["extents"], "extent hashes")
        need([h.hex() for h in groups] == tree["groups"], "group hashes")
        need(content_root(size, per, count, groups).hex() == tree["content_root"], "content root")


def refuses_as(keys, sealed, kind, plain_length):
    try:
        keys.open(sealed[:1] + bytes([kind << 4 | sealed[1] & 15]) + sealed[2:], kind, plain_length)
    except Refused:
        return
    raise Refused(f"it opens as kind {kind} too")


def check_chunks(read, keys):
    expected = {
        "chunk-extent-zstd": b"".join(page(n, 512) for n in (1, 2, 3, 4)), "chunk-extent-stored": page(3, 512),
        "chunk-scatter-zstd": page(1, 512) + page(4, 512), "chunk-scatter-stored": page(3, 512),
        "chunk-difference": read("difference.plain"),
    }
    index = json.loads(read("chunks.json"))
    need({c["file"] for c in index} == {name + ".sealed" for name in expected}, "list of chunks")
    for chunk in index:
        sealed = read(chunk["file"])
        need(sha(sealed).hex() == chunk["id"], f"{chunk['file']}: id")
        plain = keys.open(sealed, int(chunk["kind"]), int(chunk["plain_length"]))
        need(sha(plain).hex() == chunk["plain_sha256"], f"{chunk['file']}: plain")
        need(plain == expected[chunk["file"].removesuffix(".sealed")], f"{chunk['file']}: content")
        for other in (EXTENT, SCATTER, DIFFERENCE, MAP):
            if other != int(chunk["kind"]):
                refuses_as(keys, sealed, other, len(plain))
    at = 0
    for n in (2, 4):
        frame, at = block(expected["chunk-difference"], at)
        need(unzstd(frame, 512, page(n, 512)) == changed(n), f"difference of page {n}")
        need(len(frame) < 64, "a difference as long as a page")
    need(at == len(expected["chunk-difference"]), "bytes behind the last difference")


def check_snapshot(read, value, keys):
    pack, data = read("snapshot.pack"), read("snapshot.manifest")
    check_pack(pack)
    signed(data, b"MUSTMANI", "muster/1/manifest", value["node_signing_public"])
    public_bytes, at = block(data, 8)
    sealed, at = block(data, at)
    need(at == len(data) - 64, "manifest: bytes not accounted for")
    public = message(public_bytes)
    need(one(public, 1) == 1, "manifest version")
    need(one(public, 7) == 0 and 8 not in public and 9 not in public, "sequence 0 is full and has no parent")
    need(one(public, 29) == value["node_signing_key_id"], "manifest: signing key id")
    need(one(public, 11) == value["scope"], "manifest: scope")
    packs = digests(one(public, 19))
    need(packs == [sha(pack)] and one(public, 21) == one(public, 19), "manifest: packs")
    size, per, count = one(public, 15), one(public, 16), one(public, 17)
    need(one(public, 26) == size * count, "manifest: logical bytes")
    labels = {one(m, 1): one(m, 2) for m in map(message, public[23])}
    need(labels == {b"app": b"shop", b"env": b"production"}, "manifest: labels")
    private = message(keys.open(sealed, MANIFEST, one(public, 30), sha(public_bytes)))
    need(one(private, 1) == b"/srv/orders/orders.db", "manifest: source path")
    groups, image = [], b""
    for reference in map(message, private[2]):
        need(one(reference, 1) == len(groups) and one(reference, 2) in packs, "group reference")
        offset = one(reference, 3)
        chunk = pack[offset:offset + one(reference, 4)]
        need(sha(chunk) == one(reference, 6), "map chunk id")
        plain = keys.open(chunk, MAP, one(reference, 5))
        need(plain == read("snapshot.map.plain"), "map chunk")
        extents, part = read_group(message(plain), pack, keys, size, per, count, len(groups))
        need(group_hashes(extents) == [one(reference, 8)], "group hash")
        groups.append(one(reference, 8))
        image += part
    need(image == b"".join(page(n, size) for n in range(1, count + 1)), "the rebuilt database")
    need(content_root(size, per, count, groups) == one(public, 18), "content root")
    return public, sha(data)


def read_group(group, pack, keys, size, per, count, index):
    need(one(group, 1) == index, "map: group")
    need(one(group, 2) == bytes(32) and packed(group, 3) == [1], "map: its own pack")
    columns = [packed(group, n) for n in (4, 5, 6, 7)]
    chunks, hashes = digests(one(group, 8)), digests(one(group, 9))
    extents = min(256, -(-count // per) - 256 * index)
    need({len(c) for c in columns + [chunks, hashes]} == {extents}, "map: columns")
    need(columns[0] == list(range(extents)), "map: extents")
    image = b""
    for number, in_pack, offset, length, chunk, expected in zip(*columns, chunks, hashes):
        need(in_pack == 0, "map: pack")
        sealed = pack[offset:offset + length]
        need(sha(sealed) == chunk, "extent chunk id")
        pages = min(per, count - (256 * index + number) * per)
        plain = keys.open(sealed, EXTENT, pages * size)
        need(extent_hash(plain, size) == expected, "extent hash")
        image += plain
    return hashes, image


def check_records(read, value, public, manifest_hash):
    receipt = body(read("snapshot.receipt"), b"MUSTRECE", "muster/1/receipt", value["coordinator_signing_public"])
    need([one(receipt, n) for n in (2, 3, 4, 5)] == [one(public, n) for n in (2, 3, 4, 6)], "receipt: ids")
    need(one(receipt, 7) == manifest_hash and one(receipt, 8) == one(public, 18), "receipt: hashes")
    need(receipt[10] == [b"main", b"second"] and one(receipt, 11) == 3, "receipt: stores and epoch")
    need(one(receipt, 12) == sha(value["coordinator_signing_public"]), "receipt: key id")

    text = read("recovery.key").decode()
    (private,) = re.findall(r"^MUSTER-RECOVERY-KEY-1 ([0-9a-f]{64})$", text, re.M)
    private = bytes.fromhex(private)
    need(private == value["recovery_private"], "recovery key file")

    record = body(read("node.keys"), b"MUSTKEYS", "muster/1/keys")
    need(one(record, 4) == value["node_signing_public"] and one(record, 2) == one(public, 3), "key record: node")
    (secret,) = map(message, record[7])
    need(one(secret, 1) == value["recovery_public"], "key record: recipient")
    purpose = b"muster/1/scope-secret\0" + one(record, 2) + one(record, 5) + u32(one(record, 6))
    need(open_secret(one(secret, 2), private, purpose) == value["scope_secret"], "key record: secret")

    record = body(read("coordinator.sealed"), b"MUSTSEAL", "muster/1/sealed")
    need(one(record, 4) == value["coordinator_signing_public"], "sealed record: key")
    (secret,) = map(message, record[5])
    purpose = b"muster/1/sealed-record\0" + u64(one(record, 3)) + one(record, 2)
    need(open_secret(one(secret, 2), private, purpose) == b"not really a CA key", "sealed record: secret")


def main():
    if sys.argv[1:2] == ["--make-difference"]:
        with open(sys.argv[2], "wb") as f:
            for n in (2, 4):
                frame = zstd_from(changed(n), page(n, 512))
                f.write(u32(len(frame)) + frame)
        return
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..", "proto", "vectors")

    def read(name):
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()

    value, keys = check_keys(read)
    check_trees(read)
    check_chunks(read, keys)
    public, manifest_hash = check_snapshot(read, value, keys)
    check_records(read, value, public, manifest_hash)
    vector_chains.check(read, value, keys)
    vector_grants.check(read, value, public)
    print("all vectors are as the format says")


if __name__ == "__main__":
    try:
        main()
    except (Refused, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        sys.exit(f"refused: {error!r}")
