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

from newsletter.delivery.return_paths import ReturnPaths
from newsletter.delivery.sealing import NumberSealer

_KEY_BYTES = 64
#: 16 bytes of synthetic IV, which is also the proof, and the number: 32 characters of base64 without padding.
_TOKEN_LENGTH = 32
#: From the alphabet of base64 to the one for URLs (RFC 4648, section 5).
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Purpose(StrEnum):
    """What a token allows; a token for one purpose is worth nothing for another. The value is its path."""

    #: Leave the newsletter (RFC 8058: the List-Unsubscribe URL).
    UNSUBSCRIBE = "unsubscribe"
    #: See and change what is kept about oneself.
    PREFERENCES = "preferences"
    #: Confirm a request; the number is that of the request (`audience.signups.SignUp`), not of a subscriber.
    CONFIRM = "confirm"
    #: Whose click or open it is: of clicks where tracking is per person, of opens of those who consented to it.
    TRACK = "track"


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
        keys = [_key(secret) for secret in secrets]
        self._ciphers = [AESSIV(key) for key in keys]
        self._bound_to = {purpose: [f"{purpose}/{newsletter}".encode()] for purpose in Purpose}
        self._sealers = {purpose: NumberSealer(keys[0], bound_to) for purpose, [bound_to] in self._bound_to.items()}
        #: The tokens of envelope senders, by the same keys.
        self.return_paths = ReturnPaths(newsletter, secrets)

    def links(self, subscriber_id: int, slot: str) -> RecipientLinks:
        """The links of one subscriber in the issue of one slot (`2026-01-07`)."""
        return RecipientLinks(
            unsubscribe_url=self._url(Purpose.UNSUBSCRIBE, subscriber_id),
            preferences_url=self._url(Purpose.PREFERENCES, subscriber_id),
            view_url=self.view_url(slot),
        )

    def view_url(self, slot: str) -> str:
        """Where the issue of one slot is read; the same for everybody."""
        return f"{self._base}/archive/{self._newsletter}/{slot}"

    def urls(self, purpose: Purpose, numbers: Sequence[int]) -> list[str]:
        """The link for `purpose` of each subscriber (or sign-up), by number."""
        return self._tokens(purpose, numbers, f"{self._base}/{purpose}/{self._newsletter}/")

    def tokens(self, purpose: Purpose, numbers: Sequence[int]) -> list[str]:
        """The `token` of each number for `purpose`."""
        return self._tokens(purpose, numbers, "")

    def _tokens(self, purpose: Purpose, numbers: Sequence[int], start: str) -> list[str]:
        # 24 octets are 32 characters: what is encoded together can be cut apart
        sealed = binascii.b2a_base64(self._sealers[purpose].seal(numbers), newline=False)
        text = sealed.translate(_URL_SAFE).decode("ascii")
        return [start + text[at : at + _TOKEN_LENGTH] for at in range(0, len(text), _TOKEN_LENGTH)]

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

    def token(self, purpose: Purpose, number: int) -> str:
        """The token of this number for `purpose`: 32 characters that a URL carries as they are."""
        return self.tokens(purpose, [number])[0]

    def open_url(self, subscriber_id: int, slot: str) -> str:
        """The address of the image by which an open of the issue of one slot is counted."""
        token = self.token(Purpose.TRACK, subscriber_id)
        return f"{self._base}/o/{self._newsletter}/{slot}/{token}.gif"

    def confirm_url(self, signup_id: int) -> str:
        """The link of a confirmation mail."""
        return self._url(Purpose.CONFIRM, signup_id)

    def _url(self, purpose: Purpose, number: int) -> str:
        return self.urls(purpose, [number])[0]


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"newsletter link tokens").derive(secret.encode())
