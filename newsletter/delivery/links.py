"""The links that differ per recipient: signed, opaque, and the same every time they are made."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import itsdangerous


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
    """Makes the links of one newsletter's mail.

    Tokens do not expire: a link in a mail must work as long as the mail is kept. They are bound to newsletter,
    subscriber and purpose, and signed with HMAC-SHA256; `secrets` holds the present key first, the others are
    still believed.
    """

    def __init__(self, base_url: str, newsletter: str, secrets: Sequence[str]) -> None:
        self._base = base_url.rstrip("/")
        self._newsletter = newsletter
        # the oldest one: ids stay the same while a key is replaced, as long as the old one is still believed
        self._id_key = secrets[-1].encode()
        self._signers = {
            purpose: itsdangerous.Signer(
                # itsdangerous signs with the last one
                list(reversed(secrets)),
                salt=f"newsletter/{newsletter}/{purpose}",
                sep=".",
                key_derivation="hmac",
                digest_method=hashlib.sha256,
            )
            for purpose in Purpose
        }

    def subscriber_id(self, key: str) -> str:
        """An opaque id for an address key: 22 characters of [A-Za-z0-9_-], from which the address cannot be read."""
        digest = hmac.digest(self._id_key, b"subscriber\0" + key.encode(), "sha256")[:16]
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def links(self, subscriber_id: str, slot: str) -> RecipientLinks:
        """The links of one subscriber in the issue of one slot (`2026-01-07`)."""
        return RecipientLinks(
            unsubscribe_url=self._signed(Purpose.UNSUBSCRIBE, subscriber_id),
            preferences_url=self._signed(Purpose.PREFERENCES, subscriber_id),
            view_url=f"{self._base}/archive/{self._newsletter}/{slot}",
        )

    def _signed(self, purpose: Purpose, subscriber_id: str) -> str:
        token = self._signers[purpose].sign(subscriber_id).decode()
        return f"{self._base}/{purpose}/{self._newsletter}/{token}"
