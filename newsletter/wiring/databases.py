"""`db upgrade`, `db backup` and `db copy`."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.errors import ConfigError, NewsletterError, NothingToDo, Place, UsageError
from newsletter.settings.addresses import check_database_url
from newsletter.settings.loaded import Loaded
from newsletter.settings.secret_key import GENERATED
from newsletter.wiring.parts import beside_database, database

if TYPE_CHECKING:
    from newsletter.store.copying import Copied
    from newsletter.store.upgrade import Upgraded


def upgrade_database(loaded: Loaded) -> Upgraded:
    """Brings the database's tables to what this program needs. Raises GuardRefused, TemporaryError or OutputError."""
    from newsletter.store.upgrade import upgrade  # see database

    return upgrade(database(loaded))


def backup_database(loaded: Loaded, target: Path | None) -> Path:
    """Writes a copy of the database, by default into `var/`; its path. Raises NothingToDo where there is no table."""
    from newsletter.store.backup import backup, backup_into  # see database
    from newsletter.store.upgrade import database_state

    engine = database(loaded)
    if database_state(engine).empty:
        raise NothingToDo("the database is empty: there is nothing to back up")
    if target is None:
        return backup_into(engine, loaded.resolve(Path("var")), dt.datetime.now(dt.UTC))
    backup(engine, target)
    return target


_URL_KEY = "[database] url"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied, and what an operator has to change by hand now, a sentence each."""

    copied: Copied
    next_steps: tuple[str, ...]


def copy_database(loaded: Loaded, url: str, on_progress: Callable[[int, int], None]) -> Moved:
    """Copies the database into the empty one at `url`, of the same form as `[database] url`.

    Raises UsageError where that is no such URL, and what `newsletter.store.copying.copy_database` raises.
    """
    from newsletter.store.copying import copy_database as copy  # see database
    from newsletter.store.engine import open_engine
    from newsletter.store.failures import shown_url

    try:
        check_database_url(url)
    except ValueError as error:
        raise UsageError(f"TO_URL: {error}", hint="It is written as in [database] url of config.toml.") from None
    _refuse_missing_folder(url, loaded.folder)
    source, target = database(loaded), open_engine(url, loaded.folder)
    before, after = beside_database(loaded, source), beside_database(loaded, target)
    try:
        copied = copy(source, target, locks=before / "locks", now=dt.datetime.now(dt.UTC), on_progress=on_progress)
    except NewsletterError as error:
        if error.place == Place(shown_url(target.url)) != Place(shown_url(source.url)):
            raise _of_target(error) from error
        raise
    return Moved(copied, tuple(_next_steps(loaded, url, before, after)))


def _refuse_missing_folder(url: str, folder: Path) -> None:
    """Raises UsageError where an SQLite file would be made in a folder that is not there, and is not the usual one."""
    if url.startswith("sqlite"):
        parent = (folder / url.removeprefix("sqlite:///")).parent
        if not parent.is_dir() and parent != folder / "var":
            raise UsageError(f"TO_URL: there is no folder {parent}", hint="Make it, or correct the path.")


def _of_target(error: NewsletterError) -> NewsletterError:
    """The same of TO_URL, which stands in no settings."""
    if isinstance(error, ConfigError):
        problem = error.problems[0]
        suggestion = problem.suggestion.replace(_URL_KEY, "TO_URL")
        return ConfigError(
            [replace(problem, key="TO_URL", message=f"TO_URL: {problem.message}", suggestion=suggestion)]
        )
    hint = error.hint.replace(_URL_KEY, "TO_URL")
    return type(error)(f"TO_URL: {error.message}", place=error.place, hint=hint)


def _next_steps(loaded: Loaded, url: str, before: Path, after: Path) -> list[str]:
    """`before` and `after` are the folders of the journal, by the old settings and the new ones."""
    place = loaded.place("database.url")
    steps = [f'Write `url = "{_without_password(url)}"` under [database] ({place}), or set NEWSLETTER__DATABASE__URL.']
    journal = before / "journal.ndjson"
    if journal.exists():
        if before == after:
            steps.append(f"Leave {journal} where it is: it keeps what was sent from being sent again.")
        else:
            steps.append(f"Move {journal} to {after / journal.name}: it keeps what was sent from being sent again.")
    if not url.startswith("sqlite") and _key_is_generated(loaded):
        steps.append(
            f'Write `secret_key = {{ file = "{GENERATED}" }}` under [site]: links in mails that are out go on working '
            "by it, and a key is not made by itself on PostgreSQL."
        )
    if url.startswith("sqlite") and any(
        one.delivery.engine != "threads" for one in loaded.settings.newsletters.values()
    ):
        steps.append('Write `engine = "threads"` under [newsletters.*.delivery]: workers need PostgreSQL.')
    steps.append(
        "Then `newsletter doctor` and `newsletter history`; start `newsletter run`, `newsletter worker` and "
        "`newsletter web` again, whichever there were."
    )
    steps.append("Keep the old database until a newsletter has gone out, and let nothing use it: it would send again.")
    return steps


def _key_is_generated(loaded: Loaded) -> bool:
    reference = loaded.settings.site.secret_key
    missing = reference is None or bool(reference.env and reference.env not in os.environ)
    return missing and loaded.resolve(GENERATED).is_file()


def _without_password(url: str) -> str:
    import sqlalchemy as sa  # see database

    return url if url.startswith("sqlite") else sa.make_url(url).render_as_string(hide_password=True)
