"""`send --dry-run`: the real run, with a folder for a provider."""

from __future__ import annotations

import csv
import datetime as dt
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from newsletter.audience.model import Audience, Excluded
from newsletter.audience.spreadsheets import guarded
from newsletter.delivery.dry_ledger import DryLedger, dry_record
from newsletter.delivery.guards import refuse_audience_change
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Tally
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.send import EndedCall, Limiter, SendTerms, SystemClock, Unobserved, send_run
from newsletter.delivery.states import DeliveryState
from newsletter.errors import GuardRefused, OutputError
from newsletter.pipeline.issue_audience import IssueAudience
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.pipeline.preview_page import EXCLUDED_SHOWN, FILES, MEMBERS_SHOWN, PreviewFacts, preview_page
from newsletter.pipeline.sample_mail import addressing_of, choose_mail, links_of
from newsletter.pipeline.staging import staged_folder
from newsletter.preflight.model import Level

#: (folder to write into, how many messages to keep; None: all) → the provider of a dry run
MakeProvider = Callable[[Path, int | None], MailProvider]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a dry run did, and where it wrote it."""

    folder: Path
    audience: Audience
    tally: Tally
    html_bytes: int
    text_bytes: int
    #: What a live send would be refused for, as far as the audience goes; '' for nothing.
    refusal: str = ""


def dry_run(
    prepared: Prepared,
    audience: IssueAudience,
    *,
    secrets: Sequence[str],
    make_provider: MakeProvider,
    folder: Path,
    shown: str,
    eml: int | None = 100,
    shown_to: str | None = None,
    template_roots: Sequence[Path],
    progress: Callable[[Tally], None] = lambda _: None,
) -> DryRun:
    """Writes what a send would send into `folder`, whole or not at all; the same input gives the same bytes.

    `secrets` sign the links, the present one first; `shown` is the folder as a user knows it; `shown_to` the address
    whose mail the pages show (else the first). Raises OutputError, and UsageError where `shown_to` would get no mail.
    """
    links = links_of(prepared, secrets)
    mail = choose_mail(prepared, audience, shown_to, links)
    with staged_folder(folder, shown, made_of="summary.json") as staged:
        provider = make_provider(staged, eml)
        try:
            tally = _sent(prepared, audience, links, provider, progress)
        except OutputError as error:
            # staged_folder says it of the folder that the user knows
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None
        finally:
            provider.close()
        done = DryRun(
            folder,
            audience.shown(MEMBERS_SHOWN, EXCLUDED_SHOWN),
            tally,
            prepared.html_bytes,
            len(mail.text.encode()),
            _refusal(prepared, audience),
        )
        _write(staged / "issue.html", mail.html)
        _write(staged / "issue.txt", mail.text)
        _write_excluded(staged / "excluded.csv", audience.excluded())
        _write(staged / "summary.json", json.dumps(summary(prepared, done), indent=2, ensure_ascii=False) + "\n")
        facts = PreviewFacts.of(
            prepared,
            done,
            html=mail.html,
            text=mail.text,
            headers=mail.headers,
            recipient=mail.recipient.address,
            source=prepared.source,
            files=tuple(file for file in FILES if (staged / file).exists()),
        )
        _write(staged / "index.html", preview_page(facts, template_roots))
    return done


def _sent(
    prepared: Prepared,
    audience: IssueAudience,
    links: LinkMaker,
    provider: MailProvider,
    progress: Callable[[Tally], None],
) -> Tally:
    """Sends the run to the provider, as a live one goes but for its ledger: one call after the other, at full speed."""
    clock = SystemClock()
    size = prepared.newsletter.delivery.batch_size
    record = dry_record(prepared.run, size, clock.now())
    terms = SendTerms(
        batch_size=size,
        window=size,
        concurrency=1,
        retry_for=dt.timedelta(),
        deadline=record.deadline,
        failure_rate=1.0,
    )
    counting = _Counting(audience.planned, progress)
    send_run(
        DryLedger(audience.plan.members, audience.store.members, record),
        provider,
        recipients_of=addressing_of(prepared, links).all,
        rendered=lambda variant: prepared.renderer.render(prepared.issue, variant),
        letterhead=letterhead_of(prepared),
        terms=terms,
        limiter=Limiter(None, {}, clock),
        clock=clock,
        stop=threading.Event(),
        observer=counting,
    )
    return counting.tally


class _Counting(Unobserved):
    """Adds up what became of the recipients, and tells it after each call."""

    def __init__(self, planned: int, progress: Callable[[Tally], None]) -> None:
        self.tally = Tally(planned)
        self._progress = progress
        self._counts: Counter[DeliveryState] = Counter()
        self._reasons: Counter[str] = Counter()

    def ended(self, call: EndedCall) -> None:
        """See `Observer`."""
        self._counts.update(call.counts)
        for (_, words), count in call.words.items():
            self._reasons[words] += count
        self.tally = Tally(
            planned=self.tally.planned,
            accepted=self._counts[DeliveryState.ACCEPTED],
            rejected=self._counts[DeliveryState.REJECTED],
            busy=self._counts[DeliveryState.RETRY_WAIT],
            unknown=self._counts[DeliveryState.UNKNOWN],
            batches=self.tally.batches + 1,
            reasons=dict(self._reasons),
        )
        self._progress(self.tally)


#: States of `status RUN --json` that cannot occur here: nothing is recorded, and a folder answers at once.
_NEVER = (
    *("suppressed", "expired", "cancelled", "abandoned", "in_flight", "retry_wait", "remaining"),
    *("delivered", "bounced", "complained"),
)


def summary(prepared: Prepared, done: DryRun) -> dict[str, object]:
    """summary.json, and what `send --dry-run --json` prints: names as in `status RUN --json`."""
    issue, tally = prepared.issue, done.tally
    return {
        "run": str(prepared.run),
        "newsletter": prepared.name,
        "issue_date": issue.date.isoformat(),
        "edition": issue.edition,
        "state": "finished",
        "dry_run": True,
        "content_hash": prepared.rendered.content_hash,
        "subject": prepared.rendered.subject,
        "preheader": prepared.rendered.preheader,
        "sections": len(issue.sections),
        "stories": sum(1 for _ in issue.stories()),
        "words": issue.word_count,
        "html_bytes": done.html_bytes,
        "text_bytes": done.text_bytes,
        "findings": {str(level): sum(one.level is level for one in prepared.findings) for level in Level},
        "planned": tally.planned,
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "unknown": tally.unknown,
        **dict.fromkeys(_NEVER, 0),
        "excluded": {str(reason): count for reason, count in done.audience.left_out.items()},
        "refusals": [done.refusal] if done.refusal else [],
        "batches": tally.batches,
    }


def _refusal(prepared: Prepared, audience: IssueAudience) -> str:
    try:
        refuse_audience_change(audience.previous, audience.planned, prepared.newsletter.delivery.max_audience_change)
    except GuardRefused as error:
        return error.message
    return ""


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_excluded(path: Path, excluded: Iterable[Excluded]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("email", "reason", "detail", "place"))
        rows.writerows(map(guarded, (one.address, one.reason, one.detail, one.place)) for one in excluded)
