"""What a run was planned by, and whether a worker is the same: else its part of the mail would be another one's."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from newsletter import __version__
from newsletter.delivery.clock import boot_time
from newsletter.delivery.run_values import RunRecord
from newsletter.errors import GuardRefused
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.settings.provider_model import SmtpProvider

#: How far a worker's clock may be from the database's, in seconds: two of them may be twice as far from each other, and
#: a lease ends `newsletter.store.senders.MARGIN` later than calls do.
CLOCKS_APART = 4.0
#: How often the database's clock is asked for. Seconds.
CLOCK_EVERY = 5.0
#: The parts that are compared, and what is said of one that differs.
PARTS: Mapping[str, str] = {
    "publication": "publication (title, sender, language, [site], sections)",
    "letterhead": "letterhead (from, reply_to, list_id, unsubscribe_mailto, time zone)",
    "tracking": "tracking",
    "delivery": "delivery (window, retry_for, on_unknown, pause_on_failure_rate)",
    "provider": "provider (its name, kind and sender)",
    "rate": "rate (rate, per_domain)",
    "key": "key (site.secret_key)",
}
_HANDED = "handed"


def setup_of(prepared: Prepared, keys: Sequence[str]) -> str:
    """A short hash for each part of the settings that a recipient's mail, or whether it is repeated, depends on,
    besides the content: `{"delivery": "0a1b…", …}`.

    `keys` sign the links, the present one first; nothing leads back to it. Where the provider is reached, and with what
    credentials, may differ from machine to machine.
    """
    parts = {name: _short_hash(value) for name, value in _parts(prepared, keys).items()}
    return json.dumps(parts, sort_keys=True)


def handed_over(setup: str) -> str:
    """The same, told apart from that of every other handing over: each is looked at anew."""
    return json.dumps(_read_setup(setup) | {_HANDED: secrets.token_hex(4)}, sort_keys=True)


def other_parts(one: str, other: str) -> list[str]:
    """The names of the parts in which two differ."""
    ours, theirs = _read_setup(one), _read_setup(other)
    return [name for name in PARTS if ours.get(name) != theirs.get(name)]


def _parts(prepared: Prepared, keys: Sequence[str]) -> Mapping[str, object]:
    newsletter = prepared.newsletter
    provider = prepared.request.loaded.settings.providers[newsletter.delivery.provider]
    own: dict[str, object] = {"name": newsletter.delivery.provider, "kind": provider.kind}
    if isinstance(provider, SmtpProvider):
        dkim = provider.dkim
        own |= {"envelope_from": provider.envelope_from, "dkim": dkim and (dkim.selector, dkim.domain)}
    # the Date of the mail is when its run began, told in the newsletter's zone
    letterhead = asdict(letterhead_of(prepared)) | {"date": str(newsletter.schedule.timezone)}
    delivery = newsletter.delivery
    return {
        "publication": asdict(prepared.publication),
        "letterhead": letterhead | {"unsubscribe_mailto": newsletter.unsubscribe_mailto},
        "tracking": newsletter.tracking.model_dump(mode="json"),
        "delivery": [delivery.window, delivery.retry_for, delivery.on_unknown, delivery.pause_on_failure_rate],
        "provider": own,
        "rate": [provider.rate, dict(provider.per_domain)],
        "key": hmac.digest(keys[0].encode(), b"newsletter workers", "sha256").hex(),
    }


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _read_setup(setup: str) -> dict[str, str]:
    """Nothing where it is none, as in a run that was handed over by an earlier version."""
    try:
        found = json.loads(setup)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


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
    others = other_parts(run.setup, setup_of(prepared, keys))
    if others:
        raise GuardRefused(
            f"the settings of {prepared.name} are others here than where {run.name} was handed over: "
            f"{', '.join(PARTS[one] for one in others)}",
            hint="Copy config.toml from there, and give this machine the same site.secret_key; where a provider is "
            f"reached may differ. Or, where these are the right ones: newsletter pause {run.name}, then "
            f"newsletter resume {run.name} from a machine that has them.",
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
