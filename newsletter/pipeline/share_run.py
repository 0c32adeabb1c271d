"""Handing a run to workers, and looking on while they send it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence

from newsletter import __version__
from newsletter.delivery.clock import Clock
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.delivery.observing import Observer
from newsletter.delivery.patience import PATIENCE, Patience
from newsletter.delivery.run_values import LIMIT_REACHED, RunRecord, Sharing
from newsletter.delivery.states import RunState
from newsletter.errors import OutputError, TemporaryError
from newsletter.pipeline.onlookers import OnBalance
from newsletter.pipeline.prepare import Prepared
from newsletter.pipeline.run_facts import handed_over, setup_of
from newsletter.pipeline.run_report import RunReport, report, run_called
from newsletter.pipeline.send_issue import ReadyToSend, plan_run
from newsletter.pipeline.steer_run import BY_OPERATOR

#: Seconds between two looks at a run that workers send.
LOOK_EVERY = 1.0
#: After so many seconds it is asked whether there is any worker, and again as often until there is none.
NO_WORKER_AFTER = 15.0


def share_issue(
    ready: ReadyToSend, ledger: Ledger, provider: str, keys: Sequence[str], *, confirmed: int, limit: int | None
) -> RunRecord:
    """Plans the run and hands it to workers, in one transaction. `keys` sign its links, the present one first.

    Raises GuardRefused, with nothing changed, where `confirmed` is not its count, and what `plan_run` raises.
    """
    ready.refuse_other_count(confirmed)
    sharing = sharing_of(ready.prepared, keys, limit)
    plan_run(ready, ledger, provider, now=dt.datetime.now(dt.UTC), expected=confirmed, shared=sharing)
    return run_called(ledger, ready.prepared.run)


def share_planned(
    prepared: Prepared, run: RunRecord, ledger: Ledger, keys: Sequence[str], *, limit: int | None
) -> RunRecord:
    """Hands what is left of a run to workers. Raises GuardRefused where a living process has it."""
    return ledger.share(run.id, sharing_of(prepared, keys, limit), now=dt.datetime.now(dt.UTC))


def sharing_of(prepared: Prepared, keys: Sequence[str], limit: int | None) -> Sharing:
    """How workers are to send it."""
    resend = prepared.newsletter.delivery.on_unknown == "resend"
    return Sharing(__version__, handed_over(setup_of(prepared, keys)), resend_unknown=resend, limit=limit)


def look_on(
    name: RunName,
    ledger: Ledger,
    stop: threading.Event,
    *,
    clock: Clock,
    on_balance: OnBalance,
    observer: Observer,
    no_worker: Callable[[bool], None] = lambda _: None,
    every: float = LOOK_EVERY,
    patience: float = PATIENCE,
) -> RunReport:
    """Looks on until nobody sends the run any more, or `stop` is set: then the workers go on. How it stands.

    A database that is away is waited for, `patience` seconds; then raises what it raised. `observer` hears where the
    run paused, unless by an operator, or at its limit; `no_worker`, once, that no worker has a part in it, and
    whether any is alive.
    """
    waits, before = Patience(patience), None
    ask_at: float | None = clock.monotonic() + NO_WORKER_AFTER
    while True:
        pause: float | None = every
        try:
            run = run_called(ledger, name)
            balance = ledger.balance(run.id)
            if waits.after_success():
                observer.database_back()
            if balance != before:
                on_balance(balance)
            before = balance
            if run.state is not RunState.SENDING and not run.sender:
                break
            if ask_at is not None and clock.monotonic() >= ask_at:
                ask_at = clock.monotonic() + NO_WORKER_AFTER
                alive = ledger.any_worker()
                if not alive or not ledger.workers(run.id):
                    ask_at = None
                    no_worker(alive)
        except (TemporaryError, OutputError) as error:
            pause = waits.after_failure(clock.monotonic())
            if pause is None:
                raise
            observer.database_trouble(error, pause)
        if clock.wait(stop, pause):
            break
    found = report(ledger, run_called(ledger, name))
    reason = found.run.reason
    if found.run.state is RunState.PAUSED and reason != LIMIT_REACHED and not reason.startswith(BY_OPERATOR):
        observer.paused(reason)
    return found
