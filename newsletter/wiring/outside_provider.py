"""Stands around a mail provider that another package brings: what it answers is looked at, and what it says holds no
secret, whatever its libraries write into their errors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from newsletter.delivery.model import Batch, Busy, Limits, Outcome, Receipt, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused, MailProvider
from newsletter.errors import NewsletterError
from newsletter.logs import without_secrets
from newsletter.rendering.model import RenderedIssue, Variant

#: What a provider must have (`newsletter.delivery.provider`).
_PARTS = ("name", "limits", "submit", "check", "close")


class OutsideProvider:
    """The provider `made`, under its key in the settings.

    Raises ValueError where it is none, or takes nobody in a call.
    """

    def __init__(self, name: str, made: MailProvider) -> None:
        missing = [part for part in _PARTS if not hasattr(made, part)]
        if missing:
            raise ValueError(f"gives no mail provider: no {missing[0]}")
        limits: object = made.limits
        most = limits.recipients_per_call if isinstance(limits, Limits) else None
        if not isinstance(limits, Limits) or not isinstance(most, int) or most < 1:
            raise ValueError(f"gives no mail provider: its limits are {limits!r}")
        self._name = name
        self._made = made
        self._limits = limits

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`, whatever it calls itself."""
        return self._name

    @property
    def limits(self) -> Limits:
        """As they were when it was made."""
        return self._limits

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """See `MailProvider`. An error of another's code leaves everybody unknown."""
        try:
            receipt: object = self._made.submit(batch, rendered)
        except CallRefused as refused:
            raise _refusal(refused) from None
        except NewsletterError:
            raise
        except Exception as error:  # noqa: BLE001 - it is another's code
            return Receipt(dict.fromkeys((one.id for one in batch.recipients), Unknown(_words(error))))
        if not isinstance(receipt, Receipt) or not isinstance(receipt.outcomes, Mapping):
            return receipt  # type: ignore[return-value] # whoever asked for it names what is wrong with it
        return Receipt({number: _discreet(outcome) for number, outcome in receipt.outcomes.items()})

    def check(self) -> str:
        """See `MailProvider`. Every error of another's code is one of the connection."""
        try:
            found: object = self._made.check()
        except CallRefused as refused:
            raise _refusal(refused) from None
        except NewsletterError:
            raise
        except Exception as error:  # noqa: BLE001 - it is another's code
            raise OSError(_words(error)) from None
        return without_secrets(" ".join(str(found or "it says nothing of itself").split()))

    def close(self) -> None:
        """Lets go of it. Nothing depends on that any more, and no error of it is told."""
        with contextlib.suppress(Exception):
            self._made.close()


def _refusal(refused: CallRefused) -> CallRefused:
    try:
        blame = Blame(refused.blame)
    except ValueError:
        blame = Blame.CONTENT  # it stops the run, and blames nobody
    return CallRefused(blame, without_secrets(str(refused.reason)), without_secrets(str(refused.code)))


def _discreet(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Refused | Busy | Unknown) and isinstance(outcome.reason, str):
        masked = without_secrets(outcome.reason)
        return outcome if masked == outcome.reason else replace(outcome, reason=masked)
    return outcome


def _words(error: Exception) -> str:
    said = " ".join(without_secrets(str(error)).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
