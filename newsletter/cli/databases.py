"""`db upgrade`, `db backup`, `db copy` and `db prune`."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import count
from newsletter.cli.context import globals_of
from newsletter.cli.options import JsonOption
from newsletter.errors import shown

app = group_of_commands("The database.")


@app.command()
def upgrade(context: typer.Context, json: JsonOption = False) -> None:
    """Bring the tables to what this version of the program needs.

    An SQLite database is upgraded by any command that opens it, and copied first; PostgreSQL waits for this command.

    \b
    Examples:
      newsletter db upgrade
      newsletter -c /srv/newsletter/config.toml db upgrade --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # loads every room; `--help` needs none

    done = wiring.upgrade_database(options.settings())
    if not done.changed:
        options.console.say(f"The database is up to date (step {done.after}).")
    elif done.before is None:
        options.console.say(f"The tables were made (step {done.after}).")
    else:
        options.console.say(f"The database was upgraded from step {done.before} to {done.after}.")
    if done.copy:
        options.console.say(f"A copy from before: {shown(done.copy)}")
    options.console.data({"before": done.before, "after": done.after, "copy": str(done.copy) if done.copy else None})


@app.command("backup")
def back_up(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to; without it a name with the time, in var/ beside config.toml."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a copy of the database as it is now, also while a newsletter is going out. No file is overwritten.

    SQLite: a database, to be put in the old one's place. PostgreSQL: a dump by pg_dump, for pg_restore.

    \b
    Examples:
      newsletter db backup
      newsletter db backup /mnt/backups/newsletter-monday.db
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see upgrade

    written = wiring.backup_database(options.settings(), file)
    size = written.stat().st_size
    options.console.say(f"{shown(written)} ({size:,} bytes)")
    options.console.data({"file": str(written), "bytes": size})


@app.command("copy")
def copy_all(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(
            metavar="TO_URL",
            help="The database to copy to, empty, as [database] url would name it.",
            show_default=False,
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Copy everything into another, empty database, such as from SQLite to PostgreSQL, and compare every row.

    All of it is kept there, or nothing. The database of config.toml is only read, and stays the one that is used until
    config.toml names the other. Stop `newsletter run`, `worker` and `web` first.

    \b
    Examples:
      newsletter db copy postgresql+psycopg://newsletter@db.example.com/newsletter
      PGPASSWORD=… newsletter db copy postgresql+psycopg://newsletter@/newsletter --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see upgrade

    loaded = options.settings()
    with options.console.progress("copying and comparing") as on_progress:
        moved = wiring.copy_database(loaded, url, on_progress)
    copied = moved.copied
    width = max(len(one.name) for one in copied.tables)
    options.console.say(f"{'table':<{width}}  {'rows':>13}  {'written':>9}  {'compared':>9}")
    for one in copied.tables:
        if one.rows:
            times = f"{one.writing:>7.1f} s  {one.comparing:>7.1f} s"
            options.console.say(f"{one.name:<{width}}  {one.rows:>13,}  {times}")
    empty = sum(not one.rows for one in copied.tables)
    options.console.say(
        f"{count(copied.rows, 'row')} copied to {copied.target} and found alike; {empty} tables are empty."
    )
    options.console.say()
    for number, step in enumerate(moved.next_steps, 1):
        options.console.say(f"{number}. {step}")
    options.console.data(
        {
            "target": copied.target,
            "rows": copied.rows,
            "tables": {one.name: one.rows for one in copied.tables},
            "next": list(moved.next_steps),
        }
    )


@app.command()
def prune(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs would lose what.")] = False,
    vacuum: Annotated[
        bool,
        typer.Option("--vacuum", help="Then make SQLite's file smaller; whoever writes meanwhile waits."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Remove what [retention] keeps no longer, as the daemon does once a day. A run that sends is not held up.

    Of a run that is over its calls and words go first, later who its recipients were; its sums stay. A run that is not
    over, or has unknown outcomes, stays whole.

    \b
    Examples:
      newsletter db prune --dry-run
      newsletter db prune --vacuum
    """
    options = globals_of(context, json=json)
    from newsletter import wiring  # see upgrade

    loaded, now = options.settings(), dt.datetime.now(dt.UTC)
    if dry_run:
        found = wiring.prunable(loaded, now=now)
        if found.runs:
            options.console.say(
                f"{count(found.of_calls, 'run')} would lose calls and words, {count(found.of_recipients, 'run')} "
                f"{'its' if found.of_recipients == 1 else 'their'} recipients: {found.recipients:,}."
            )
        else:
            options.console.say("Nothing to prune of any run. Events, clicks and opens are not counted beforehand.")
        options.console.data(
            {
                "runs": found.runs,
                "calls_of_runs": found.of_calls,
                "recipients_of_runs": found.of_recipients,
                "recipients": found.recipients,
            }
        )
        return
    done = wiring.prune_database(loaded, now=now, stop=_breath)
    options.console.say(
        f"runs {done.runs:,} · recipients {done.recipients:,} · attempts {done.attempts:,} · words {done.notes:,} · "
        f"events {done.events:,} · clicks and opens {done.hits:,} · bytes of the journal {done.journal_bytes:,}"
    )
    smaller = wiring.give_room_back(loaded) if vacuum else False
    if vacuum and not smaller:
        options.console.note("The file is as large as before: another process uses it, or the disk is too full.")
    options.console.data(asdict(done) | {"vacuum": smaller})


def _breath() -> bool:
    """Lets others write between two transactions, and never ends by itself; Ctrl-C does."""
    time.sleep(0.02)
    return False
