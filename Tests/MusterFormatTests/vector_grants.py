"""Checks the restore grants of proto/vectors from proto/format.md alone; shares no code with Muster."""
import json

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vector_format import Refused, block, hkdf, message, need, one, sha

DAY = 86_400_000_000


def raw(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def parts(data):
    need(data[:8] == b"MUSTGRNT", "grant: magic")
    terms, at = block(data, 8)
    sealed, at = block(data, at)
    need(at == len(data), "grant: bytes behind its end")
    return terms, sealed


def check_terms(terms, value, public):
    need(one(terms, 1) == 1, "grant: version")
    need(one(terms, 3) == one(public, 3) and one(terms, 7) == one(public, 2), "grant: source and snapshot")
    need(one(terms, 4) == value["node_signing_public"], "grant: key of the source")
    need(one(terms, 5) == value["scope"] and one(terms, 6) == one(public, 12), "grant: scope and epoch")
    need(one(terms, 8) == one(public, 18), "grant: content root")
    need(one(terms, 2) == b"\x99" * 16 and one(terms, 10) == b"/srv/restore/orders.db", "grant: id and path")
    need(0 < one(terms, 12) - one(terms, 11) <= DAY, "grant: times")


def check_keys(read):
    keys = {name: bytes.fromhex(text) for name, text in json.loads(read("grant-keys.json")).items()}
    signing = Ed25519PrivateKey.from_private_bytes(keys["node_signing_private"]).public_key()
    need(raw(signing) == keys["node_signing_public"], "grant: signing key")
    private = X25519PrivateKey.from_private_bytes(
        hkdf(keys["node_signing_private"], keys["node"], b"muster/1/grant-key"))
    need(raw(private.public_key()) == keys["grant_public"], "grant key")
    statement = keys["statement"]
    need(len(statement) == 96 and statement[:32] == keys["grant_public"], "grant key's statement")
    try:
        Ed25519PublicKey.from_public_bytes(keys["node_signing_public"]).verify(
            statement[32:], b"muster/1/grant-key\0" + keys["node"] + statement[:32])
    except InvalidSignature:
        raise Refused("grant key's signature")
    return keys, private


def check(read, value, public):
    keys, private = check_keys(read)
    terms_bytes, sealed = parts(read("restore.grant"))
    terms = message(terms_bytes)
    check_terms(terms, value, public)
    need(one(terms, 9) == keys["node"], "grant: target")
    recipient, sealer = one(terms, 13), one(terms, 14)
    need(recipient == keys["grant_public"] and sealer == value["recovery_public"], "grant: keys")
    ephemeral = sealed[:32]
    shared = b"".join(private.exchange(X25519PublicKey.from_public_bytes(k)) for k in (ephemeral, sealer))
    key = hkdf(shared, ephemeral + recipient + sealer, b"muster/1/restore-grant")
    try:
        secret = AESGCM(key).decrypt(sealed[32:44], sealed[44:], b"muster/1/restore-grant\0" + sha(terms_bytes))
    except InvalidTag:
        raise Refused("grant does not open")
    need(secret == value["scope_secret"], "grant: secret")

    terms_bytes, sealed = parts(read("restore-own.grant"))
    terms = message(terms_bytes)
    check_terms(terms, value, public)
    need(sealed == b"" and 13 not in terms and 14 not in terms, "own order: a secret")
    need(one(terms, 9) == one(terms, 3), "own order: target")
