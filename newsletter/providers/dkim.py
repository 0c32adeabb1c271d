"""DKIM signatures (RFC 6376, RFC 8301, RFC 8463): relaxed/relaxed, RSA-2048 and Ed25519, with `cryptography`.

For those whose mail leaves without a relay that signs it. Mailbox providers ask that the headers of one-click
unsubscription be covered (RFC 8058, section 4).
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

#: Signed where they are present, each named once more than it is present: a second one breaks the signature (RFC 6376,
#: section 8.15). In the order in which they are listed.
SIGNED = (
    b"from",
    b"reply-to",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"mime-version",
    b"content-type",
)
#: Named even where a message has none: whoever adds one breaks the signature.
GUARDED = (b"reply-to", b"cc")

_SMALLEST_RSA = 2048
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AT_LINE_END = re.compile(rb"[ \t]+\r\n")
_EMPTY_LINES_AT_END = re.compile(rb"(?:\r\n)+\Z")
_LABELS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
#: Pieces of a body that are worth remembering: those that are the same in every message are long.
_LONG = 256
_BASE64_LINE = 72


class DkimSigner:
    """Signs messages for one domain with one key, which is read once. May be shared between threads."""

    def __init__(self, private_key: str, *, selector: str, domain: str, clock: Callable[[], float] = time.time) -> None:
        """`private_key` is PEM. Raises ValueError, which never repeats the key, where it is none that can sign."""
        if not _LABELS.fullmatch(selector):
            raise ValueError(f"the DKIM selector {selector!r} is not a name in the DNS")
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"the DKIM domain {domain!r} is not a domain")
        self._key = _load(private_key)
        self._clock = clock
        algorithm = "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"
        self._start = f"v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n s={selector}; t=".encode("ascii")

    def sign(self, header: bytes, body: Sequence[bytes]) -> bytes:
        """The field `DKIM-Signature`, to stand before the header.

        `header` may end with the empty line; `body` is in pieces that each end at the end of a line (CRLF).
        ValueError where the header is none, or has one of the signed fields twice.
        """
        present: dict[bytes, bytes] = {}
        for name, canonical in map(_field, _FIELD_END.split(header.rstrip(b"\r\n"))):
            if name in present and name in SIGNED:
                raise ValueError(f"a message with two fields {name.decode('latin-1')}")
            present[name] = canonical
        signed = [name for name in SIGNED if name in present]
        value = b"%b%d;\r\n h=%b;\r\n bh=%b;\r\n b=" % (
            self._start,
            int(self._clock()),
            _listed(tuple(signed)),
            base64.b64encode(_body_hash(body)),
        )
        covered = [present[name] for name in signed]
        covered.append(b"dkim-signature:" + _unfolded(value))
        signature = base64.b64encode(self._signature(b"".join(covered)))
        lines = [signature[at : at + _BASE64_LINE] for at in range(0, len(signature), _BASE64_LINE)]
        return b"DKIM-Signature: " + value + b"\r\n ".join(lines) + b"\r\n"

    def _signature(self, covered: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(covered, PKCS1v15(), SHA256())
        return self._key.sign(hashlib.sha256(covered).digest())  # RFC 8463, section 3


def _load(private_key: str) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    # raised out here: what `cryptography` says may hold parts of what it read
    if key is None:
        raise ValueError("the DKIM key is not an unencrypted private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _SMALLEST_RSA:
            raise ValueError(f"the DKIM key has {key.key_size} bits; receivers want at least {_SMALLEST_RSA}")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("the DKIM key is neither RSA nor Ed25519")


@lru_cache(maxsize=512)
def _field(raw: bytes) -> tuple[bytes, bytes]:
    """A field's name in small letters, and its relaxed form with CRLF (RFC 6376, section 3.4.2)."""
    name, colon, value = raw.partition(b":")
    name = name.rstrip(b" \t").lower()
    if not colon or not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{raw[:60]!r} is no header field")
    return name, name + b":" + _unfolded(value) + b"\r\n"


def _unfolded(value: bytes) -> bytes:
    return _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


@lru_cache(maxsize=64)
def _listed(signed: tuple[bytes, ...]) -> bytes:
    """The value of `h=`, folded."""
    names = [*(name for name in signed for _ in range(2)), *(name for name in GUARDED if name not in signed)]
    lines: list[bytes] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 1 < _BASE64_LINE:
            lines[-1] += b":" + name
        else:
            lines.append(name)
    return b":\r\n  ".join(lines)


def _body_hash(pieces: Sequence[bytes]) -> bytes:
    """SHA-256 of the body in relaxed form (RFC 6376, section 3.4.4)."""
    canonical = [_relaxed_long(piece) if len(piece) >= _LONG else _relaxed(piece) for piece in pieces]
    if canonical and (canonical[-1].endswith(b"\r\n\r\n") or canonical[-1] in {b"\r\n", b""}):
        body = _EMPTY_LINES_AT_END.sub(b"", b"".join(canonical))
        canonical = [body, b"\r\n"] if body else []
    digest = hashlib.sha256()
    for piece in canonical:
        digest.update(piece)
    return digest.digest()


def _relaxed(piece: bytes) -> bytes:
    """Runs of blanks become one, those at the end of a line none. Each line by itself: pieces may be done apart."""
    if b"  " not in piece and b"\t" not in piece and b" \r\n" not in piece:
        return piece
    return _BLANKS.sub(b" ", _BLANKS_AT_LINE_END.sub(b"\r\n", piece))


_relaxed_long = lru_cache(maxsize=256)(_relaxed)
