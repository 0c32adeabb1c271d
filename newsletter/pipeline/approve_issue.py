"""`approve`: an editor's word that an issue may go out, as it is now."""

from __future__ import annotations

import datetime as dt

from newsletter.delivery import guards
from newsletter.delivery.ledger import Ledger
from newsletter.pipeline.prepare import Prepared


def approve_issue(prepared: Prepared, ledger: Ledger, *, by: str, now: dt.datetime) -> None:
    """Pins the content: whatever changes it (the file, the template, the settings) needs a new approval.

    Raises ChecksFailed where the issue could not go out anyway, and GuardRefused where its run exists already.
    """
    guards.refuse_failed_checks([f"{one.id}: {one.message}" for one in prepared.failing()], prepared.request.ref)
    run = ledger.run(prepared.run)
    guards.refuse_known_run(run, ledger.balance(run.id) if run else None, now)
    ledger.approve(prepared.run, prepared.rendered.content_hash, by=by, now=now)
