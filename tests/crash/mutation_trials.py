"""What the suite says when a safety is taken out of the product; and that it says nothing as long as it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crash_trials import Tools
from further_trials import (
    faulty_provider,
    four_at_once,
    killed_at,
    left_while_it_was_stopped,
    restored,
    unsubscribes_race,
)
from kill_plans import Cell, Kill
from recorders import Mail
from trial_projects import Kind


@dataclass(frozen=True)
class Check:
    """`trial(tools, mutations)` is a trial of the ordinary suite; mutated, a fault must begin with `notices`."""

    trial: Callable[[Tools, Sequence[str]], list[str]]
    notices: str


def _cell(mail: Mail, threads: int = 1) -> Cell:
    return Cell(mail, Kind.SQLITE, threads, random=False)


CHECKS: Mapping[str, Check] = {
    "no-durable-intent": Check(
        lambda tools, m: killed_at(tools, _cell(Mail.SMTP), Kill("report-before", 3), m), "doubled"
    ),
    "outcome-first": Check(
        lambda tools, m: killed_at(tools, _cell(Mail.SENDGRID), Kill("submit-before", 3), m), "lost"
    ),
    "unknown-resent": Check(
        lambda tools, m: killed_at(tools, _cell(Mail.SENDGRID), Kill("answer-before", 3), m), "doubled"
    ),
    "no-suppression-recheck": Check(
        lambda tools, m: unsubscribes_race(tools, Kind.SQLITE, 900, 300, m).faults, "mailed after they had left"
    ),
    "stale-foresight": Check(
        lambda tools, m: left_while_it_was_stopped(tools, Kind.SQLITE, m), "mailed after they had left"
    ),
    "no-unique-run": Check(lambda tools, m: four_at_once(tools, Kind.SQLITE, meet=True, unique=not m), "doubled"),
    "library-retries": Check(
        lambda tools, m: faulty_provider(tools, _cell(Mail.SENDGRID), ["--fault", "500-after=0.3"], 200, m).faults,
        "doubled",
    ),
    "no-journal": Check(lambda tools, m: restored(tools, Kind.SQLITE, m), "doubled"),
}


def noticed(tools: Tools, name: str) -> tuple[list[str], list[str]]:
    """The faults without the mutation, which must be none, and with it."""
    check = CHECKS[name]
    return check.trial(tools, ()), check.trial(tools, (name,))


def is_noticed(name: str, faults: Sequence[str]) -> bool:
    """Whether the suite says what it must."""
    return any(fault.startswith(CHECKS[name].notices) for fault in faults)
