"""What keeps a run from being planned. Pure: each guard looks at figures and either passes or raises GuardRefused.

In the order in which a live send asks them: the content is what was tested, and approved where that is asked for, the
checks pass, this run has not gone out, links lead to the public site, the audience is there and is about as large as
last time, the deadline is ahead, the number typed is the number of recipients.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
from collections.abc import Sequence
from urllib.parse import urlsplit

from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import ChecksFailed, GuardRefused

#: (content hash, when, to whom), as `Ledger.last_test` gives it.
LastTest = tuple[str, dt.datetime, Sequence[str]]
#: (content hash, when, by whom), as `Ledger.approval` gives it.
Approval = tuple[str, dt.datetime, str]

#: What makes the content another one.
_CHANGED = "The file, its template, the settings or, by an upgrade, this program may have changed."


def refuse_untested(
    content_hash: str, last_test: LastTest | None, ref: object, *, required: bool, zone: dt.tzinfo | None = None
) -> None:
    """Raises GuardRefused where the content is not that of the last test of this issue; where there was no test, only
    if one is required. `ref` names the issue as in a command; `zone` is the newsletter's, for the time it says."""
    again = f"Send it as a test, look at it, and then: newsletter test {ref} --to you@example.com"
    if last_test is None:
        if required:
            raise GuardRefused("this issue was not sent as a test, and require_test = true asks for one", hint=again)
        return
    tested, at, addresses = last_test
    if tested != content_hash:
        to = ", ".join(addresses) or "somebody who was erased since"
        raise GuardRefused(
            f"the issue changed since its test of {at.astimezone(zone):%Y-%m-%d %H:%M %Z} to {to}",
            hint=f"{_CHANGED} {again}",
        )


def refuse_unapproved(
    content_hash: str, approval: Approval | None, command: str, *, zone: dt.tzinfo | None = None
) -> None:
    """Raises GuardRefused where this content was not approved. `command` approves it; `zone` is the newsletter's."""
    if approval is None:
        raise GuardRefused(
            "this issue is not approved, and require_approval = true asks for it",
            hint=f"Look at it (newsletter preview), and then: {command}",
        )
    approved, at, by = approval
    if approved != content_hash:
        who = f" by {by}" if by else ""
        raise GuardRefused(
            f"the issue changed since it was approved{who}, {at.astimezone(zone):%Y-%m-%d %H:%M %Z}",
            hint=f"{_CHANGED} Look at it, and then: {command}",
        )


def refuse_failed_checks(failed: Sequence[str], ref: object) -> None:
    """Raises ChecksFailed where a check of the preflight failed; `failed` says which, each with what it found."""
    if failed:
        more = f"; and {len(failed) - 3:,} more" if len(failed) > 3 else ""
        raise ChecksFailed(
            f"the issue does not pass its checks: {'; '.join(failed[:3])}{more}",
            hint=f"Nothing was sent. Mend it, then: newsletter check {ref}",
        )


def refuse_known_run(run: RunRecord | None, balance: Balance | None, now: dt.datetime) -> None:
    """Raises GuardRefused where this run was planned before, whatever became of it. The times are in `now`'s zone."""
    if run is None or balance is None:
        return
    message, hint = _known(run, balance, now)
    raise GuardRefused(message, hint=hint)


def _known(run: RunRecord, balance: Balance, now: dt.datetime) -> tuple[str, str]:
    """What became of the run, and what to do."""
    name, reached = run.name, f"{balance.of(DeliveryState.ACCEPTED):,} accepted"
    began = clock(run.started_at or run.planned_at, now)
    go_on, what = f"To go on: newsletter resume {name}", f"What became of it: newsletter status {name}"
    sent, why = f"Already sent at {began} ({reached})", f": {run.reason}" if run.reason else ""
    if run.state is RunState.SENDING and (run.sender or run.shared):
        return (
            f"It is being sent, since {began} by {run.sender or 'workers'} ({reached})",
            f"To look on: newsletter watch {name}",
        )
    return {
        RunState.PLANNED: (f"It is planned, since {began}, and nothing was sent", go_on),
        RunState.SENDING: (f"It was sent in part: begun at {began} and interrupted ({reached})", go_on),
        RunState.PAUSED: (f"It is paused ({reached}){why}", f"{go_on}; to end it: newsletter cancel {name}"),
        RunState.HELD: (sent, f"To settle what is left: newsletter resolve {name}"),
        RunState.FINISHED: (sent, what),
        RunState.CANCELLED: (f"It was cancelled ({reached})", f"{_another_edition(run, balance)}{what}"),
        RunState.EXPIRED: (
            f"{sent}; for the rest the deadline came first",
            f"To send to the rest all the same: newsletter retry {name} --expired",
        ),
    }[run.state]


#: Who is in one of these got the mail, or perhaps did.
_MAY_HAVE_IT = (DeliveryState.ACCEPTED, DeliveryState.IN_FLIGHT, DeliveryState.UNKNOWN, DeliveryState.ABANDONED)


def _another_edition(run: RunRecord, balance: Balance) -> str:
    """The way on where nobody can have got it."""
    if run.edition or any(map(balance.of, _MAY_HAVE_IT)):
        return ""
    return f"To send it all the same: give its file the name of another edition, such as {run.name.slot}.second. "


def clock(at: dt.datetime, now: dt.datetime) -> str:
    """`06:34 HKT` today, `2026-01-07 06:34 HKT` on another day; in the zone of `now`."""
    there = at.astimezone(now.tzinfo)
    return f"{there:%H:%M %Z}" if there.date() == now.date() else f"{there:%Y-%m-%d %H:%M %Z}"


def refuse_insecure_links(base_url: str) -> None:
    """Raises GuardRefused where `site.base_url` is http, unless it is this machine itself.

    One-click unsubscribe must be https (RFC 8058, section 3.1).
    """
    parts = urlsplit(base_url)
    if parts.scheme.lower() == "https" or _is_loopback(parts.hostname or ""):
        return
    raise GuardRefused(
        f"the links of the mail would begin with {base_url}, which is not https",
        hint="Set site.base_url to the https address of the public site.",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_empty_audience(planned: int, left_out: int) -> None:
    """Raises GuardRefused where nobody would get the issue; `left_out` are those on its lists who may not be mailed."""
    if planned:
        return
    who = f"all {left_out:,} on its lists are left out" if left_out else "there is nobody on its lists"
    raise GuardRefused(
        f"nobody would get this issue: {who}",
        hint="`newsletter subscribers stats` shows each list, `newsletter send --dry-run` who is left out and why.",
    )


def audience_change(previous: int | None, planned: int) -> float | None:
    """How much the audience changed since the last run, as a fraction of it: 0.02 is 2 % more, -1.0 nobody is left.

    None where there is nothing to compare with: no run before, or one that went to nobody.
    """
    if not previous:
        return None
    return (planned - previous) / previous


def refuse_audience_change(previous: int | None, planned: int, limit: float) -> None:
    """Raises GuardRefused where the audience grew or shrank by more than `limit`, a fraction (0.2 is 20 %)."""
    change = audience_change(previous, planned)
    if change is None or abs(change) <= limit:
        return
    raise GuardRefused(
        f"the audience changed from {previous:,} in the last run to {planned:,} ({change:+.1%}); "
        f"max_audience_change allows {limit:.1%}",
        hint="`newsletter subscribers stats` shows what became of each list. Where it is right, set "
        f'max_audience_change = "{math.ceil(abs(change) * 100)}%" for this newsletter, and back afterwards.',
    )


def refuse_late(deadline: dt.datetime, now: dt.datetime) -> None:
    """Raises GuardRefused where nothing may be sent any more."""
    # in UTC: of one zone what the clocks show would be compared, and in autumn they show an hour twice
    if deadline.astimezone(dt.UTC) <= now.astimezone(dt.UTC):
        raise GuardRefused(
            f"the deadline was {clock(deadline, now)}; nothing is sent after it",
            hint="Set a later schedule.deadline for this newsletter, where it should go out all the same.",
        )


def refuse_count(confirmed: int, right: int, command: str, kept: str = "nothing was sent") -> None:
    """Raises GuardRefused where the number typed is not the right one; `command` is what to type instead, `kept` says
    that nothing changed."""
    if confirmed != right:
        raise GuardRefused(f"{confirmed:,} was confirmed, and it would be {right:,}: {kept}", hint=command)


def refuse_unconfirmed(planned: int, command: str) -> None:
    """Raises GuardRefused: nobody is there to be asked. `command` is what a script types."""
    raise GuardRefused(
        f"a live send to {planned:,} recipients wants their number confirmed, and there is no terminal to ask at",
        hint=command,
    )


def refuse_other_content(run: RunRecord, content_hash: str) -> None:
    """Raises GuardRefused where the issue is not what the first part of its run was sent: everybody gets the same."""
    if run.content_hash != content_hash:
        raise GuardRefused(
            f"the issue changed since {run.name} was begun; a run sends one content to everybody",
            hint="Put the issue, its template and the settings back as they were, and the version of this program if "
            f"it was upgraded since; or end the run: newsletter cancel {run.name}",
        )
