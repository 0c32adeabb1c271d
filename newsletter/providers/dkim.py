"""DKIM signatures (RFC 6376, RFC 8301, RFC 8463): relaxed/relaxed, RSA-2048 and Ed25519, with `cryptography`.

For those whose mail leaves without a relay that signs it. Mailbox providers ask that the headers of one-click
unsubscription be covered (RFC 8058, section 4).
"""

from __future__ import annotations

import hashlib
import re
import time
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from newsletter.providers.dkim_relaxed import Field, RelaxedBodies, RelaxedHeaders, unfolded

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
_LABELS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_BASE64_LINE = 72
_PADDING, _SHA256 = PKCS1v15(), SHA256()


class DkimSigner:
    """Signs messages for one domain with one key, which is read once. May be shared between threads."""

    def __init__(self, private_key: str, *, selector: str, domain: str, clock: Callable[[], float] = time.time) -> None:
        """`private_key` is PEM. Raises ValueError, which never repeats the key, where it is none that can sign."""
        if not _LABELS.fullmatch(selector):
            raise ValueError(f"the DKIM selector {selector!r} is not a name in the DNS")
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"the DKIM domain {domain!r} is not a domain")
        key = _load(private_key)
        self._sign = _signing_with(key)
        self._clock = clock
        self._headers = RelaxedHeaders()
        self._bodies = RelaxedBodies()
        algorithm = "rsa-sha256" if isinstance(key, RSAPrivateKey) else "ed25519-sha256"
        self._start = f"v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n s={selector}; t=".encode("ascii")
        self._start_unfolded = b"dkim-signature:" + unfolded(self._start)

    def sign(self, header: bytes | Sequence[bytes], body: Sequence[bytes]) -> bytes:
        """The field `DKIM-Signature`, to stand before the header.

        Both as they go over the wire, in any pieces; `header` may end with the empty line. It is quick where pieces end
        at the end of a line and those that are the same in every message are the same objects. ValueError where the
        header is none, has no From, or has one of the signed fields twice.
        """
        present = _by_name(self._headers.fields(header))
        signed = tuple([name for name in SIGNED if name in present])
        listed, listed_unfolded = _listed(signed)
        now = int(self._clock())
        body_hash = b2a_base64(self._bodies.digest(body), newline=False)
        covered = [present[name] for name in signed]
        covered.append(b"%b%d; h=%b; bh=%b; b=" % (self._start_unfolded, now, listed_unfolded, body_hash))
        signature = b2a_base64(self._sign(b"".join(covered)), newline=False)
        lines = [signature[at : at + _BASE64_LINE] for at in range(0, len(signature), _BASE64_LINE)]
        return b"DKIM-Signature: %b%d;\r\n h=%b;\r\n bh=%b;\r\n b=%b\r\n" % (
            self._start,
            now,
            listed,
            body_hash,
            b"\r\n ".join(lines),
        )


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


def _signing_with(key: RSAPrivateKey | Ed25519PrivateKey) -> Callable[[bytes], bytes]:
    """Signs the octets it is given. It lets other threads run meanwhile, so that several sign at once."""
    if isinstance(key, RSAPrivateKey):
        return lambda covered: key.sign(covered, _PADDING, _SHA256)
    return lambda covered: key.sign(hashlib.sha256(covered).digest())  # RFC 8463, section 3


def _by_name(fields: Sequence[Field]) -> dict[bytes, bytes]:
    """The fields in relaxed form. Raises ValueError."""
    present = dict(fields)
    if len(present) < len(fields):
        names = [name for name, _ in fields]
        for name in SIGNED:
            if names.count(name) > 1:
                raise ValueError(f"a message with two fields {name.decode('ascii')}")
    if b"from" not in present:
        raise ValueError("a header without a field From")
    return present


@lru_cache(maxsize=64)
def _listed(signed: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The value of `h=`, folded, and as it is when it is unfolded."""
    names = [*(name for name in signed for _ in range(2)), *(name for name in GUARDED if name not in signed)]
    lines: list[bytes] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 1 < _BASE64_LINE:
            lines[-1] += b":" + name
        else:
            lines.append(name)
    folded = b":\r\n  ".join(lines)
    return folded, unfolded(folded)
