"""`subscribers import`, `sync` and `export`: people in CSV files."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from newsletter.cli.asking import ask_pending
from newsletter.cli.console import Console, count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption
from newsletter.cli.spoken_options import in_words, named_list
from newsletter.errors import NothingToDo, UsageError, shown

if TYPE_CHECKING:
    from newsletter.pipeline.import_subscribers import Imported

_STDIN = "-"

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 3 if any row is rejected.")]


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file, or - for standard input.")],
    list_name: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="LIST",
            callback=named_list,
            help="The list of rows that name none; the newsletter's, if it has one.",
        ),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="COLUMN=MEANING", help="What a column means: --map Mail=email; nothing: --map X="
        ),
    ] = None,
    confirmed_by: Annotated[
        str,
        typer.Option(
            "--confirmed-by",
            metavar="TEXT",
            callback=in_words,
            help="You vouch that all without a consent asked for it: where, when.",
        ),
    ] = "",
    reconsent: Annotated[
        str,
        typer.Option(
            "--reconsent",
            metavar="WHY",
            callback=in_words,
            help="They asked to come back; lifts suppressions. It is recorded.",
        ),
    ] = "",
    send_confirmations: Annotated[
        bool,
        typer.Option("--send-confirmations", help="Ask those who stay pending by mail; each has to press a button."),
    ] = False,
    dry_run: DryRunOption = False,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE", help="Where bad rows go; beside the file without it.")
    ] = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Add and update people from a CSV file; nobody is removed, and a suppression always wins.

    The first line names the columns: email, and if there are: name, list, tags, timezone, language, consent_at,
    consent_source; others become attributes. Exports of listmonk and Mailchimp are read as they are. People without a
    consent stay pending and are not mailed. Importing a file again changes nothing.

    \b
    Examples:
      newsletter subscribers import people.csv --dry-run
      newsletter subscribers import fair.csv --list weekly --map Mail=email --confirmed-by "sign-up sheets, fair 2026"
      newsletter subscribers import leads.csv --send-confirmations
      newsletter subscribers import - < people.csv
    """
    options = globals_of(context, json=json)
    meanings = _meanings(mapped or [])
    from newsletter import wiring  # loads every room; `--help` needs none
    from newsletter.pipeline import people
    from newsletter.pipeline.column_meanings import attributes_said
    from newsletter.pipeline.import_subscribers import Claims, import_subscribers, rows_again
    from newsletter.pipeline.output_files import descriptor_of, refuse_taken
    from newsletter.pipeline.rejects_file import HEADS, rejects_beside

    mapping = attributes_said(meanings)
    stream = descriptor_of(Path(file))
    file = _STDIN if stream == 0 else file
    if rejects and file != _STDIN and rejects.exists() and Path(file).exists() and rejects.samefile(file):
        hint = "Name another file, or leave --rejects out."
        raise UsageError("the rejected rows would take the place of the file itself", hint=hint)
    console, loaded = options.console, options.settings()
    if rejects:
        refuse_taken(rejects, loaded, ours=HEADS, another="Name another with --rejects.")
    name = "standard input" if file == _STDIN else file
    if Path(file).is_fifo() and sys.stderr.isatty():
        console.note(f"waiting for what is written into {file}")
    asks: dict[str, object] = {}
    ended = ExitCode.OK
    with _opened(file, name) as opened:
        store = wiring.audience_store(loaded, console.note)
        known = people.all_lists(loaded, store)
        with console.progress("importing") as progress:
            done = import_subscribers(
                store,
                opened,
                name,
                rejects or rejects_beside(Path("stdin" if file == _STDIN or stream is not None else file)),
                named=Path(file).is_file(),  # neither standard input nor a pipe
                choose_list=lambda: people.list_of(loaded, options.newsletter, list_name),
                now=dt.datetime.now(dt.UTC),
                claims=Claims(confirmed_by, reconsent),
                mapped=meanings,
                dry_run=dry_run,
                progress=progress,
            )
        _print(console, done)
        if send_confirmations and not dry_run:
            rows = partial(
                rows_again,
                opened,
                name,
                choose_list=lambda: people.list_of(loaded, options.newsletter, list_name),
                now=dt.datetime.now(dt.UTC),
                mapped=meanings,
            )
            asks, ended = ask_pending(console, loaded, rows, name, options.newsletter)
    for note in mapping:
        console.note(f"  {note}")
    made = {list_name} if dry_run and list_name else people.all_lists(loaded, store)
    new_lists = sorted(made - known) if done.summary.new else []
    for name in new_lists:
        console.note(f"  new list: {name}")
    if done.summary.pending and not (confirmed_by or reconsent or send_confirmations):
        why = "Some have no consent" if done.consents else "No consent column"
        console.say(f"  {why}: those stay pending and are not mailed.")
        console.say('  If they did ask for it, say where and when: --confirmed-by "sign-up sheet, fair 2026"')
        console.say("  To ask them by mail: --send-confirmations")
    if dry_run:
        console.say("  Dry run: nothing was changed.")
    answer = {**_document(done), "new_lists": new_lists, "dry_run": dry_run}
    console.data({**answer, "confirmations": asks} if asks else answer)
    if ended is not ExitCode.OK:
        raise typer.Exit(ended)
    _end(console, [done], strict=strict)


def sync(
    context: typer.Context, dry_run: DryRunOption = False, strict: StrictOption = False, json: JsonOption = False
) -> None:
    """Bring what the files in subscribers/ say into the database: people and values are added, nobody is removed.

    A file without a column `list` feeds the list of its own name.

    \b
    Examples:
      newsletter subscribers sync
      newsletter subscribers sync --dry-run --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see import_
    from newsletter.pipeline.sync_subscribers import sync_subscribers

    console, loaded = options.console, options.settings()
    store = wiring.audience_store(loaded, console.note)
    with console.progress("syncing") as progress:
        done = sync_subscribers(store, loaded, now=dt.datetime.now(dt.UTC), dry_run=dry_run, progress=progress)
    if not done:
        folder = shown(loaded.resolve(loaded.settings.paths.subscribers))
        raise NothingToDo(f"no CSV files in {folder}", hint="newsletter subscribers import FILE takes any other file")
    for name, one in done.items():
        console.say(name)
        _print(console, one)
    if dry_run:
        console.say("  Dry run: nothing was changed.")
    console.data({"files": [{"file": name, **_document(one)} for name, one in done.items()], "dry_run": dry_run})
    _end(console, list(done.values()), strict=strict)


def export(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="The file to write; without it, standard output.")
    ] = "-",
    lists: Annotated[
        list[str] | None, typer.Option("--list", metavar="LIST", help="On this list; given several times, on any.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="With this tag (all of them).")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not guard cells that a spreadsheet would take for formulas.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write people as CSV, one row for each list they are on, whatever their state; `import` takes it back.

    The file is readable by its owner alone.

    \b
    Examples:
      newsletter subscribers export people.csv
      newsletter subscribers export --list weekly --tag press > press.csv
    """
    options = globals_of(context, json=json)
    if json and file == _STDIN:
        raise UsageError("--json needs a file: the people themselves go to standard output", hint="export FILE --json")
    from newsletter import wiring  # see import_
    from newsletter.audience.people import Selection
    from newsletter.pipeline import people
    from newsletter.pipeline.export_subscribers import HEADS, export_subscribers
    from newsletter.pipeline.output_files import private_file, refuse_taken

    console, loaded = options.console, options.settings()
    if file != _STDIN:
        refuse_taken(Path(file), loaded, ours=HEADS)
    store = wiring.audience_store(loaded, console.note)
    chosen = [people.known_list(loaded, store, name) for name in lists or ()]
    names = tuple(name for name in chosen if name) or tuple(store.lists())
    selection = Selection(names, with_tags=tuple(tags or ()))
    with console.progress("exporting") as progress:

        def heard(rows: int) -> None:
            progress(rows, rows)

        if file == _STDIN:
            rows = export_subscribers(store, selection, console.raw, raw=raw, progress=heard)
        else:
            with private_file(Path(file)) as write:
                rows = export_subscribers(store, selection, write, raw=raw, progress=heard)
    if file == _STDIN:
        console.note(count(rows, "row"))
    else:
        console.say(f"  {count(rows, 'row')} → {file}")
    console.data({"rows": rows, "file": file})


def _meanings(mapped: list[str]) -> Mapping[str, str]:
    """`Mail=email` → {"Mail": "email"}. Raises UsageError."""
    found = {}
    for one in mapped:
        column, equals, meaning = one.partition("=")
        if not equals or not column.strip():
            raise UsageError(
                f"--map takes COLUMN=MEANING, not {one!r}", hint="--map Mail=email; to leave one out: Age="
            )
        found[column.strip()] = meaning.strip()
    return found


@contextmanager
def _opened(file: str, name: str) -> Iterator[BinaryIO]:
    """The file; what comes through a pipe is kept in a temporary file first: an import locks SQLite while it reads."""
    from newsletter.pipeline.import_subscribers import open_list  # see import_

    with ExitStack() as stack:
        opened = sys.stdin.buffer if file == _STDIN else stack.enter_context(open_list(Path(file), name))
        if not _seekable(opened):
            kept = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(opened, kept, 1 << 20)
            kept.seek(0)
            opened = kept
        yield opened


def _seekable(file: BinaryIO) -> bool:
    return file.seekable() and not file.isatty()


def _print(console: Console, done: Imported) -> None:
    sums = done.summary
    parts = [f"rows {sums.rows:,}"]
    if sums.new:
        parts.append(f"new {sums.new:,}" + (f" ({sums.pending:,} pending)" if sums.pending else ""))
    for word, number in (("updated", sums.updated), ("unchanged", sums.unchanged)):
        if number:
            parts.append(f"{word} {number:,}")
    if sums.suppressed:
        parts.append(f"suppressed (kept out) {sums.suppressed:,}")
    if sums.duplicate:
        parts.append(f"duplicate {sums.duplicate:,}")
    if sums.invalid:
        parts.append(f"invalid {sums.invalid:,}" + (f" → {shown(done.rejects)}" if done.rejects else ""))
    console.say(f"  {' · '.join(parts)}")
    for note in done.notes:
        console.note(f"  {note}")


def _document(done: Imported) -> dict[str, object]:
    return {
        **asdict(done.summary),
        "rejects": shown(done.rejects) if done.rejects else None,
        "notes": list(done.notes),
    }


def _end(console: Console, done: list[Imported], *, strict: bool) -> None:
    """With `strict`, rejected rows are a failure."""
    invalid = sum(one.summary.invalid for one in done)
    if strict and invalid:
        console.note(f"✗ {count(invalid, 'row was', 'rows were')} rejected (--strict); all others are dealt with")
        raise typer.Exit(ExitCode.CHECKS)
