"""The token of a delivery's envelope sender (VERP): what comes back to it tells whose delivery it was about.

Bounces quote what they like of the mail; that they go to its envelope sender is all that is sure (RFC 5321, 4.4 and
6.1). The token stands in the local part of an address, so it is short, and case means nothing in it.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from newsletter.delivery.names import RunName
from newsletter.delivery.sealing import NumberSealer

#: 16 bytes of synthetic IV, which is also the proof, and 9 of content, in base32 without padding. With `bounces+`
#: before it and room to spare it stays within the 64 octets of a local part (RFC 5321, 4.5.3.1.1).
TOKEN_LENGTH = 40
#: The place for it in a pattern such as `bounces+{token}@news.example.com`.
TOKEN_PLACE = "{token}"  # noqa: S105 - a place in a pattern
_KEY_BYTES = 64
_ID_BYTES, _DAY_BYTES, _EDITION_BYTES = 5, 2, 2
_MOST = 1 << 8 * _ID_BYTES
_FIRST_DAY = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """Whose delivery a token stands for. Number 0 is nobody: the mail was a test. `edition` is a hash of it."""

    newsletter: str
    subscriber_id: int
    date: dt.date
    edition: bytes

    def run(self, editions: Iterable[str] = ()) -> RunName | None:
        """The run, where its edition is the day's own or one of `editions`."""
        for edition in ("", *editions):
            if _hashed(edition) == self.edition:
                return RunName(self.newsletter, f"{self.date}.{edition}" if edition else self.date.isoformat())
        return None


class ReturnPaths:
    """Makes the tokens of one newsletter's deliveries, and reads them again.

    Number, date and edition under AES-SIV (RFC 5297), bound to the newsletter: nobody without the key can make a token,
    or tell anything from one. `secrets` holds the present key first; tokens made with the others are still read.
    """

    def __init__(self, newsletter: str, secrets: Sequence[str]) -> None:
        self._newsletter = newsletter
        keys = [_key(secret) for secret in secrets]
        self._key = keys[0]
        self._ciphers = [AESSIV(key) for key in keys]
        self._bound_to = [f"return path/{newsletter}".encode()]

    def tokens(self, run: RunName, numbers: Sequence[int]) -> list[str]:
        """The token of each of these subscribers' deliveries in `run`: 40 letters and digits. '' for a number that has
        no room in one."""
        date, _, edition = run.slot.partition(".")
        # two bytes last until 2149
        days = (dt.date.fromisoformat(date) - _FIRST_DAY).days % (1 << 8 * _DAY_BYTES)
        rest = days.to_bytes(_DAY_BYTES, "big") + _hashed(edition)
        sealed = _sealer(self._key, self._bound_to[0], rest).seal(
            [number if 0 <= number < _MOST else 0 for number in numbers]
        )
        # 25 octets are 40 characters: what is encoded together can be cut apart
        text = base64.b32encode(sealed).decode().lower()
        tokens = [text[at : at + TOKEN_LENGTH] for at in range(0, len(text), TOKEN_LENGTH)]
        return [token if 0 <= number < _MOST else "" for token, number in zip(tokens, numbers, strict=True)]

    def read(self, token: str) -> ReturnPath | None:
        """What the token stands for; None for every text that was not made for this newsletter. Case means nothing:
        some servers change it."""
        if len(token) != TOKEN_LENGTH or not token.isascii():
            return None
        try:
            sealed = base64.b32decode(token, casefold=True)
        except binascii.Error:
            return None
        for cipher in self._ciphers:
            try:
                return self._opened(cipher.decrypt(sealed, self._bound_to))
            except InvalidTag:
                continue
        return None

    def _opened(self, content: bytes) -> ReturnPath:
        number, days = content[:_ID_BYTES], content[_ID_BYTES : _ID_BYTES + _DAY_BYTES]
        date = _FIRST_DAY + dt.timedelta(days=int.from_bytes(days, "big"))
        return ReturnPath(self._newsletter, int.from_bytes(number, "big"), date, content[-_EDITION_BYTES:])


@lru_cache(maxsize=16)
def _sealer(key: bytes, bound_to: bytes, rest: bytes) -> NumberSealer:
    return NumberSealer(key, bound_to, octets=_ID_BYTES, rest=rest)


def _hashed(edition: str) -> bytes:
    return hashlib.sha256(edition.encode("utf-8", "surrogatepass")).digest()[:_EDITION_BYTES]


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"newsletter return paths").derive(secret.encode())
