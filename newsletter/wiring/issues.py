"""An issue checked, previewed and run dry, with the parts that this takes.

What only some commands need is imported where it is used: an issue's text takes no database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.errors import shown
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import audience_store, signing_keys, template_roots

if TYPE_CHECKING:
    from newsletter.audience.people import Selection
    from newsletter.audience.store import AudienceStore
    from newsletter.delivery.provider import MailProvider
    from newsletter.issue.model import Issue
    from newsletter.pipeline.dry_run import DryRun
    from newsletter.pipeline.issue_audience import AudienceNumbers, IssueAudience
    from newsletter.pipeline.left_out_rows import LeftOutRows
    from newsletter.pipeline.prepare import Prepared
    from newsletter.pipeline.request import IssueRequest
    from newsletter.pipeline.sample_mail import SampleMail


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


def looked_at(request: IssueRequest, store: AudienceStore) -> Prepared:
    """As `prepared`, with the database as it stands: nothing is synced, and nothing changed."""
    from newsletter.delivery.recipients import branching_fields
    from newsletter.pipeline.check_issue import check_issue
    from newsletter.pipeline.issue_audience import lists_of

    def values(issue: Issue) -> Iterator[Mapping[str, str]]:
        yield from map(branching_fields, store.members(store.plan(lists_of(request, issue)).members))

    return check_issue(request, template_roots(request.loaded), values)


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


def branching_values(
    request: IssueRequest, store: AudienceStore | None = None
) -> Callable[[Issue], Iterator[Mapping[str, str]]]:
    """What the members of an issue's audience have in the fields that a template may branch on."""

    def values(issue: Issue) -> Iterator[Mapping[str, str]]:
        # imported here: few templates branch
        from newsletter.delivery.recipients import branching_fields

        with synced_audience(request, issue, lambda _: None, store) as audience:
            yield from map(branching_fields, audience.members())

    return values


@contextmanager
def synced_audience(
    request: IssueRequest, issue: Issue, say: Callable[[str], None], store: AudienceStore | None = None
) -> Iterator[IssueAudience]:
    """The audience of the issue, after the subscriber files were synced. No run is planned by it. `store` is the
    database, where it is open already."""
    from newsletter.pipeline.issue_audience import audience_of

    with _synced(request, issue, say, store) as (selection, there, rows):
        yield audience_of(request, selection, there, rows)


def synced_numbers(
    request: IssueRequest, issue: Issue, say: Callable[[str], None], store: AudienceStore | None = None
) -> AudienceNumbers:
    """The same, counted."""
    from newsletter.pipeline.issue_audience import numbers_of

    with _synced(request, issue, say, store) as (selection, there, rows):
        return numbers_of(request, selection, there, rows)


@contextmanager
def _synced(
    request: IssueRequest, issue: Issue, say: Callable[[str], None], store: AudienceStore | None
) -> Iterator[tuple[Selection, AudienceStore, LeftOutRows]]:
    """Whom the issue is for, where they are, and the rows of subscriber files that came to nothing."""
    from newsletter.pipeline.issue_audience import lists_of, refuse_unknown_lists
    from newsletter.pipeline.left_out_rows import LeftOutRows
    from newsletter.pipeline.subscriber_files import sync_before_sending

    selection = lists_of(request, issue)
    if store is None:
        store = audience_store(request.loaded, say)
    with closing(LeftOutRows(selection.lists)) as rows:
        sync_before_sending(store, request.loaded, rows, now=dt.datetime.now(dt.UTC))
        refuse_unknown_lists(request, selection, store, rows)
        yield selection, store, rows
