"""What proto/format.md says, in Python: its primitives, for read_vectors.py and vector_chains.py.

Shares no code with Muster: Python's standard library, the package `cryptography`, and libzstd by ctypes.
"""
import ctypes
import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EXTENT, SCATTER, DIFFERENCE, MAP, MANIFEST = 1, 2, 3, 4, 5
PURPOSE = {EXTENT: "chunk", SCATTER: "chunk", DIFFERENCE: "chunk", MAP: "map", MANIFEST: "manifest"}


class Refused(ValueError):
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


def changed(n):
    old = page(n, 512)
    return old[:100] + b"ABCD" + old[104:]


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
