"""`suppress add`, `remove`, `list`, `export` and `import`: addresses that must not be mailed."""

from __future__ import annotations

import datetime as dt
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import count
from newsletter.cli.context import globals_of
from newsletter.cli.options import JsonOption
from newsletter.cli.spoken_options import in_words
from newsletter.cli.subscribers import EmailArgument, suppression_line
from newsletter.errors import AudienceError, NothingToDo, Place, UsageError

app = group_of_commands("Addresses that must not be mailed.")


class Reason(StrEnum):
    """Why an operator suppresses an address."""

    #: The person left.
    UNSUBSCRIBE = "unsubscribe"
    #: The mailbox does not exist.
    HARD_BOUNCE = "hard_bounce"
    #: The person called it spam.
    COMPLAINT = "complaint"
    #: An operator keeps the address out.
    MANUAL = "manual"


ReasonOption = Annotated[Reason, typer.Option("--reason", help="Why they must not be mailed.")]
ListOption = Annotated[
    str | None, typer.Option("--list", metavar="LIST", help="Only this list; without it, all, also lists to come.")
]
NoteOption = Annotated[str, typer.Option("--note", help="Kept with the record.")]


@app.command()
def add(
    context: typer.Context,
    email: EmailArgument,
    reason: ReasonOption = Reason.MANUAL,
    list_name: ListOption = None,
    note: NoteOption = "",
    json: JsonOption = False,
) -> None:
    """Suppress an address: no import, no sync and no sign-up puts it back. It need not be known.

    \b
    Examples:
      newsletter suppress add ben@example.com --reason complaint --note "wrote to us"
      newsletter suppress add ben@example.com --list weekly
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # loads every room; `--help` needs none
    from newsletter.audience.people import SuppressionReason
    from newsletter.pipeline import people

    address = people.address_of(email)
    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    chosen = people.known_list(loaded, store, list_name)
    now = dt.datetime.now(dt.UTC)
    where = chosen or "all lists"
    if not store.suppress(address.key, SuppressionReason(reason), chosen, source=people.SOURCE, now=now, note=note):
        hint = f"newsletter subscribers show {address.shown} shows what stands"
        raise NothingToDo(f"{address.shown} is suppressed for {where} already ({reason})", hint=hint)
    options.console.say(f"{address.shown} is suppressed for {where} ({reason})")
    options.console.data({"email": address.shown, "reason": reason.value, "list": chosen})


@app.command()
def remove(
    context: typer.Context,
    email: EmailArgument,
    why: Annotated[str, typer.Option("--why", callback=in_words, help="The reason, which is recorded.")],
    list_name: Annotated[
        str | None, typer.Option("--list", metavar="LIST", help="Lift it for this list alone; without it, for all.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Lift what stands against an address, as its operator. Nothing is deleted: a further record says why.

    Whoever had left is not subscribed by it; only a new consent does that (subscribers add --reconsent).

    \b
    Example:
      newsletter suppress remove ben@example.com --why "mailbox exists again"
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.audience.people import LiftedBy
    from newsletter.pipeline import people

    address = people.address_of(email)
    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    chosen = people.known_list(loaded, store, list_name)
    lifted = store.lift(address.key, chosen, by=LiftedBy.OPERATOR, note=why, now=dt.datetime.now(dt.UTC))
    if not lifted:
        hint = "newsletter suppress list shows what stands"
        raise NothingToDo(f"nothing stands against {address.shown} for {chosen or 'any list'}", hint=hint)
    options.console.say(f"{count(lifted, 'suppression')} of {address.shown} lifted for {chosen or 'all lists'}")
    options.console.data({"email": address.shown, "list": chosen, "lifted": lifted})


@app.command("list")
def list_(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted, with who lifted them.")] = False,
    json: JsonOption = False,
) -> None:
    """List the suppressions that stand, the oldest first; with --json one object a line, their number last.

    \b
    Examples:
      newsletter suppress list
      newsletter suppress list --all --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.pipeline import people

    store = wiring.audience_store(options.settings(), options.console.note)
    number = 0
    for one in store.suppressions(standing_only=not every):
        number += 1
        options.console.say(f"{one.key}  {suppression_line(one)}")
        options.console.data(people.suppression_document(one))
    options.console.note(count(number, "suppression"))
    options.console.data({"count": number})


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="The file to write; without it, standard output.")
    ] = "-",
    json: JsonOption = False,
) -> None:
    """Write the suppressions that stand as CSV; `suppress import` elsewhere takes them back, with lists and times.

    Erased people are not in it: all that is known of them is a hash, which this database alone can read.

    \b
    Examples:
      newsletter suppress export suppressed.csv
      newsletter suppress export > suppressed.csv
    """
    options = globals_of(context, json=json)
    if json and file == "-":
        raise UsageError("--json needs a file: the rows themselves go to standard output", hint="export FILE --json")
    from newsletter import wiring  # see add
    from newsletter.pipeline.export_suppressions import HEADS, export_suppressions
    from newsletter.pipeline.output_files import private_file, refuse_taken

    console, loaded = options.console, options.settings()
    if file != "-":
        refuse_taken(Path(file), loaded, ours=HEADS)
    store = wiring.audience_store(loaded, console.note)
    if file == "-":
        done = export_suppressions(store, console.raw)
        console.note(count(done.rows, "row"))
    else:
        with private_file(Path(file)) as write:
            done = export_suppressions(store, write)
        console.say(f"  {count(done.rows, 'row')} → {file}")
    if done.erased:
        console.note(f"  not in it: {count(done.erased, 'erased person', 'erased people')}, known by a hash alone")
    console.data({"rows": done.rows, "erased": done.erased, "file": file})


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; - for standard input.")],
    reason: ReasonOption = Reason.MANUAL,
    list_name: ListOption = None,
    note: NoteOption = "",
    json: JsonOption = False,
) -> None:
    """Suppress every address in a file: one a line, or CSV with the columns email and, if there are, reason and note.

    A reason may be said in many words (Unsubscribed, hard bounce, ABUSE), and a file of `suppress export` has the
    list and the time, too. Mailchimp's files of those who left or bounced are read as they are.
    Bad rows are named and left out. Doing it again changes nothing.

    \b
    Examples:
      newsletter suppress import bounces.csv --reason hard_bounce
      newsletter suppress import - < list.txt
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see add
    from newsletter.audience.people import SuppressionReason
    from newsletter.pipeline import people
    from newsletter.pipeline.output_files import descriptor_of
    from newsletter.pipeline.suppress_file import suppress_file

    loaded = options.settings()
    store = wiring.audience_store(loaded, options.console.note)
    chosen = people.known_list(loaded, store, list_name)
    piped = str(file) == "-" or descriptor_of(file) == 0
    shown = "standard input" if piped else str(file)
    with ExitStack() as opened:
        try:
            source = sys.stdin.buffer if piped else opened.enter_context(file.open("rb"))
        except OSError as error:
            hint = "look at its name, owner and mode"
            raise AudienceError(f"cannot be read: {error.strerror}", place=Place(shown), hint=hint) from None
        done = suppress_file(
            store,
            source,
            shown,
            reason=SuppressionReason(reason),
            list_name=chosen,
            source=people.SOURCE,
            note=note,
            now=dt.datetime.now(dt.UTC),
        )
    for one in done.rejects:
        options.console.note(f"{shown}:{one.line}: {one.reason}")
    if done.invalid > len(done.rejects):
        options.console.note(f"and {done.invalid - len(done.rejects):,} more")
    options.console.say(
        f"{count(done.rows, 'row')}: {done.new:,} suppressed, {done.known:,} already, {done.invalid:,} invalid"
    )
    rejects = [{"line": one.line, "reason": one.reason} for one in done.rejects]
    options.console.data(
        {"rows": done.rows, "new": done.new, "known": done.known, "invalid": done.invalid, "rejects": rejects}
    )
