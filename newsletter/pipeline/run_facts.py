"""What a run was planned by, and whether a worker is the same: else its part of the mail would be another one's."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from newsletter import __version__
from newsletter.delivery.clock import boot_time
from newsletter.delivery.ledger import RunRecord
from newsletter.errors import GuardRefused
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.settings.provider_model import SmtpProvider

#: How far a worker's clock may be from the database's, in seconds: two of them may be twice as far from each other, and
#: a lease ends `newsletter.store.senders.MARGIN` later than calls do.
CLOCKS_APART = 4.0
#: How often the database's clock is asked for. Seconds.
CLOCK_EVERY = 5.0


def setup_of(prepared: Prepared, keys: Sequence[str]) -> str:
    """A hash over the settings that a recipient's mail, or whether it is repeated, depends on, besides the content.

    `keys` sign the links, the present one first; nothing leads back to it. Where the provider is reached, and with what
    credentials, may differ from machine to machine.
    """
    newsletter = prepared.newsletter
    provider = prepared.request.loaded.settings.providers[newsletter.delivery.provider]
    own: dict[str, object] = {"name": newsletter.delivery.provider, "kind": provider.kind}
    if isinstance(provider, SmtpProvider):
        dkim = provider.dkim
        own |= {"envelope_from": provider.envelope_from, "dkim": dkim and (dkim.selector, dkim.domain)}
    delivery = newsletter.delivery
    parts: Mapping[str, object] = {
        "publication": asdict(prepared.publication),
        "letterhead": asdict(letterhead_of(prepared)),
        "tracking": newsletter.tracking.model_dump(mode="json"),
        "delivery": [delivery.window, delivery.retry_for, delivery.on_unknown, delivery.pause_on_failure_rate],
        "provider": own,
        "rate": [provider.rate, dict(provider.per_domain)],
        "key": hmac.digest(keys[0].encode(), b"newsletter workers", "sha256").hex(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def refuse_other_program(run: RunRecord) -> None:
    """Raises GuardRefused where the run was planned by another version of this program."""
    if run.program != __version__:
        planner = run.program or "of another version"
        raise GuardRefused(
            f"{run.name} was planned by newsletter {planner}, and this worker is {__version__}",
            hint="Install the same version on every machine. To let this one's go on: newsletter pause "
            f"{run.name}, then newsletter resume {run.name} from a machine that has it.",
        )


def refuse_other_mail(run: RunRecord, prepared: Prepared, keys: Sequence[str]) -> None:
    """Raises GuardRefused where this worker would send something else than what the run was planned with."""
    if run.content_hash != prepared.rendered.content_hash:
        raise GuardRefused(
            f"the issue of {run.name} does not render here as it did where the run was planned",
            hint="Copy the issue, the templates and config.toml from there; libraries must be the same, too.",
        )
    if run.setup != setup_of(prepared, keys):
        raise GuardRefused(
            f"the settings of {prepared.name} are others here than where {run.name} was planned",
            hint="Copy config.toml from there, and give this machine the same site.secret_key; where a provider is "
            "reached may differ, and nothing else of its table.",
        )


class DatabaseClock:
    """What the database's clock says: asked for every few seconds, and carried on in between by one that nobody sets.
    Used by several threads at once."""

    def __init__(self) -> None:
        #: when it was asked (`boot_time`), and its answer
        self._known: tuple[float, dt.datetime] | None = None

    def now(self, ask: Callable[[], dt.datetime]) -> dt.datetime:
        """Raises what `ask` does."""
        known = self._known
        if known is None or boot_time() > known[0] + CLOCK_EVERY:
            began = boot_time()
            self._known = known = began, ask()
        asked_at, said = known
        return said + dt.timedelta(seconds=boot_time() - asked_at)


def refuse_other_clock(database: dt.datetime, here: dt.datetime) -> None:
    """Raises GuardRefused where the clocks differ by more than `CLOCKS_APART`: each other's leases would be misread."""
    ahead = (here - database).total_seconds()
    if abs(ahead) > CLOCKS_APART:
        raise GuardRefused(
            f"the clock of this machine is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the database's",
            hint="Set it by NTP on both; then this worker goes on by itself.",
        )
