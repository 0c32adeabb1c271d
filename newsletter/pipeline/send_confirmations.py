"""Confirmation mails that are due go out, one call each, through the provider of their newsletter."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from newsletter.audience.model import Member
from newsletter.audience.signups import SignUp, SignUpStore
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.pacing import Pacing
from newsletter.delivery.provider import Blame, CallRefused, MailProvider
from newsletter.errors import NewsletterError, OutputError, TemplateError, UsageError
from newsletter.pipeline.confirmation_mail import ConfirmationMail, ConfirmationMails

#: Before a mail that the provider was too busy for is tried again: as long as it has waited already, within these.
_SOONEST, _LATEST = dt.timedelta(minutes=1), dt.timedelta(minutes=30)
#: Before anything else is tried where our account, our settings or a template is at fault: somebody has to mend it.
_MENDING = dt.timedelta(minutes=10)
#: Before a request whose newsletter is not in the settings is looked at again.
_GONE = dt.timedelta(days=1)
#: So long a mail waits for its turn at the provider's rate; then for the next round.
_TURN = dt.timedelta(minutes=1)


class Became(StrEnum):
    """What became of a confirmation mail."""

    #: The provider took it.
    SENT = "sent"
    #: It certainly did not go out, and will be tried again.
    LATER = "later"
    #: The provider refused it, for good.
    REFUSED = "refused"
    #: Nobody knows; it is not tried again.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one mail. `reason` is the provider's, or ours; `reference` the provider's own id or file.
    `serious`: somebody has to mend something."""

    signup: SignUp
    became: Became
    reason: str = ""
    reference: str = ""
    until: dt.datetime | None = None
    serious: bool = False


class ConfirmationSender:
    """Sends what is due. Not for several threads at once; several processes may.

    `provider_of` and `limiter_of` find the parts by the name of a provider; a provider is made once, and let go of by
    `close`.
    """

    def __init__(
        self,
        signups: SignUpStore,
        mails: ConfirmationMails,
        *,
        provider_of: Callable[[str], MailProvider],
        limiter_of: Callable[[str], Pacing],
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._signups = signups
        self._mails = mails
        self._provider_of = provider_of
        self._limiter_of = limiter_of
        self._now = now
        self._providers: dict[str, MailProvider] = {}
        self._held: dict[str, tuple[dt.datetime, str]] = {}

    def try_out(self) -> None:
        """Makes a mail for nobody. Raises TemplateError where none can be made."""
        self._mails.try_out(now=self._now())

    def send_due(self, stop: threading.Event, told: Callable[[Told], None] = lambda _: None) -> int:
        """Sends until nothing is due or `stop` is set; says how many went out. Raises what the store raises."""
        sent = 0
        # one at a time: whatever a crash finds between the mark and the call stays unsent
        while not stop.is_set() and (due := self._signups.due(limit=1, now=self._now())):
            for signup in due:
                one = self._send(signup, stop)
                if one.until is not None:
                    self._signups.postpone(signup.id, one.until)
                sent += one.became is Became.SENT
                told(one)
        return sent

    def close(self) -> None:
        """Lets go of the providers' connections."""
        for provider in self._providers.values():
            provider.close()
        self._providers.clear()

    def _send(self, signup: SignUp, stop: threading.Event) -> Told:
        try:
            mail = self._mails.mail(signup, now=self._now())
            held, reason = self._held.get(mail.provider, (None, ""))
            if held is not None and held > self._now():
                return Told(signup, Became.LATER, reason, until=held)
            provider = self._provider(mail.provider)
        except UsageError as error:  # its newsletter is gone, perhaps by mistake; the others' mails go out
            return Told(signup, Became.LATER, str(error), until=self._now() + _GONE)
        except NewsletterError as error:
            return Told(signup, Became.LATER, str(error), until=self._now() + _MENDING, serious=True)
        if (until := self._turn(mail, signup, stop)) is not None:
            return Told(signup, Became.LATER, "it waits for its turn", until=until)
        return self._submitted(signup, mail, provider)

    def _submitted(self, signup: SignUp, mail: ConfirmationMail, provider: MailProvider) -> Told:
        try:
            outcome = provider.submit(mail.batch, mail.rendered).outcomes[mail.recipient.id]
        except CallRefused as refused:
            if refused.blame is not Blame.RECIPIENTS:
                return self._mending(signup, mail, str(refused))
            outcome = Refused(refused.reason, refused.code)
        except (TemplateError, OutputError) as error:  # before anything was handed over
            return self._mending(signup, mail, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a provider raises: nobody knows whether it took the mail
            outcome = Unknown(f"{type(error).__name__}: {error}")
        return self._judged(signup, outcome)

    def _judged(self, signup: SignUp, outcome: Outcome) -> Told:
        match outcome:
            case Accepted(reference):
                return Told(signup, Became.SENT, reference=reference)
            case Busy(reason, retry_after):
                return Told(signup, Became.LATER, reason, until=self._again(signup, retry_after))
            case Refused(reason, code):
                return Told(signup, Became.REFUSED, f"{code} {reason}".strip())
            case Unknown(reason):
                return Told(signup, Became.UNKNOWN, reason)

    def _again(self, signup: SignUp, retry_after: float | None) -> dt.datetime:
        now = self._now()
        waited = min(max(now - signup.asked_at, _SOONEST), _LATEST)
        return now + max(waited, dt.timedelta(seconds=retry_after or 0))

    def _mending(self, signup: SignUp, mail: ConfirmationMail, reason: str) -> Told:
        """The provider is left alone for a while: the next mail would meet with the same."""
        until = self._now() + _MENDING
        self._held[mail.provider] = (until, reason)
        return Told(signup, Became.LATER, reason, until=until, serious=True)

    def _turn(self, mail: ConfirmationMail, signup: SignUp, stop: threading.Event) -> dt.datetime | None:
        """Waits for the pace of the provider; when to try again, where it is not its turn yet."""
        limiter = self._limiter_of(mail.provider)
        if limiter.admit is not None:
            admission = limiter.admit([Member(0, signup.request.key, signup.request.address)])
            if not admission.places:
                return admission.others_at
        return None if limiter.take(1, stop, self._now() + _TURN) else self._now()

    def _provider(self, name: str) -> MailProvider:
        if name not in self._providers:
            self._providers[name] = self._provider_of(name)
        return self._providers[name]
