"""The folder of single mails, as the contract suite sees it: read back as a mail client reads messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disk_harness import arrived
from provider_harness import Answer, Arrived

from newsletter.delivery.provider import MailProvider
from newsletter.providers.eml_folder import EmlFolder


class EmlFolderHarness:
    """A folder cannot be told anything."""

    answers: frozenset[Answer] = frozenset()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "made" / "when needed"

    def provider(self) -> MailProvider:
        return EmlFolder("disk", self._folder)

    def answer_next(self, answer: Answer) -> None:
        raise NotImplementedError

    def refuse(self, address: str) -> None:
        raise NotImplementedError

    def arrived(self) -> Sequence[Arrived]:
        files = sorted(self._folder.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        return [arrived(file.read_bytes()) for file in files]

    def close(self) -> None:
        """Nothing runs."""
