"""The disk's side of the contract suite: a folder, read back as a mail client reads messages."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Sequence
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

from provider_harness import Answer, Arrived

from newsletter.delivery.provider import MailProvider
from newsletter.providers.disk import DiskProvider

_ELSEWHERE = {"to", "subject", "mime-version", "content-type"}


class DiskHarness:
    """A folder cannot be told anything."""

    answers: frozenset[Answer] = frozenset()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def provider(self) -> MailProvider:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        return DiskProvider("disk", folder, eml=None)

    def answer_next(self, answer: Answer) -> None:
        raise NotImplementedError

    def refuse(self, address: str) -> None:
        raise NotImplementedError

    def arrived(self) -> Sequence[Arrived]:
        return [arrived(file.read_bytes()) for file in sorted(self._folder.glob("*/messages/*.eml"))]

    def close(self) -> None:
        """Nothing runs."""


def arrived(raw: bytes) -> Arrived:
    """A complete message as a mail client reads it."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    (mailbox,) = message["To"].addresses
    parts = {}
    for subtype in ("html", "plain"):
        part = message.get_body((subtype,))
        assert part is not None
        parts[subtype] = part.get_content().replace("\r\n", "\n")
    return Arrived(
        address=mailbox.addr_spec,
        name=_display_name(raw, mailbox.display_name),
        subject=message["Subject"],
        html=parts["html"],
        text=parts["plain"],
        headers={name.lower(): str(value) for name, value in message.items() if name.lower() not in _ELSEWHERE},
    )


def _display_name(raw: bytes, parsed: str) -> str:
    """The older decoder for several encoded-words: the newer one puts blanks between them until 3.13 (gh-128110)."""
    field = re.search(rb"^To: (.*\r\n(?: .*\r\n)*)", raw, re.MULTILINE)
    assert field is not None
    phrase = field[1].decode("ascii").rpartition("<")[0].strip()
    return str(make_header(decode_header(phrase))) if phrase.count("=?utf-8?") > 1 else parsed
