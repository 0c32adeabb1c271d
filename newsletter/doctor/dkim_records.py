"""DKIM key records (RFC 6376, section 3.6.1; RFC 8463) and whether one belongs to a private key. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

#: RFC 8301, section 3.2: verifiers refuse fewer bits.
LEAST_BITS = 1024
#: What signers should use, by the same section.
GOOD_BITS = 2048


class DkimFault(Exception):
    """There is no key that a receiver could verify with."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A published key: `rsa` or `ed25519`, as bytes that compare. `bits` of the key; `testing`: receivers are asked to
    mind nothing (t=y)."""

    kind: str
    public: bytes
    bits: int
    testing: bool = False


def tags(text: str) -> dict[str, str]:
    """A tag list, `v=DKIM1; k=rsa; p=…` (RFC 6376, section 3.2). Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals or name.strip() in found:
            raise ValueError(f"`{part[:40]}` is no tag, or stands there twice")
        found[name.strip()] = re.sub(r"\s+", "", value) if name.strip() == "p" else value.strip()
    return found


def read_dkim(found: Sequence[str]) -> DkimKey:
    """The key of a selector's TXT records. Raises DkimFault."""
    records = [text for text in found if re.match(r"\s*v\s*=\s*DKIM1\s*(?:;|$)", text) or re.search(r"\bp\s*=", text)]
    if len(records) != 1:
        raise DkimFault(f"there are {len(records)} key records, and one is needed" if records else "it holds no key")
    try:
        given = tags(records[0])
    except ValueError as error:
        raise DkimFault(f"the key record cannot be read: {error}") from None
    if not given.get("p"):
        raise DkimFault("the key was taken back (p= is empty)")
    kind = given.get("k", "rsa").lower()
    testing = "y" in given.get("t", "").split(":")
    try:
        content = base64.b64decode(given["p"], validate=True)
        if kind == "ed25519" and len(content) == 32:
            return DkimKey(kind, content, 256, testing)
        key = load_der_public_key(content) if kind == "rsa" else None
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise DkimFault(f"the key record holds no {kind} key")
    return DkimKey(kind, _rsa_bytes(key), key.key_size, testing)


def public_of(private_key: str) -> tuple[str, bytes]:
    """Kind and public bytes of a private key (PEM). Raises ValueError, which repeats nothing of it."""
    try:
        key = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is no private key in PEM without a password") from None
    if isinstance(key, RSAPrivateKey):
        return "rsa", _rsa_bytes(key.public_key())
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519", key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    raise ValueError("it is neither an RSA nor an Ed25519 key")


def record_for(kind: str, public: bytes) -> str:
    """The TXT record that publishes a key."""
    return f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"


def _rsa_bytes(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
