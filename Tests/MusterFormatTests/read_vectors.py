#!/usr/bin/python3
"""Opens and checks proto/vectors from proto/format.md alone: read_vectors.py [FOLDER]

Shares no code with Muster: Python's standard library, the package `cryptography`, and libzstd by ctypes.
Exits 1 at the first thing that is not as the format says. `--make-difference FILE` writes difference.plain.
"""
import ctypes
import hashlib
import hmac
import json
import os
import re
import struct
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EXTENT, SCATTER, DIFFERENCE, MAP, MANIFEST = 1, 2, 3, 4, 5
PURPOSE = {EXTENT: "chunk", SCATTER: "chunk", DIFFERENCE: "chunk", MAP: "map", MANIFEST: "manifest"}


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


def sha(data):
    return hashlib.sha256(data).digest()


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def hkdf(secret, salt, info):
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


Z = ctypes.CDLL("libzstd.so.1")
for name in ("ZSTD_createCCtx", "ZSTD_createDCtx"):
    getattr(Z, name).restype = ctypes.c_void_p
for name in ("ZSTD_compress2", "ZSTD_decompressDCtx", "ZSTD_findFrameCompressedSize", "ZSTD_CCtx_refPrefix",
             "ZSTD_DCtx_refPrefix"):
    getattr(Z, name).restype = ctypes.c_size_t
Z.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong


def unzstd(frame, size, prefix=b""):
    need(Z.ZSTD_getFrameContentSize(frame, ctypes.c_size_t(len(frame))) == size, "zstd frame states another size")
    need(Z.ZSTD_findFrameCompressedSize(frame, ctypes.c_size_t(len(frame))) == len(frame), "not one zstd frame")
    context = ctypes.c_void_p(Z.ZSTD_createDCtx())
    if prefix:
        need(Z.ZSTD_DCtx_refPrefix(context, prefix, ctypes.c_size_t(len(prefix))) == 0, "refPrefix")
    out = ctypes.create_string_buffer(size)
    got = Z.ZSTD_decompressDCtx(context, out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    need(got == size, "zstd frame is damaged")
    return out.raw


def zstd_from(plain, prefix):
    context = ctypes.c_void_p(Z.ZSTD_createCCtx())
    need(Z.ZSTD_CCtx_refPrefix(context, prefix, ctypes.c_size_t(len(prefix))) == 0, "refPrefix")
    out = ctypes.create_string_buffer(len(plain) + 1024)
    n = Z.ZSTD_compress2(context, out, ctypes.c_size_t(len(out)), plain, ctypes.c_size_t(len(plain)))
    need(n <= len(out), "ZSTD_compress2")
    return out.raw[:n]


def varint(data, at):
    value = shift = 0
    while True:
        need(at < len(data) and shift < 70, "varint")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def message(data):
    """Field number -> list of values: integers, or bytes."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        need(tag & 7 in (0, 2), "wire type")
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            length, at = varint(data, at)
            need(at + length <= len(data), "field beyond the end")
            value, at = data[at:at + length], at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def one(fields, number, default=0):
    values = fields.get(number, [default])
    need(len(values) == 1, f"field {number} comes {len(values)} times")
    return values[0]


def packed(fields, number):
    values, at, data = [], 0, one(fields, number, b"")
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def digests(data):
    need(len(data) % 32 == 0, "digests of 32 bytes")
    return [data[i:i + 32] for i in range(0, len(data), 32)]


class Keys:
    def __init__(self, secret, scope, epoch):
        self.scope, self.key, self.nonce_key = scope, {}, {}
        for purpose in ("chunk", "map", "manifest"):
            salt = scope + u32(epoch)
            self.key[purpose] = hkdf(secret, salt, f"muster/1/{purpose}/key".encode())
            self.nonce_key[purpose] = hkdf(secret, salt, f"muster/1/{purpose}/nonce".encode())

    def open(self, sealed, kind, plain_length, aad=None):
        need(len(sealed) > 30 and sealed[0] == 1, "seal version")
        kind_byte = sealed[1]
        need(kind_byte >> 4 == kind and kind_byte & 15 <= 1, "seal type")
        aad = aad if aad is not None else sealed[:2] + self.scope
        nonce = sealed[2:14]
        try:
            c = AESGCM(self.key[PURPOSE[kind]]).decrypt(nonce, sealed[14:], aad)
        except InvalidTag:
            raise Refused("seal does not open")
        stated = sha(aad) + sealed[1:2] + u64(len(c)) + sha(c)
        need(hmac.digest(self.nonce_key[PURPOSE[kind]], stated, "sha256")[:12] == nonce, "nonce")
        if kind_byte & 15 == 0:
            need(len(c) == plain_length, "plain length")
            return c
        need(len(c) < plain_length, "a frame that is not shorter")
        return unzstd(c, plain_length)


def signed(data, magic, domain, public_key):
    need(data[:8] == magic, f"{domain}: magic")
    need(len(data) > 64, f"{domain}: length")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            data[-64:], domain.encode() + b"\0" + data[:-64])
    except InvalidSignature:
        raise Refused(f"{domain}: signature")
    return data[8:-64]


def block(data, at):
    need(at + 4 <= len(data), "length")
    (length,) = struct.unpack_from("<I", data, at)
    need(at + 4 + length <= len(data), "block beyond the end")
    return data[at + 4:at + 4 + length], at + 4 + length


def body(data, magic, domain, public_key=None):
    """The message of a record; where no key is given it is field 4 of the record."""
    content, end = block(data, 8)
    need(end == len(data) - 64, "bytes behind the body")
    fields = message(content)
    signed(data, magic, domain, public_key or one(fields, 4, b""))
    need(one(fields, 1) == 1, "format version")
    return fields


def open_secret(sealed, private, purpose):
    key = X25519PrivateKey.from_private_bytes(private)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    ephemeral = sealed[:32]
    shared = key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    try:
        return AESGCM(hkdf(shared, ephemeral + public, b"muster/1/recovery")).decrypt(
            sealed[32:44], sealed[44:], purpose)
    except InvalidTag:
        raise Refused("secret does not open")


def page(n, size):
    label = b"page" + u64(n)
    if n % 3:
        return sha(label) * (size // 32)
    return b"".join(sha(label + u32(k)) for k in range(size // 32))


def extent_hash(data, page_size):
    return sha(b"\x01" + b"".join(sha(data[i:i + page_size]) for i in range(0, len(data), page_size)))


def group_hashes(extents):
    return [sha(b"\x02" + b"".join(extents[i:i + 256])) for i in range(0, len(extents), 256)]


def content_root(page_size, pages_per_extent, page_count, groups):
    return sha(b"\x03" + u32(page_size) + u32(pages_per_extent) + u64(page_count) + b"".join(groups))


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


def changed(n):
    old = page(n, 512)
    return old[:100] + b"ABCD" + old[104:]


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


def check_pack(pack):
    need(pack[:8] == b"MUSTPACK" and pack[-8:] == b"KCAPTSUM", "pack magic")
    count, length = struct.unpack("<II", pack[-16:-8])
    need(length == count * 40 and count > 0, "pack directory")
    directory, end, seen = len(pack) - 16 - length, 8, set()
    for i in range(count):
        at = directory + 40 * i
        identifier, (offset, size) = pack[at:at + 32], struct.unpack_from("<II", pack, at + 32)
        need(offset == end and size >= 31, "pack: a gap")
        end = offset + size
        need(sha(pack[offset:end]) == identifier and identifier not in seen, "pack: chunk id")
        seen.add(identifier)
    need(end == directory, "pack: bytes not accounted for")


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
    print("all vectors are as the format says")


if __name__ == "__main__":
    try:
        main()
    except (Refused, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        sys.exit(f"refused: {error!r}")
