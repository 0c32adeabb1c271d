"""The name of a run."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunName:
    """Names one run: `daily-buzz/2026-01-07`, or `daily-buzz/2026-01-07.evening`."""

    newsletter: str
    slot: str

    def __str__(self) -> str:
        return f"{self.newsletter}/{self.slot}"

    @classmethod
    def parse(cls, text: str) -> RunName:
        """The run that `text` names. Raises ValueError."""
        newsletter, slash, slot = text.partition("/")
        date, _, _edition = slot.partition(".")
        if not newsletter or not slash:
            raise ValueError(f"a run is named NEWSLETTER/DATE or NEWSLETTER/DATE.EDITION, not {text!r}")
        dt.date.fromisoformat(date)
        return cls(newsletter, slot)
