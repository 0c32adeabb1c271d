"""The messages of one call: made some ahead of the one being sent, and decided in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from newsletter.delivery.model import Batch, Busy, Outcome, Receipt, Recipient, Recipients, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.errors import AudienceError, NewsletterError

#: Messages that are made together.
_AT_ONCE = 100
#: So many answers lost one after the other: the next would be too.
_LOST_IN_A_ROW = 2


class Mail(NamedTuple):
    """One message, ready to go: envelope sender and recipient as they stand on the wire, and the content in pieces,
    `size` octets altogether, the last of which ends with CRLF."""

    recipient_id: str
    sender: bytes
    recipient: bytes
    content: Sequence[bytes]
    size: int

    @property
    def address(self) -> str:
        """The recipient's address."""
        return self.recipient.decode("ascii")


class Outbox:
    """Gives out the mail of one batch and collects the outcomes. Used by one thread at a time.

    `make_all` makes the mail of several recipients together, or says by None that it cannot; then `make` does it, one
    by one, and its errors say for whom. `seconds`: no message is begun later than that.
    """

    def __init__(
        self,
        batch: Batch,
        make: Callable[[Recipient], Mail],
        *,
        make_all: Callable[[Recipients], Sequence[Mail] | None] = lambda _: None,
        seconds: float = float("inf"),
    ) -> None:
        self._ends_at = monotonic() + seconds
        self._batch = batch
        self._make = make
        self._make_all = make_all
        self._columns = Recipients.of(batch.recipients)
        self._begun = 0
        self._made: deque[Mail] = deque()
        self._outcomes: dict[str, Outcome] = {}
        self._stopped: CallRefused | Busy | None = None
        self._cannot_make: CallRefused | None = None
        self._lost_in_a_row = 0
        #: How many messages the server decided on, or did not answer for.
        self.decided = 0

    @property
    def more(self) -> bool:
        """Whether something may be left to be sent; nothing is made for the answer."""
        return not self._stopped and (bool(self._made) or self._to_be_made)

    def first(self) -> Mail | None:
        """The mail to be sent next; None where all are decided, or nothing more is to be sent."""
        if self._stopped:
            return None
        return self._made[0] if self._made else self._at(0)

    def second(self) -> Mail | None:
        """The mail behind the first."""
        return self._made[1] if len(self._made) > 1 else self._at(1)

    @property
    def late(self) -> bool:
        """Whether the call took so long that nothing more is to be begun. Never before one message is decided: a call
        that tries nobody would be made for ever."""
        return self.decided > 0 and monotonic() >= self._ends_at

    def decide(self, outcome: Outcome) -> None:
        """Notes what became of the first mail; the second is then the first."""
        self._outcomes[self._made.popleft().recipient_id] = outcome
        self.decided += 1
        self._lost_in_a_row = self._lost_in_a_row + 1 if isinstance(outcome, Unknown) else 0
        if self._lost_in_a_row == _LOST_IN_A_ROW:
            self.stop(Busy("not tried: the answers to the messages before were lost"))

    def stop(self, why: CallRefused | Busy) -> None:
        """Nothing more is to be sent: whoever is not decided is not tried."""
        self._stopped = why

    def receipt(self) -> Receipt:
        """One outcome for everybody. Raises CallRefused where that is why nothing was sent, and nobody is decided."""
        why = self._stopped or self._cannot_make
        if isinstance(why, CallRefused):
            # Whom no message can be made for says nothing of the server; the next call refuses them.
            if not self.decided:
                raise why
            # The next call meets the same refusal, with nobody before it.
            why = Busy(str(why))
        if why is not None:
            for recipient in self._batch.recipients:
                self._outcomes.setdefault(recipient.id, why)
        return Receipt(self._outcomes)

    def _at(self, place: int) -> Mail | None:
        while len(self._made) <= place:
            if not self._to_be_made:
                return None
            some = slice(self._begun, self._begun + _AT_ONCE)
            self._begun += _AT_ONCE
            mails = self._make_all(self._columns[some])
            if mails is not None:
                self._made += mails
            else:
                self._make_each(self._batch.recipients[some])
        return self._made[place]

    @property
    def _to_be_made(self) -> bool:
        return self._begun < len(self._columns) and self._cannot_make is None

    def _make_each(self, recipients: Sequence[Recipient]) -> None:
        for recipient in recipients:
            try:
                self._made.append(self._make(recipient))
            except AudienceError as error:
                self._outcomes[recipient.id] = Refused(str(error))
            except Exception as error:  # noqa: BLE001 - also of a mistake of ours: those before are decided all the same
                # It is nobody's fault but the issue's: the others would not fare better.
                reason = str(error) if isinstance(error, NewsletterError) else f"no message can be made: {error!r}"
                self._cannot_make = CallRefused(Blame.CONTENT, reason)
                return
