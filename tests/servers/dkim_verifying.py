"""DKIM signatures verified by dkimpy, an implementation that is not ours, and the keys for it."""

from __future__ import annotations

import base64
import importlib
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what Python has deprecated
    dkim: Any = importlib.import_module("dkim")


class _VerifyKey:
    """Ed25519 itself, for dkimpy: that is the one thing it takes from another package, PyNaCl."""

    def __init__(self, encoded: bytes, encoder: object) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded))

    def verify(self, signed: bytes, signature: bytes) -> None:
        self._key.verify(signature, signed)


dkim.nacl = SimpleNamespace(
    signing=SimpleNamespace(VerifyKey=_VerifyKey),
    encoding=SimpleNamespace(Base64Encoder=None),
    exceptions=SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature),
)

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def dns(key: PrivateKey) -> Callable[..., bytes]:
    """What the DNS says of the key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        kind, public = "ed25519", key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind, public = "rsa", key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}".encode()

    def answer(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s1._domainkey.news.example.com."
        return record

    return answer


def valid(message: bytes, key: PrivateKey) -> bool:
    return bool(dkim.verify(message, dnsfunc=dns(key)))
