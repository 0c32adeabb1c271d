"""What operators are told of a slot and its run. Pure: each function makes one alert; its key names the cause."""

from __future__ import annotations

import datetime as dt
import re

from newsletter.alerts.model import Alert, Occasion
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import DeliveryState
from newsletter.pipeline.run_report import RunReport, counts_document
from newsletter.schedule.model import Slot

#: Numbers in words: figures move from one look to the next, and the cause is the same.
_FIGURES = re.compile(r"[+-]?\d[\d.,:/-]*%?")
#: The cause of `not_synced`, over as soon as they are synced.
NOT_SYNCED = "sync"
#: In the order in which a balance sheet is told.
_TOLD = (
    DeliveryState.ACCEPTED,
    DeliveryState.REJECTED,
    DeliveryState.UNKNOWN,
    DeliveryState.SUPPRESSED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.ABANDONED,
)


def not_ready(slot: Slot, why: str, hint: str, *, missing: bool, now: dt.datetime) -> Alert:
    """The issue of a slot is not fit to be sent; told before the slot and again from the slot on."""
    late = now >= slot.at
    begins = "was due" if late else "is due"
    until = f"It still goes out if it is mended by {_clock(slot.catch_up_until, slot.at)}." if late else ""
    return Alert(
        Occasion.MISSING_ISSUE,
        _key(slot.name, "slot" if late else "warning", "missing" if missing else _cause(why)),
        f"{slot.name} {begins} at {slot.at:%H:%M %Z} and {'has no issue' if missing else 'is not ready'}",
        _sentences(why, hint, until),
        _facts(slot),
    )


def refused(slot: Slot, why: str, hint: str, *, now: dt.datetime) -> Alert:
    """A guard refused to send the issue, or something else kept it from being made ready."""
    late = now >= slot.at
    until = f"It is tried again until {_clock(slot.catch_up_until, slot.at)}."
    return Alert(
        Occasion.FAILED,
        _key(slot.name, "slot refused" if late else "refused", _cause(why)),
        f"{slot.name} of {slot.at:%H:%M %Z} is not sent: {why}",
        _sentences(hint, until),
        _facts(slot),
    )


def missed(slot: Slot, why: str) -> Alert:
    """Nothing goes out for a slot any more."""
    return Alert(
        Occasion.FAILED,
        _key(slot.name, "missed"),
        f"{slot.name} was missed: {why}",
        f"It was due at {slot.at:%Y-%m-%d %H:%M %Z}, and could be sent until "
        f"{_clock(slot.catch_up_until, slot.at)}. {_to_send_it(slot.name)}",
        _facts(slot),
    )


def dropped(name: RunName) -> Alert:
    """A slot that had begun is no more in the schedule."""
    return Alert(
        Occasion.FAILED,
        _key(name, "missed"),
        f"{name} was missed: it was taken out of the schedule just before it was due",
        _to_send_it(name),
        {"run": str(name)},
    )


def long_away(newsletter: str, since: dt.datetime, until: dt.datetime) -> Alert:
    """Nothing ran for so long that the slots of that time are not told one by one."""
    return Alert(
        Occasion.FAILED,
        f"{newsletter} away since {since:%Y-%m-%d}",
        f"{newsletter} was not sent by itself from {since:%Y-%m-%d} to {until:%Y-%m-%d}: nothing was running",
        "What was due after that is told for each issue.",
        {"newsletter": newsletter},
    )


def started(run: RunRecord, planned: int) -> Alert:
    """A run begins."""
    return Alert(
        Occasion.SUMMARY,
        _key(run.name, "started"),
        f"{run.name} goes out to {planned:,}",
        f"{run.subject} · via {run.provider} · until {run.deadline:%Y-%m-%d %H:%M %Z}. "
        f"To look on: newsletter watch {run.name}. To stop it: newsletter pause {run.name}",
        {"run": str(run.name), "newsletter": run.name.newsletter, "planned": planned},
    )


def ended(found: RunReport) -> Alert:
    """A run is over, or only an operator can go on with it: its balance sheet."""
    run = found.run
    said = [f"{number:,} {state.name.lower()}: {words}" for (state, words), number in _by_number(found)][:5]
    took = f" in {found.seconds:,.0f} s" if found.seconds is not None else ""
    return Alert(
        Occasion.SUMMARY,
        _key(run.name, "ended"),
        f"{run.name} is {run.state}: {balance_words(found)}{took}",
        "\n".join([run.subject, *said, f"newsletter status {run.name}"]),
        counts_document(run, found.balance),
    )


def paused(found: RunReport) -> Alert:
    """A run stopped, by itself or by an operator."""
    run = found.run
    return Alert(
        Occasion.PAUSED,
        _key(run.name, "paused", _cause(run.reason)),
        f"{run.name} is paused: {run.reason or 'no reason was given'}",
        f"{balance_words(found)}. What is left goes out only by your word, until {run.deadline:%Y-%m-%d %H:%M %Z}: "
        f"newsletter resume {run.name} · to end it: newsletter cancel {run.name}",
        counts_document(run, found.balance),
    )


def unknown(found: RunReport) -> Alert:
    """Of some recipients nobody knows whether they got it; all of them in one alert."""
    run, number = found.run, found.of(DeliveryState.UNKNOWN)
    whose = "1 recipient's outcome is" if number == 1 else f"{number:,} recipients' outcomes are"
    return Alert(
        Occasion.PAUSED,
        _key(run.name, "unknown"),
        f"{run.name}: {whose} unknown",
        f"They are listed, and settled by your word: newsletter resolve {run.name}",
        counts_document(run, found.balance),
    )


def deadline(found: RunReport) -> Alert:
    """The deadline came before everybody was reached."""
    run, number = found.run, found.of(DeliveryState.EXPIRED)
    return Alert(
        Occasion.DEADLINE,
        _key(run.name, "deadline"),
        f"{run.name}: {number:,} of {found.balance.planned:,} were not reached in time",
        f"{balance_words(found)}. To send it to the rest all the same: newsletter retry {run.name} --expired",
        counts_document(run, found.balance),
    )


def broken_off(run: RunRecord, why: str, hint: str) -> Alert:
    """The sending of a run failed, and it is not over."""
    return Alert(
        Occasion.FAILED,
        _key(run.name, "broken off", _cause(why)),
        f"{run.name} was broken off: {why}",
        _sentences(hint, f"It is tried again until {run.deadline:%Y-%m-%d %H:%M %Z}. newsletter status {run.name}"),
        {"run": str(run.name), "newsletter": run.name.newsletter},
    )


def database_away(why: str, hint: str) -> Alert:
    """The database cannot be used; nothing is begun meanwhile."""
    return Alert(Occasion.FAILED, "database", f"nothing can be sent: {why}", _sentences(hint, "It is tried again."))


def settings_refused(why: str) -> Alert:
    """The settings were to be read again, and are wrong."""
    return Alert(
        Occasion.FAILED,
        f"settings {_cause(why)}",
        f"the settings were not read again: {why}",
        "Those from before stay in force. To see all that is wrong: newsletter config show. Then send SIGHUP again.",
    )


def cannot_send(newsletter: str, why: str, hint: str) -> Alert:
    """As it is set up, nothing of a newsletter could be sent."""
    return Alert(
        Occasion.FAILED,
        cannot_send_key(newsletter),
        f"{newsletter} could not be sent: {why}",
        hint,
        {"newsletter": newsletter},
    )


def cannot_send_key(newsletter: str) -> str:
    """Of `cannot_send`: whatever it is, it is over as soon as the newsletter could be sent."""
    return f"{newsletter} cannot be sent"


def not_synced(why: str, hint: str) -> Alert:
    """The subscriber files cannot be taken in at the start."""
    return Alert(Occasion.FAILED, NOT_SYNCED, f"the subscriber files were not synced: {why}", hint)


def program_error(where: str, error: BaseException) -> Alert:
    """A mistake of this program."""
    return Alert(
        Occasion.FAILED,
        f"{where} {type(error).__name__} {_cause(str(error))}",
        f"{where}: an error in the program: {type(error).__name__}: {error}",
        "The log has its traceback. It is tried again; please report it.",
    )


def balance_words(found: RunReport) -> str:
    """`accepted 12,478 · rejected 2`."""
    told = [f"{state.name.lower()} {found.of(state):,}" for state in _TOLD if found.of(state)]
    if not found.of(DeliveryState.ACCEPTED):
        told.insert(0, "accepted 0")
    if found.balance.remaining:
        told.append(f"{found.balance.remaining:,} left")
    return " · ".join(told)


def _by_number(found: RunReport) -> list[tuple[tuple[DeliveryState, str], int]]:
    return sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))


def _key(name: RunName, *cause: str) -> str:
    return " ".join([str(name), *filter(None, cause)])


def _cause(why: str) -> str:
    """What stays the same of a reason while its figures move; not so long that it could not be a key."""
    return _FIGURES.sub("#", why)[:200]


def _facts(slot: Slot) -> dict[str, object]:
    return {"run": str(slot.name), "newsletter": slot.newsletter, "slot": slot.at.isoformat()}


def _clock(at: dt.datetime, beside: dt.datetime) -> str:
    there = at.astimezone(beside.tzinfo)
    return f"{there:%H:%M %Z}" if there.date() == beside.date() else f"{there:%Y-%m-%d %H:%M %Z}"


def _to_send_it(name: RunName) -> str:
    return f"To send it all the same: newsletter -n {name.newsletter} send {name.slot}"


def _sentences(*texts: str) -> str:
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)
