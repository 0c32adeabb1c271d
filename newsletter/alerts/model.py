"""What operators are told. Values and a Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Occasion(StrEnum):
    """What happened; the words of `[notifications] on`."""

    #: There is no issue for a slot, or it is not fit to be sent.
    MISSING_ISSUE = "missing_issue"
    #: A slot or a send failed: refused by a guard, missed, config broken, database away.
    FAILED = "failed"
    #: A run was paused, by a breaker or an operator, or has unknown outcomes.
    PAUSED = "paused"
    #: A deadline came before everybody was reached.
    DEADLINE = "deadline"
    #: A run started, or ended: with its balance sheet.
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell. `key` names the cause: the same is told once. `title` is one line; `text` says what to do.

    `facts` are figures for machines (run, planned, accepted, …); no address of a recipient is in any of it.
    """

    occasion: Occasion
    key: str
    title: str
    text: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


class Beat(StrEnum):
    """What a dead man's switch hears; the last part of the URL that is requested ("" for success)."""

    START = "start"
    SUCCESS = ""
    FAIL = "fail"


class Teller(Protocol):
    """Tells operators. Returns at once; what cannot be told is logged, and never stops a send."""

    def tell(self, alert: Alert) -> None:
        """Tells an alert, if operators want to hear of its occasion."""
        ...

    def beat(self, beat: Beat) -> None:
        """Requests the heartbeat URL, if there is one."""
        ...

    def close(self) -> None:
        """Waits a short while until what was told is out."""
        ...
