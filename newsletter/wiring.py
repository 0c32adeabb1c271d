"""Picks the concrete parts: which provider, which templates, which keys. Nothing else in the program does.

What only some commands need is imported where it is used: a command about people loads no templates, one about an
issue's text no database.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.errors import NothingToDo, shown
from newsletter.project_files import Shipped, shipped
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.secret_key import site_secrets

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.delivery.provider import MailProvider
    from newsletter.issue.model import Issue
    from newsletter.pipeline.dry_run import DryRun
    from newsletter.pipeline.issue_audience import IssueAudience
    from newsletter.pipeline.prepare import Prepared
    from newsletter.pipeline.request import IssueRequest
    from newsletter.pipeline.sample_mail import SampleMail
    from newsletter.store.audience import SqlAudience
    from newsletter.store.upgrade import Upgraded


def settings(path: Path) -> Loaded:
    """config.toml with the process's environment on top. Raises ConfigError."""
    return load_settings(path, os.environ)


def template_roots(loaded: Loaded) -> tuple[Path, ...]:
    """Where templates are looked up: in the project, then in the package."""
    return (loaded.resolve(loaded.settings.paths.templates), shipped(Shipped.TEMPLATES))


def database(loaded: Loaded) -> Engine:
    """The database as it is, whatever its tables. Raises what `newsletter.store.failures` says."""
    from newsletter.store.engine import open_engine

    return open_engine(loaded.settings.database.url, loaded.folder)


def audience_store(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> SqlAudience:
    """The audience, its tables brought up to date (SQLite) or found up to date (PostgreSQL).

    `say` hears of a backup copy that was made. Raises GuardRefused where `newsletter db upgrade` is needed.
    """
    from newsletter.store.audience import SqlAudience
    from newsletter.store.erasure_key import erasure_key
    from newsletter.store.upgrade import ensure_current

    engine = database(loaded)
    ensure_current(engine, say)
    return SqlAudience(engine, erasure_key(engine))


def signing_keys(loaded: Loaded) -> Sequence[str]:
    """The keys that sign links, the present one first; made on first use where none is configured."""
    return site_secrets(loaded, os.environ)


def dry_run_provider(folder: Path, eml: int | None) -> MailProvider:
    """What takes the mail in a dry run."""
    from newsletter.providers.disk import DiskProvider

    return DiskProvider("disk", folder, eml=eml)


def request(loaded: Loaded, newsletter: str | None, date: str | None) -> IssueRequest:
    """The issue a user asked for, by today's date. Raises UsageError."""
    from newsletter.pipeline.request import request_issue

    return request_issue(loaded, newsletter, date, dt.datetime.now(dt.UTC))


def prepared(
    request: IssueRequest,
    *,
    request_links: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Prepared:
    """The issue read, rendered and checked; `progress` hears (links requested, of how many)."""
    from newsletter.pipeline.check_issue import check_issue

    roots, values = template_roots(request.loaded), branching_values(request)
    return check_issue(request, roots, values, request_links=request_links, progress=progress)


def dry_run_issue(
    request: IssueRequest,
    *,
    eml: int | None = 100,
    shown_to: str | None = None,
    into: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Prepared, DryRun]:
    """Prepares the issue and writes its dry run into `OUTPUT/NEWSLETTER/SLOT`, or into the folder `into`; syncs the
    subscriber files before.

    `shown_to` is the subscriber whose mail the pages show (else the first); `progress` hears (done, of how many),
    `say` what the database has to say.
    """
    from newsletter.pipeline.dry_run import dry_run
    from newsletter.pipeline.prepare import prepare

    roots = template_roots(request.loaded)
    ready = prepare(request, roots, branching_values(request))
    folder = into or request.output(ready.issue.slot)
    with synced_audience(request, ready.issue, say) as audience:
        done = dry_run(
            ready,
            audience,
            secrets=signing_keys(request.loaded),
            make_provider=dry_run_provider,
            folder=folder,
            shown=shown(folder),
            eml=eml,
            shown_to=shown_to,
            template_roots=roots,
            progress=lambda tally: progress(tally.accepted + tally.rejected, tally.planned),
        )
    return ready, done


def one_mail(
    request: IssueRequest, *, shown_to: str | None = None, say: Callable[[str], None] = lambda _: None
) -> SampleMail:
    """The issue's mail as the subscriber `shown_to` (else the first one) gets it; syncs the subscriber files before."""
    from newsletter.pipeline.prepare import prepare
    from newsletter.pipeline.sample_mail import choose_mail, links_of

    ready = prepare(request, template_roots(request.loaded), branching_values(request))
    links = links_of(ready, signing_keys(request.loaded))
    with synced_audience(request, ready.issue, say) as audience:
        return choose_mail(ready, audience, shown_to, links)


def branching_values(request: IssueRequest) -> Callable[[Issue], Iterator[Mapping[str, str]]]:
    """What the members of an issue's audience have in the fields that a template may branch on."""

    from newsletter.delivery.batching import branching_fields

    def values(issue: Issue) -> Iterator[Mapping[str, str]]:
        with synced_audience(request, issue, lambda _: None) as audience:
            yield from map(branching_fields, audience.members())

    return values


@contextmanager
def synced_audience(request: IssueRequest, issue: Issue, say: Callable[[str], None]) -> Iterator[IssueAudience]:
    """The audience of the issue, after the subscriber files were synced. No run is planned by it."""
    from newsletter.pipeline.issue_audience import audience_of, lists_of, refuse_unknown_lists
    from newsletter.pipeline.left_out_rows import LeftOutRows
    from newsletter.pipeline.subscriber_files import sync_before_sending

    selection = lists_of(request, issue)
    store = audience_store(request.loaded, say)
    with closing(LeftOutRows(selection.lists)) as rows:
        sync_before_sending(store, request.loaded, rows, now=dt.datetime.now(dt.UTC))
        refuse_unknown_lists(request, selection, store, rows)
        yield audience_of(request, selection, store, rows)


def upgrade_database(loaded: Loaded) -> Upgraded:
    """Brings the database's tables to what this program needs. Raises GuardRefused, TemporaryError or OutputError."""
    from newsletter.store.upgrade import upgrade

    return upgrade(database(loaded))


def backup_database(loaded: Loaded, target: Path | None) -> Path:
    """Writes a copy of the database, by default into `var/`; its path. Raises NothingToDo where there is no table."""
    from newsletter.store.backup import backup, backup_into
    from newsletter.store.upgrade import database_state

    engine = database(loaded)
    if database_state(engine).empty:
        raise NothingToDo("the database is empty: there is nothing to back up")
    if target is None:
        return backup_into(engine, loaded.resolve(Path("var")), dt.datetime.now(dt.UTC))
    backup(engine, target)
    return target
