"""`schedule list`, `skip` and `unskip`: when newsletters go out by themselves."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.context import globals_of
from newsletter.cli.options import JsonOption
from newsletter.cli.spoken_options import in_words

app = group_of_commands("When newsletters go out by themselves.")

SlotArgument = Annotated[
    str, typer.Argument(metavar="DATE", help="2026-01-07, today, tomorrow; or one edition alone: 2026-01-07.evening.")
]


@app.command("list")
def list_(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first date; without it, what is ahead of now.")
    ] = None,
    number: Annotated[int, typer.Option("--count", metavar="N", min=1, max=10_000, help="How many slots.")] = 10,
    json: JsonOption = False,
) -> None:
    """List the next slots, each with its time, its offset from UTC, and whether its issue is ready.

    Of all newsletters that go out by themselves; of one with -n.

    \b
    Examples:
      newsletter schedule list
      newsletter schedule list --from 2026-03-28 --count 3 --json
    """
    options = globals_of(context, json=json)
    from newsletter.cli import slot_words
    from newsletter.wiring import schedules  # loads every room; `--help` needs none

    loaded, console = options.settings(), options.console
    listed = list(schedules.listed_slots(loaded, options.newsletter, since, number, _now(), console.note))
    names = {one.slot.newsletter for one in listed}
    for name in sorted({one.slot.newsletter for one in listed if not one.enabled}):
        console.note(f"{name} does not go out by itself: schedule.enabled is false")
    if not listed:
        console.note("nothing goes out from then on")
    lines = [slot_words.line(one, several=len(names) > 1) for one in listed]
    wide = [max((len(line[column]) for line in lines), default=0) for column in (0, 1)]
    for when, what, state in lines:
        label = f"{what:{wide[1]}}  " if wide[1] else ""
        console.say(f"{when:{wide[0]}}  {label}{state}")
    console.data([slot_words.document(one) for one in listed])


@app.command()
def skip(
    context: typer.Context,
    date: SlotArgument,
    reason: Annotated[
        str, typer.Option("--reason", callback=in_words, help="Why; it is kept and shown by schedule list.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Leave a date out: nothing goes out by itself, whatever the edition; or leave out one edition of it.

    \b
    Examples:
      newsletter schedule skip 2026-12-24 --reason "office closed"
      newsletter schedule skip 2026-12-24.evening
    """
    options = globals_of(context, json=json)
    from newsletter.wiring import schedules  # see list_

    done = schedules.skip_slot(options.settings(), options.newsletter, date, reason, _now(), options.console.note)
    what = f"{done.newsletter} of {done.date:%a %Y-%m-%d}" + (f", {done.edition}" if done.edition else "")
    options.console.say(f"{what} does not go out{f': {done.reason}' if done.reason else ''}")
    options.console.data(_document(done.newsletter, done.date, done.edition, skipped=True, reason=done.reason))


@app.command()
def unskip(context: typer.Context, date: SlotArgument, json: JsonOption = False) -> None:
    """Take `schedule skip` back. What the settings leave out (skip_dates, skip_holidays) stays left out.

    \b
    Example:
      newsletter schedule unskip 2026-12-24
    """
    options = globals_of(context, json=json)
    from newsletter.wiring import schedules  # see list_

    done = schedules.unskip_slot(options.settings(), options.newsletter, date, _now(), options.console.note)
    what = f"{done.newsletter} of {done.date:%a %Y-%m-%d}" + (f", {done.edition}" if done.edition else "")
    options.console.say(f"{what} goes out again")
    options.console.data(_document(done.newsletter, done.date, done.edition, skipped=False))


def _document(
    newsletter: str, date: dt.date, edition: str | None, *, skipped: bool, reason: str = ""
) -> dict[str, object]:
    """`edition` is null where the whole date is meant."""
    return {
        "newsletter": newsletter,
        "date": date.isoformat(),
        "edition": edition,
        "skipped": skipped,
        "reason": reason,
    }


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
