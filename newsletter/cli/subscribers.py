"""`subscribers add`, `remove`, `show` and `erase`: one person at a time; and the group of all commands about people."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import run_words, subscriber_files, subscriber_lists
from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import Console, count
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.options import JsonOption
from newsletter.cli.spoken_options import in_words, named_list
from newsletter.errors import UsageError, shown

if TYPE_CHECKING:
    from newsletter.audience.people import Person, Suppression
    from newsletter.delivery.run_values import Delivery
    from newsletter.events.model import Event

app = group_of_commands("The people who get the mail.")
app.command("import")(subscriber_files.import_)
app.command("sync")(subscriber_files.sync)
app.command("export")(subscriber_files.export)
app.command("list")(subscriber_lists.list_)
app.command("stats")(subscriber_lists.stats)

#: For people; programs get all of them.
_MOST_TOLD = 10

EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The address, in any spelling.")]


@app.command()
def add(
    context: typer.Context,
    email: EmailArgument,
    list_name: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="LIST", callback=named_list, help="Which list; the newsletter's, where it has one."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Their name.")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="An IANA time zone: Europe/Warsaw.")] = "",
    language: Annotated[str, typer.Option("--language", help="A language tag: pl.")] = "",
    consent_source: Annotated[
        str,
        typer.Option(
            "--consent-source",
            callback=in_words,
            help="Where they asked for it: fair 2026, letter. Without it: pending.",
        ),
    ] = "",
    wording: Annotated[str, typer.Option("--wording", callback=in_words, help="In what words they asked for it.")] = "",
    reconsent: Annotated[
        str,
        typer.Option(
            "--reconsent",
            metavar="WHY",
            callback=in_words,
            help="They left and asked to come back; lifts what stands.",
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Put somebody on a list: subscribed with a consent, else pending (not mailed until they confirm).

    A suppression wins: they are not added unless --reconsent says why, which is recorded.

    \b
    Examples:
      newsletter subscribers add anna@example.com --name Anna --consent-source "fair 2026"
      newsletter subscribers add ben@example.com --reconsent "asked by phone on 7 January"
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # loads every room; `--help` needs none
    from newsletter.audience.people import Consent
    from newsletter.pipeline import people

    address = people.address_of(email)
    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    chosen = people.known_list(loaded, store, list_name) or people.list_of(loaded, options.newsletter, None)
    now = dt.datetime.now(dt.UTC)
    row = people.row_of(address, name=name, tags=tag or (), timezone=timezone, language=language)
    said = Consent(chosen, now, consent_source or people.SOURCE, wording) if consent_source or wording else None
    added = people.add_person(store, row, chosen, consent=said, reconsent=reconsent, now=now)
    ended = f" ({count(added.lifted, 'suppression')} lifted)" if added.lifted else ""
    options.console.say(f"{address.shown} is {added.state} on {chosen}{ended}")
    options.console.data({"email": address.shown, "list": chosen, "state": added.state.value, "lifted": added.lifted})


@app.command()
def remove(
    context: typer.Context,
    email: EmailArgument,
    list_name: Annotated[
        str | None, typer.Option("--list", metavar="LIST", help="Only this list; without it, all, also lists to come.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Kept with the record.")] = "",
    json: JsonOption = False,
) -> None:
    """Unsubscribe somebody. The record stays, so that no file and no import brings them back; see also erase.

    \b
    Examples:
      newsletter subscribers remove anna@example.com
      newsletter subscribers remove anna@example.com --list weekly --note "asked by phone"
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.pipeline import people

    address = people.address_of(email)
    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    chosen = people.known_list(loaded, store, list_name)
    people.remove_person(store, address.key, chosen, note=note, now=dt.datetime.now(dt.UTC))
    options.console.say(f"{address.shown} has left {chosen or 'all lists'}; nothing is sent to them there")
    options.console.data({"email": address.shown, "list": chosen, "state": "unsubscribed"})


@app.command()
def show(context: typer.Context, email: EmailArgument, json: JsonOption = False) -> None:
    """Show what is held about somebody; with --json all of it, as they may ask to have it (GDPR, article 15).

    \b
    Examples:
      newsletter subscribers show anna@example.com
      newsletter subscribers show anna@example.com --json > anna.json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.pipeline import people
    from newsletter.pipeline.held_data import held_data, whoever_is_held
    from newsletter.wiring.public import public_stores

    address = people.address_of(email)
    loaded = options.settings()
    audience, stores = wiring.audience_store(loaded, options.console.note), public_stores(loaded)
    person = whoever_is_held(audience, stores.signups, address)
    _print(options.console, person)
    for asked in stores.signups.of_person(person.key):
        if asked.confirmed_at is None:
            options.console.say(f"  asked     for {asked.request.list} on {_day(asked.asked_at)}, not confirmed")
    deliveries = stores.ledger.deliveries_of(person.id) if person.id else ()
    for one in deliveries[:_MOST_TOLD]:
        options.console.say(f"  delivery  {delivery_line(one)}")
    if more := deliveries[_MOST_TOLD:]:
        options.console.say(f"  and {count(len(more), 'earlier delivery', 'earlier deliveries')} (--json has them all)")
    for event in stores.events.of_person(person.id, person.key)[-_MOST_TOLD:] if person.id else ():
        options.console.say(f"  event     {event_line(event)}")
    held = held_data(
        person, ledger=stores.ledger, signups=stores.signups, events=stores.events, tracking=stores.tracking
    )
    options.console.data(held)


@app.command()
def erase(
    context: typer.Context,
    email: EmailArgument,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="EMAIL", help="The address again, for scripts; else it is asked for."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Remove everything that is held about somebody, and keep a keyed hash so that they are never mailed again.

    It cannot be undone. To stop mail and keep the record: remove. Files and backups are yours to clean.

    \b
    Examples:
      newsletter subscribers erase anna@example.com
      newsletter subscribers erase anna@example.com --confirm anna@example.com
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.pipeline import people
    from newsletter.pipeline.files_naming import files_naming

    address = people.address_of(email)
    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    _confirmed(options, email, confirm)
    known, clean = people.erase_person(store, address.key, now=dt.datetime.now(dt.UTC))
    held = "was erased" if known else "was not known"
    options.console.say(f"{address.shown} {held}; a keyed hash keeps them from being added again")
    if not clean:
        options.console.say(
            "  The database is in use, or its disk full: the file may still hold old copies of the rows."
        )
        options.console.say("  To overwrite them, run the same command again in a while.")
    named = files_naming(loaded, address)
    still_in = [f"{shown(Path(one.path))}:{one.line}" for one in named.places]
    unsearched = [shown(Path(one.path)) for one in named.unsearched]
    for place in still_in:
        options.console.say(f"  still in {place}: take it out yourself")
    for file in unsearched:
        options.console.say(f"  could not search {file}: look yourself")
    options.console.data(
        {"email": address.shown, "erased": known, "clean": clean, "still_in": still_in, "unsearched": unsearched}
    )


def _confirmed(options: Globals, email: str, confirm: str | None) -> None:
    """Makes sure that this address is meant. Raises UsageError."""
    from newsletter.pipeline import people  # see add

    if confirm is None:
        if not sys.stdin.isatty():
            hint = f"newsletter subscribers erase {email} --confirm {email}"
            raise UsageError("erasing cannot be undone: give the address a second time", hint=hint)
        options.console.note(f"Everything about {email} goes, for good.")
        confirm = typer.prompt("Type the address again", err=True)
    if people.address_of(confirm).key != people.address_of(email).key:
        raise UsageError(f"{confirm} is not {email}: nothing was erased", hint="Type the same address twice.")


def _print(console: Console, person: Person) -> None:
    from newsletter.pipeline import people  # see add

    address = people.shown_address(person)
    console.say(f"{address}  {people.state_of(person)}" if person.id else f"{address}  not a subscriber")
    about = (
        ("name", person.name),
        ("language", person.language),
        ("timezone", person.timezone),
        ("tags", ", ".join(person.tags)),
        *person.attributes.items(),
        ("paused", f"until {_day(person.paused_until)}" if person.paused_until else ""),
        ("opens", "may be measured" if person.measures_opens else ""),
    )
    for label, text in about:
        if text:
            console.say(f"  {label:<10}{text}")
    for member in person.memberships:
        console.say(f"  list      {member.list}: {member.state} since {_day(member.since)}")
    for said in person.consents:
        words = "".join(
            f", {part}" for part in (said.source, f"“{said.wording}”" if said.wording else "", said.ip) if part
        )
        console.say(f"  consent   {said.list}: {_day(said.at)}{words}")
    for one in person.suppressions:
        console.say(f"  {suppression_line(one)}")


def suppression_line(one: Suppression) -> str:
    """`suppressed complaint for all lists on 2026-01-07 (provider)`, and what lifted it."""
    reason = one.reason.replace("_", " ")
    where = f"for {one.list}" if one.list else "for all lists"
    source = f" ({one.source})" if one.source else ""
    note = f": {one.note}" if one.note else ""
    line = f"suppressed {reason} {where} on {_day(one.at)}{source}{note}"
    for lift in (*one.lifted_for, *((one.lift,) if one.lift else ())):
        alone = f" for {lift.list}" if lift.list else ""
        why = f": {lift.note}" if lift.note else ""
        line += f" – lifted{alone} on {_day(lift.at)} by {lift.by}{why}"
    return line


def event_line(one: Event) -> str:
    """`2026-01-07 hard bounce (sendgrid, daily-buzz/2026-01-07): 550 5.1.1 no such user`."""
    said = f": {one.reason or one.code}" if one.reason or one.code else ""
    about = ", ".join([one.source, *([str(one.run)] if one.run else [])])
    return f"{_day(one.at)} {one.kind.value.replace('_', ' ')} ({about}){said}"


def delivery_line(one: Delivery) -> str:
    """`daily-buzz/2026-01-07 accepted, bounced: 550 no such user`."""
    said = f": {one.words}" if one.words else ""
    return f"{one.run} {one.state.name.lower()}{run_words.marks_after(one)}{said}"


def _day(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d}"
