"""How far a run is, while it goes out: a bar on a terminal, JSON lines for programs, silence elsewhere."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from newsletter.cli.console import Console
from newsletter.delivery.observing import Unobserved
from newsletter.delivery.states import DeliveryState
from newsletter.errors import NewsletterError

if TYPE_CHECKING:
    from newsletter.delivery.run_values import Balance

#: Seconds between two JSON lines at least.
_EVERY = 1.0
#: Seconds between two tries of a database that is away for longer than a moment.
_LASTING = 4.0


class SendProgress(Unobserved):
    """Shows balance sheets as they come. `stopped_itself` says whether the run was paused from within."""

    def __init__(self, console: Console, run: str, show: Callable[[Balance, float, str], None] | None) -> None:
        self.stopped_itself = False
        self._console = console
        self._run = run
        self._show = show
        self._first: tuple[float, int] | None = None
        self._told_at = 0.0
        self._note = ""
        self._last: Balance | None = None
        self._trouble = ""

    def on_balance(self, balance: Balance) -> None:
        """The run stands so now."""
        self._last, self._note = balance, ""
        done, now = balance.planned - balance.remaining, time.monotonic()
        if self._first is None:
            self._first = (now, done)
        since, before = self._first
        rate = (done - before) / (now - since) if now - since > 0.5 else 0.0
        if self._show is not None:
            self._show(balance, rate, "")
        elif self._console.json and now - self._told_at >= _EVERY:
            self._told_at = now
            self._console.data(progress_document(self._run, balance, rate))

    def waiting(self, until: dt.datetime) -> None:
        """See `Observer`."""
        self._remark(f"waits until {until.astimezone():%H:%M:%S}")

    def paused(self, reason: str) -> None:  # noqa: ARG002 - the ledger has it, and it is told at the end
        """See `Observer`."""
        self.stopped_itself = True

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        """See `Observer`."""
        if str(error) != self._trouble:  # the same is said once, and then only that it lasts
            self._trouble = str(error)
            self._console.note(f"  {error}; nothing is sent until it is back")
        elif next_try >= _LASTING:
            self._console.note(f"  the database is still away; next try in {next_try:.0f} s")

    def database_back(self) -> None:
        """See `Observer`."""
        self._trouble = ""
        self._console.note("  the database is back")

    def _remark(self, note: str) -> None:
        if self._show is not None and self._last is not None and note != self._note:
            self._note = note
            self._show(self._last, 0.0, note)


def progress_document(run: str, balance: Balance, rate: float) -> dict[str, object]:
    """One line of `send --json` before the last."""
    states = (DeliveryState.ACCEPTED, DeliveryState.REJECTED, DeliveryState.UNKNOWN, DeliveryState.RETRY_WAIT)
    return {
        "progress": run,
        "planned": balance.planned,
        **{state.name.lower(): balance.of(state) for state in states},
        "remaining": balance.remaining,
        "per_second": round(rate, 1),
    }


@contextmanager
def send_progress(console: Console, run: str) -> Iterator[SendProgress]:
    """Shows the run while the block lasts."""
    with contextlib.ExitStack() as open_bar:
        show = None
        if sys.stderr.isatty() and not console.quiet and not console.json:
            show = open_bar.enter_context(_bar())
        yield SendProgress(console, run, show)


@contextmanager
def _bar() -> Iterator[Callable[[Balance, float, str], None]]:
    # imported here: Rich takes longer to load than the rest of the program
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn(" "), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, words="")

        def show(balance: Balance, rate: float, note: str) -> None:
            done = balance.planned - balance.remaining
            bar.update(task, completed=done, total=balance.planned, words=bar_words(balance, rate, note))

        yield show


def bar_words(balance: Balance, rate: float, note: str = "") -> str:
    """`8,500/12,481  51/s  ETA 1:18  rejected 2`."""
    words = [f"{balance.planned - balance.remaining:,}/{balance.planned:,}"]
    if rate > 0:
        minutes, seconds = divmod(round(balance.remaining / rate), 60)
        words += [f"{rate:,.0f}/s", f"ETA {minutes}:{seconds:02}"]
    for state in (DeliveryState.REJECTED, DeliveryState.UNKNOWN):
        if number := balance.of(state):
            words.append(f"{state.name.lower()} {number:,}")
    return "  ".join([*words, note] if note else words)
