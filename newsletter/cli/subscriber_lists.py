"""`subscribers list` and `subscribers stats`: many people at a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.console import Console, count
from newsletter.cli.context import globals_of
from newsletter.cli.options import JsonOption
from newsletter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from newsletter.audience.people import ListStats, Person


def list_(
    context: typer.Context,
    lists: Annotated[
        list[str] | None, typer.Option("--list", metavar="LIST", help="On this list; given several times, on any.")
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="With this tag; given several times, with all.")
    ] = None,
    without_tags: Annotated[
        list[str] | None, typer.Option("--without-tag", metavar="TAG", help="Without this tag.")
    ] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="With this value of an attribute.")
    ] = None,
    limit: Annotated[str, typer.Option("--limit", metavar="N|all", help="How many at most.")] = "100",
    after: Annotated[
        str,
        typer.Option("--after", metavar="EMAIL", help="Go on behind this address, the last one of the page before."),
    ] = "",
    json: JsonOption = False,
) -> None:
    """List the people on the lists by address, whatever their state. Without --list: on all lists.

    With --json one person a line, as `show` prints them, and at the end how many, and where to go on.

    \b
    Examples:
      newsletter subscribers list --tag press --without-tag intern --limit 20
      newsletter subscribers list --list daily-buzz --attribute city=Porto --limit all --json
    """
    options = globals_of(context, json=json)
    most = _limit(limit)
    wanted = _attributes(attributes or [])
    from newsletter import wiring  # loads every room; `--help` needs none
    from newsletter.audience.people import Selection
    from newsletter.pipeline import people

    console = options.console
    loaded = options.settings()
    store = wiring.audience_store(loaded, console.note)
    chosen = [people.known_list(loaded, store, name) for name in lists or ()]
    selection = Selection(
        lists=tuple(name for name in chosen if name) or tuple(store.lists()),
        with_tags=tuple(tags or ()),
        without_tags=tuple(without_tags or ()),
        attributes=wanted,
    )
    start = people.address_of(after).key if after else ""
    shown, last = 0, None
    # one more than is shown tells whether there are more
    for person in store.people(selection, after=start, limit=None if most is None else most + 1):
        if shown == most:
            break
        shown, last = shown + 1, person
        console.say(_line(person))
        console.data(people.person_document(person))
    else:
        last = None
    _end(console, shown, last)


def stats(context: typer.Context, json: JsonOption = False) -> None:
    """Show each list in numbers, with its growth over the last 30 days.

    \b
    Examples:
      newsletter subscribers stats
      newsletter subscribers stats --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see list_

    store = wiring.audience_store(options.settings(), options.console.note)
    numbers = store.stats(now=dt.datetime.now(dt.UTC))
    for line in _table(numbers):
        options.console.say(line)
    options.console.data([asdict(one) | {"growth_30_days": one.growth} for one in numbers])


def _limit(text: str) -> int | None:
    """`all` → None, `N` → N. Raises UsageError."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise UsageError(
        f"--limit takes a number from 1 or `all`, not {text!r}", hint="newsletter subscribers list --limit 20"
    )


def _attributes(texts: Sequence[str]) -> Mapping[str, str]:
    """`city=Porto` → {city: Porto}. Raises UsageError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--attribute takes NAME=VALUE, not {text!r}", hint="--attribute city=Porto")
        found[name] = value
    return found


def _line(person: Person) -> str:
    """`anna@example.com  Anna  daily-buzz: subscribed  press, vip`."""
    from newsletter.pipeline.people import shown_address  # see list_

    on = ", ".join(f"{one.list}: {one.state}" for one in person.memberships)
    held = {
        one.reason.replace("_", " ") for one in person.suppressions if one.lift is None and one.reason != "unsubscribe"
    }
    suppressed = f"suppressed: {', '.join(sorted(held))}" if held else ""
    until = person.paused_until
    paused = f"paused until {until:%Y-%m-%d}" if until and until > dt.datetime.now(dt.UTC) else ""
    parts = (shown_address(person), person.name, on, suppressed, paused, ", ".join(person.tags))
    return "  ".join(part for part in parts if part)


def _end(console: Console, shown: int, last: Person | None) -> None:
    """How many there were; `last` is the last of them where there are more."""
    from newsletter.pipeline.people import shown_address  # see list_

    after = shown_address(last) if last else None
    console.data({"count": shown, "next_after": after})
    if after is not None:
        console.note(f"{count(shown, 'person', 'people')}; there are more: --after {after}, or --limit all")
    elif not shown:
        console.note("nobody")


_COLUMNS = ("list", "subscribed", "pending", "unsubscribed", "suppressed", "joined", "left", "growth")


def _table(numbers: Sequence[ListStats]) -> list[str]:
    """A header and a line a list, the numbers to the right."""
    if not numbers:
        return ["no lists yet: newsletter subscribers import FILE"]
    rows = [_COLUMNS, *(_cells(one) for one in numbers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [f"{lines[0]}   in 30 days", *lines[1:]]


def _cells(one: ListStats) -> tuple[str, ...]:
    counts = (one.subscribed, one.pending, one.unsubscribed, one.suppressed, one.joined_30_days, one.left_30_days)
    return (one.list, *(f"{number:,}" for number in counts), f"{one.growth:+,}" if one.growth else "0")
