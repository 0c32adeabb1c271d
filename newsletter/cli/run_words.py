"""A run in words: its balance sheet, what the provider said, what to do next, and the exit code it comes to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from newsletter.cli.console import Console
from newsletter.cli.exit_codes import ExitCode
from newsletter.delivery.states import DeliveryState, RunState

if TYPE_CHECKING:
    from newsletter.delivery.names import RunName
    from newsletter.delivery.run_values import Balance, Delivery, RunRecord, WorkerRecord
    from newsletter.pipeline.run_report import RunReport
    from newsletter.settings.loaded import Loaded

#: In the order in which they are told.
_TOLD = (
    DeliveryState.ACCEPTED,
    DeliveryState.REJECTED,
    DeliveryState.UNKNOWN,
    DeliveryState.SUPPRESSED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.ABANDONED,
)
#: The provider's words are grouped; of a longer list the rest is a number.
_MOST_WORDS = 10


def exit_code(found: RunReport, *, stopped_itself: bool = False, limited: bool = False) -> ExitCode:
    """How a command that sent the run ends.

    `stopped_itself`: a breaker or the provider paused it; `limited`: it was to send to so many and then pause.
    """
    state = found.run.state
    if state in (RunState.SENDING, RunState.PLANNED):
        return ExitCode.INTERRUPTED
    if state is RunState.PAUSED and not stopped_itself and not limited:
        return ExitCode.INTERRUPTED
    if found.missed or stopped_itself or state is RunState.CANCELLED:
        return ExitCode.INCOMPLETE
    return ExitCode.OK


def counts(balance: Balance) -> str:
    """`accepted 12,478 · rejected 2 · unknown 1`; how many were accepted always, of the others those that occur."""
    told = [f"{state.name.lower()} {balance.of(state):,}" for state in _TOLD if balance.of(state)]
    if not balance.of(DeliveryState.ACCEPTED):
        told.insert(0, "accepted 0")
    if balance.remaining:
        told.append(f"{balance.remaining:,} left")
    return " · ".join(told)


def say_result(console: Console, found: RunReport, seconds: float) -> None:
    """The end of a send: the sums, the provider's words, what to do next."""
    run = found.run
    mark, state = ("✓", "") if run.state in (RunState.FINISHED, RunState.HELD, RunState.EXPIRED) else ("■", run.state)
    if not state and not found.of(DeliveryState.ACCEPTED):
        mark = "✗"
    if run.state is RunState.SENDING:
        state = "with the workers" if run.shared else "interrupted"
    console.say(f"  {mark} {f'{state} · ' if state else ''}{counts(found.balance)} · {duration(seconds)}")
    for line in grouped_words(found):
        console.say(f"    {line}")
    for line in next_steps(found):
        console.say(f"  {line}")


def grouped_words(found: RunReport) -> Iterator[str]:
    """The provider's words on those it did not take, the most frequent first."""
    missed = [one for one in found.reasons.items() if one[0][0] is not DeliveryState.ACCEPTED]
    said = sorted(missed, key=lambda item: (-item[1], item[0]))
    for (state, words), number in said[:_MOST_WORDS]:
        yield f"{number:,} {state.name.lower()}: {words or 'no reason was given'}"
    if more := said[_MOST_WORDS:]:
        yield f"and {len(more):,} other reasons for {sum(number for _, number in more):,}"


def marks_after(one: Delivery) -> str:
    """`, bounced`: what the provider reported later, behind the state."""
    return "".join(f", {str(mark.name).lower()}" for mark in one.marks)


def worker(one: WorkerRecord) -> str:
    """`mail-2 pid 123: 41 attempts, 3 batches in hand, 30 recipients in flight`."""
    said = [f"{one.attempts:,} attempt{'' if one.attempts == 1 else 's'}"]
    if one.batches:
        said.append(f"{one.batches:,} batch{'' if one.batches == 1 else 'es'} in hand")
        said.append(f"{one.in_flight:,} in flight")
    return f"{one.name}{'' if one.living else ' (gone)'}: {', '.join(said)}"


def no_worker(run: RunName | str, *, alive: bool) -> str:
    """What is said of a run that nobody sends, though it was handed over; `alive`: there are workers."""
    if alive:
        return "Workers are alive, and none has taken up a part of it. If that goes on: `worker_not_fit` in their logs"
    return f"No worker is alive: start `newsletter worker` on a machine that has config.toml and the issue of {run}"


def next_steps(found: RunReport, due: str = "") -> Iterator[str]:
    """What is worth doing now. `due` is when a run that is planned goes out by itself, '' where it does not."""
    run, rejected = found.run, found.of(DeliveryState.REJECTED)
    unknown, expired = found.of(DeliveryState.UNKNOWN), found.of(DeliveryState.EXPIRED)
    if run.state is RunState.PAUSED:
        yield _paused(run.reason)
    in_flight = found.of(DeliveryState.IN_FLIGHT)
    if in_flight and run.sender and run.state is not RunState.SENDING:
        yield f"Calls for {in_flight:,} are still out, in the hands of {run.sender}: newsletter watch {run.name}"
    elif in_flight and not run.sender and not run.shared:
        yield f"{in_flight:,} were in flight when their process ended: resume makes them unknown, and goes on"
    if run.state is RunState.PAUSED:
        yield f"To go on: newsletter resume {run.name}"
        yield f"To end it: newsletter cancel {run.name}"
    elif run.with_workers and (found.any_worker is False or not found.workers):
        yield no_worker(run.name, alive=found.any_worker is not False)
        yield f"To stop it: newsletter pause {run.name}"
    elif run.with_workers:
        yield f"Workers send it. To look on: newsletter watch {run.name}; to stop them: newsletter pause {run.name}"
    elif run.state is RunState.PLANNED and not run.sender and due:
        yield f"It goes out by itself at {due}, by `newsletter run`. To send it before: newsletter resume {run.name}"
    elif run.state in (RunState.SENDING, RunState.PLANNED) and not run.sender:
        yield f"To go on: newsletter resume {run.name}"
    if rejected:
        yield f"Who was refused: newsletter status {run.name} --who rejected"
    if unknown:
        whose = "1 recipient's outcome is" if unknown == 1 else f"{unknown:,} recipients' outcomes are"
        yield f"{whose} unknown: newsletter resolve {run.name}"
    if expired:
        yield f"For {expired:,} the deadline or retry_for came first: newsletter retry {run.name} --expired"


def _paused(reason: str) -> str:
    if reason.startswith("paused "):  # by an operator
        return f"P{reason[1:]}"
    return f"Paused: {reason}" if reason else "Paused."


def due_moment(loaded: Loaded, run: RunRecord, now: dt.datetime) -> str:
    """When a run that a daemon planned goes out by itself; '' where its newsletter does not, or that is over."""
    newsletter = loaded.settings.newsletters.get(run.name.newsletter)
    if newsletter is None or not newsletter.schedule.enabled or run.state is not RunState.PLANNED:
        return ""
    from newsletter.pipeline.slot_time import slot_time  # not needed where nothing is planned

    at = slot_time(newsletter.schedule, run.issue_date, run.edition)
    if at.astimezone(dt.UTC) <= now.astimezone(dt.UTC):
        return ""
    each = ", in each recipient's own time zone" if newsletter.schedule.recipient_timezone else ""
    return f"{at:%Y-%m-%d %H:%M %Z}{each}"


def duration(seconds: float) -> str:
    """`0.4s`, `38s`, `4m07s`, `1h02m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def moment(at: dt.datetime | None, zone: dt.tzinfo | None) -> str:
    """To the second, in `zone`, the newsletter's; None: in this machine's."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if at else "not yet"


def zone_of(loaded: Loaded, run: RunRecord) -> dt.tzinfo | None:
    """The zone of the run's newsletter; None where the settings do not have that any more."""
    newsletter = loaded.settings.newsletters.get(run.name.newsletter)
    return newsletter.schedule.timezone if newsletter else None
