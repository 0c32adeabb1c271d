"""The links that differ per recipient: opaque, hard to forge, and the same every time they are made."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ID_BYTES = 8
_KEY_BYTES = 64
#: 16 bytes of synthetic IV, which is also the proof, and the number: 32 characters of base64 without padding.
_TOKEN_LENGTH = 32


class Purpose(StrEnum):
    """What a token allows; a token for one purpose is worth nothing for another. The value is its path."""

    #: Leave the newsletter (RFC 8058: the List-Unsubscribe URL).
    UNSUBSCRIBE = "unsubscribe"
    #: See and change what is kept about oneself.
    PREFERENCES = "preferences"


@dataclass(frozen=True, slots=True)
class RecipientLinks:
    """One recipient's links."""

    unsubscribe_url: str
    preferences_url: str
    view_url: str


class LinkMaker:
    """Makes the links of one newsletter's mail, and reads their tokens again.

    A token is the subscriber's number under AES-SIV (RFC 5297): encrypted and authenticated together with purpose and
    newsletter, so it says nothing of the person, cannot be forged, and is worth nothing elsewhere. It does not expire:
    a link in a mail must work as long as the mail is kept. `secrets` holds the present key first; tokens made with the
    others are still read.
    """

    def __init__(self, base_url: str, newsletter: str, secrets: Sequence[str]) -> None:
        self._base = base_url.rstrip("/")
        self._newsletter = newsletter
        self._ciphers = [AESSIV(_key(secret)) for secret in secrets]
        self._bound_to = {purpose: [f"{purpose}/{newsletter}".encode()] for purpose in Purpose}

    def links(self, subscriber_id: int, slot: str) -> RecipientLinks:
        """The links of one subscriber in the issue of one slot (`2026-01-07`)."""
        return RecipientLinks(
            unsubscribe_url=self._url(Purpose.UNSUBSCRIBE, subscriber_id),
            preferences_url=self._url(Purpose.PREFERENCES, subscriber_id),
            view_url=f"{self._base}/archive/{self._newsletter}/{slot}",
        )

    def subscriber_id(self, purpose: Purpose, token: str) -> int | None:
        """Whose token it is; None for every token that was not made for this newsletter and purpose."""
        if len(token) != _TOKEN_LENGTH:
            return None
        try:
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        for cipher in self._ciphers:
            try:
                return int.from_bytes(cipher.decrypt(sealed, self._bound_to[purpose]), "big")
            except InvalidTag:
                continue
        return None

    def _url(self, purpose: Purpose, subscriber_id: int) -> str:
        number = subscriber_id.to_bytes(_ID_BYTES, "big")
        token = base64.urlsafe_b64encode(self._ciphers[0].encrypt(number, self._bound_to[purpose])).decode()
        return f"{self._base}/{purpose}/{self._newsletter}/{token}"


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"newsletter link tokens").derive(secret.encode())
