"""The send loop: threads that claim members, call the provider, and report what became of them, until the run halts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from newsletter.audience.model import Member
from newsletter.delivery.breakers import Breakers
from newsletter.delivery.calling import Caller
from newsletter.delivery.clerk import Clerk
from newsletter.delivery.clock import Clock, SystemClock
from newsletter.delivery.ledger import RunLedger
from newsletter.delivery.model import Recipient
from newsletter.delivery.observing import EndedCall, Observer, Unobserved
from newsletter.delivery.outage import Outage
from newsletter.delivery.pacing import Limiter, Pacing
from newsletter.delivery.patience import PATIENCE
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.retrying import UnbalancedReceipt
from newsletter.delivery.run_values import Balance, Halt, RunRecord, Wish
from newsletter.delivery.terms import SendTerms
from newsletter.errors import NewsletterError
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import RenderedIssue, Variant

__all__ = [
    "Clock",
    "EndedCall",
    "Limiter",
    "Observer",
    "Pacing",
    "SendResult",
    "SendTerms",
    "SystemClock",
    "UnbalancedReceipt",
    "Unobserved",
    "send_run",
]


@dataclass(frozen=True, slots=True)
class SendResult:
    """How a run stands when this process lets go of it. `halt` says why it did; None: it was told to stop, and the run
    can be resumed. `run.reason` says why it is paused."""

    run: RunRecord
    balance: Balance
    halt: Halt | None

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped this process, and not the run."""
        return self.halt is None


def send_run(
    ledger: RunLedger,
    provider: MailProvider,
    *,
    recipients_of: Callable[[Sequence[Member]], Sequence[Recipient]],
    rendered: Callable[[Variant], RenderedIssue],
    letterhead: Letterhead,
    terms: SendTerms,
    limiter: Pacing,
    clock: Clock,
    stop: threading.Event,
    observer: Observer,
    jitter: Random | None = None,
    patience: float = PATIENCE,
    tripped: Callable[[EndedCall], str] | None = None,
    changed: threading.Event | None = None,
) -> SendResult:
    """Sends a run until it halts, or `stop` is set: then the calls that are out are finished and written down.

    `recipients_of` gives one recipient for each member, in their order; `rendered` the issue for a variant: each is
    asked for once. Both are called by the threads that make calls, `observer` and `ledger` by the calling thread.
    `patience` is for how many seconds a database may be away. Where others send the same run: `tripped` says after each
    call why the run must stop (else `Breakers` of its own do), and `changed` is set by whoever hears that the run was
    paused or cancelled (the ledger is asked then, and every `clerk.HEED_EVERY` seconds in any case).

    Raises RunLost where another process took the run over; TemporaryError or OutputError where the ledger could not be
    written for too long; and, after the run was paused, the first error that is no answer of the provider: one of the
    adapter's own (a NewsletterError, UnbalancedReceipt), or a mistake of this program. No thread is left behind.
    """
    clerk = Clerk(
        ledger,
        deadline=terms.deadline,
        tripped=tripped or Breakers(terms.failure_rate).tripped,
        clock=clock,
        stop=stop,
        observer=observer,
        patience=patience,
        changed=changed,
    )

    def failed(error: BaseException) -> None:
        clerk.fail(error, pause=_words_of(error))

    caller = Caller(
        provider,
        run=str(ledger.run.name),
        letterhead=letterhead,
        recipients_of=recipients_of,
        rendered=rendered,
        terms=terms,
        limiter=limiter,
        clock=clock,
        jitter=jitter or Random(),  # noqa: S311 - it spreads retries over time
        may_call=ledger.may_call,
        end=clerk.end,
        on_failure=failed,
        outage=Outage(clock) if changed is None else None,
    )
    wish = Wish(wish_size(terms, provider, limiter), limiter.admit)

    def work() -> None:
        try:
            _work(clerk, caller, limiter, wish, terms)
        except BaseException as error:  # noqa: BLE001 - it is raised by the thread that waits for this one
            failed(error)
        finally:
            clerk.leave()

    threads: list[threading.Thread] = []
    try:
        for number in range(terms.concurrency):
            thread = threading.Thread(target=work, name=f"send-{number + 1}", daemon=True)
            clerk.enter()
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more of them; those there are finish in good order
                clerk.fail(error)
                clerk.leave()
                break
            threads.append(thread)
        clerk.serve()
    finally:
        for thread in threads:
            thread.join()
    if clerk.error is not None:
        if clerk.all_written:
            with contextlib.suppress(NewsletterError):  # the first error is the one to tell
                clerk.close()
        raise clerk.error
    return SendResult(clerk.close(), ledger.balance, clerk.halt)


def wish_size(terms: SendTerms, provider: MailProvider, limiter: Pacing) -> int:
    """For how many members a claim is made.

    Where a call is many messages, it is no more of them than may go in one second, so that they are spread over time.
    """
    limits = provider.limits
    if not limits.one_message_at_a_time:
        return min(terms.batch_size, limits.recipients_per_call)
    size = min(terms.window, limits.recipients_per_call)
    return size if limiter.rate is None else max(1, min(size, int(limiter.rate)))


def _work(clerk: Clerk, caller: Caller, limiter: Pacing, wish: Wish, terms: SendTerms) -> None:
    """One thread's work: tokens, a claim, its call, and the report of it along with the next wish."""
    ended: EndedCall | None = None
    while not clerk.end.is_set():
        if (seconds := caller.away_for) > 0:
            if ended is not None:
                clerk.ask(ended, None)
                ended = None
            clerk.pause_for(seconds)
            continue
        taken = limiter.try_take(wish.size)
        if not taken:
            if ended is not None:  # outcomes do not wait for tokens
                clerk.ask(ended, None)
                ended = None
            with clerk.elsewhere():
                taken = limiter.take(wish.size, clerk.end, terms.deadline)
        # without tokens it is the deadline, or the end: the clerk knows, and grants nothing
        answer = clerk.ask(ended, wish)
        ended = None
        used = len(answer.claim.members) if answer.claim is not None else 0
        if taken:
            limiter.give_back(wish.size - used)
        if answer.claim is not None:
            ended = caller.call(answer.claim)
        else:
            clerk.rest(answer)
    if ended is not None:
        clerk.ask(ended, None)


def _words_of(error: BaseException) -> str:
    """Why a run was paused by this error; '' for an interruption from the keyboard."""
    if isinstance(error, KeyboardInterrupt):
        return ""
    if isinstance(error, NewsletterError | UnbalancedReceipt):
        return str(error)
    return f"an error in the program stopped it: {type(error).__name__}: {error}"
