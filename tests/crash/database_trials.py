"""Trials of a send whose database or disk fails under it: away, locked by another, without room. Each returns its
faults. The send must go on by itself, or with the next command, until everybody is accepted once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from crash_trials import Tools, Trial, one_trial
from further_trials import wait_until
from kill_plans import Cell, Kill
from recorders import Mail
from trial_projects import SLOT, Kind, Terms

#: How many of the first commits of a command find no room, one a command.
_COMMITS = 11
#: Bytes.
_ROOMS = (150_000, 250_000, 400_000)


@contextmanager
def _under_way(tools: Tools, kind: Kind, change: Mapping[str, float] | None = None) -> Iterator[Trial]:
    """A send that takes three seconds, in the middle of it; afterwards it must have met with trouble, and ended
    well, with nobody unknown."""
    people = 300
    with tools.projects.project(kind, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people))
        project.set("rate", f'"{people // 3}/s"', "providers.smtp")
        request = trial.request(["send", SLOT, "--confirm", str(people)])
        tools.sender.start(replace(request, change=dict(change or {})))
        recorder = tools.recorders[Mail.SMTP]
        wait_until(lambda: recorder.count() >= people // 10 or tools.sender.ended is not None, tools.sender)
        assert tools.sender.ended is None, "it ended too soon"
        yield trial
        trial.finding.check(tools.sender.wait() == 0, f"it ended with {tools.sender.ended}")
        trial.finding.check(tools.sender.endured > 0, "it met with nothing")
        trial.compare()
        trial.settle()


def server_is_away(tools: Tools) -> list[str]:
    """PostgreSQL is stopped in mid-run, and started again."""
    server = tools.projects.postgres
    assert server is not None
    with _under_way(tools, Kind.POSTGRESQL) as trial, server.away():
        time.sleep(1)
    return trial.finding.faults


def locked_by_another(tools: Tools) -> list[str]:
    """Another process writes to the SQLite database for longer than one waits for it."""
    with _under_way(tools, Kind.SQLITE, {"newsletter.store.engine:LOCK_WAIT": 0.2}) as trial:
        other = sqlite3.connect(trial.project.folder / "var" / "newsletter.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)
        other.execute("ROLLBACK")
        other.close()
    return trial.finding.faults


def no_room_at_each_commit(tools: Tools, kind: Kind, when: str) -> list[str]:
    """One command after the other finds no room (`when`: before or after) at the next of its commits."""
    cell = Cell(Mail.SMTP, kind, 4, random=False)
    full = [Kill(f"commit-{when}", number, action=f"{kind}-full") for number in range(1, _COMMITS + 1)]
    return one_trial(tools, cell, Terms(60), full).faults


def no_room_in_the_middle(tools: Tools, kind: Kind) -> list[str]:
    """One send finds no room for its journal and for its commits, before and after they were kept; and, where there is
    a connection, that breaks off too."""
    orders = [
        *("journal-before:2=full", "journal-within:4=full", "journal-after:6=full"),
        *(f"exchange-commit-{when}:{number}={kind}-full" for when, number in (("before", 8), ("after", 10))),
    ]
    orders += ["exchange-commit-after:12=gone"] if kind is Kind.POSTGRESQL else []
    return _sent_in_spite_of(tools, kind, orders)


def files_cannot_grow(tools: Tools, room: int) -> list[str]:
    """For a while no file of the process grows beyond `room` bytes (setrlimit(2))."""
    return _sent_in_spite_of(tools, Kind.SQLITE, [], room)


def _sent_in_spite_of(tools: Tools, kind: Kind, orders: list[str], room: int = 0) -> list[str]:
    with tools.projects.project(kind, 300) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(300))
        request = replace(trial.request(["send", SLOT, "--confirm", "300"], orders), file_limit=room)
        code = tools.sender.run(request)
        met = tools.sender.endured
        trial.finding.check(met >= max(1, len(orders)), f"it met with {met} of {max(1, len(orders))}")
        trial.finding.check(code == 0, f"it ended with {code}: {(project.folder / 'output').read_text()}")
        trial.compare()
        trial.settle()
        return trial.finding.faults


#: By what befalls a send: what the tests go through, and `make crash` prints.
DATABASE_TRIALS: Mapping[str, Callable[[Tools], list[str]]] = {
    "PostgreSQL is stopped, and started again": server_is_away,
    "another process has SQLite locked for too long": locked_by_another,
    **{
        f"no room {when} each commit, {kind}": partial(no_room_at_each_commit, kind=kind, when=when)
        for kind in Kind
        for when in ("before", "after")
    },
    **{f"no room in the middle, {kind}": partial(no_room_in_the_middle, kind=kind) for kind in Kind},
    **{
        f"no file grows beyond {room:,} bytes": partial(files_cannot_grow, room=room)
        for room in (150_000, 250_000, 400_000)
    },
}
