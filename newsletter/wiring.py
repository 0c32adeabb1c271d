"""Picks the concrete parts: which provider, which templates, which keys. Nothing else in the program does."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from newsletter.delivery.provider import MailProvider
from newsletter.errors import shown
from newsletter.pipeline.check_issue import check_issue
from newsletter.pipeline.dry_run import DryRun, dry_run
from newsletter.pipeline.prepare import Prepared, prepare
from newsletter.pipeline.request import IssueRequest, request_issue
from newsletter.pipeline.sample_mail import SampleMail, choose_mail, links_of, recipients_of
from newsletter.project_files import Shipped, shipped
from newsletter.providers.disk import DiskProvider
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.secret_key import site_secrets


def settings(path: Path) -> Loaded:
    """config.toml with the process's environment on top. Raises ConfigError."""
    return load_settings(path, os.environ)


def template_roots(loaded: Loaded) -> tuple[Path, ...]:
    """Where templates are looked up: in the project, then in the package."""
    return (loaded.resolve(loaded.settings.paths.templates), shipped(Shipped.TEMPLATES))


def signing_keys(loaded: Loaded) -> Sequence[str]:
    """The keys that sign links, the present one first; made on first use where none is configured."""
    return site_secrets(loaded, os.environ)


def dry_run_provider(folder: Path, eml: int | None) -> MailProvider:
    """What takes the mail in a dry run."""
    return DiskProvider("disk", folder, eml=eml)


def request(loaded: Loaded, newsletter: str | None, date: str | None) -> IssueRequest:
    """The issue a user asked for, by today's date. Raises UsageError."""
    return request_issue(loaded, newsletter, date, dt.datetime.now(dt.UTC))


def prepared(
    request: IssueRequest,
    *,
    request_links: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Prepared:
    """The issue read, rendered and checked; `progress` hears (links requested, of how many)."""
    return check_issue(request, template_roots(request.loaded), request_links=request_links, progress=progress)


def dry_run_issue(
    request: IssueRequest,
    *,
    eml: int | None = 100,
    shown_to: str | None = None,
    into: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Prepared, DryRun]:
    """Prepares the issue and writes its dry run into `OUTPUT/NEWSLETTER/SLOT`, or into the folder `into`.

    `shown_to` is the subscriber whose mail the pages show (else the first); `progress` hears (done, of how many).
    """
    roots = template_roots(request.loaded)
    ready = prepare(request, roots)
    folder = into or request.output(ready.issue.slot)
    done = dry_run(
        ready,
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


def one_mail(request: IssueRequest, *, shown_to: str | None = None) -> SampleMail:
    """The issue's mail as the subscriber `shown_to` (else the first one) gets it. Writes nothing."""
    ready = prepare(request, template_roots(request.loaded))
    links = links_of(ready, signing_keys(request.loaded))
    members = list(recipients_of(ready, links))
    return choose_mail(ready, members, shown_to, links)
