"""What SendGrid's event webhook posts, as events. Pure.

A post is a JSON array of objects, each with `event`, `timestamp`, `email` and what we gave the message as custom_args
(https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event). No order is promised, repetitions are
common, and everything but the array may be missing or odd: what can be used is used, the rest is counted.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.delivery.names import RunName
from newsletter.events.deciding import Dropped, may_suppress
from newsletter.events.model import Event, EventKind
from newsletter.events.server_words import status_of
from newsletter.events.status_codes import kind_of_status

SOURCE = "sendgrid"
#: What stands before the run in mail of `newsletter test`; its deliveries are nobody's.
_TEST = "test of "
_KINDS = {
    "processed": EventKind.SENT,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "dropped": EventKind.DROPPED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
    # nobody is subscribed again by it: only their own confirmation does that
    "group_resubscribe": EventKind.OTHER,
}
#: We count these ourselves, where tracking is on, and switch the vendor's off.
_NOT_OURS = frozenset({"open", "click"})
_DROPPED = {
    "bounced address": Dropped.BOUNCED,
    "invalid": Dropped.INVALID,
    "spam reporting address": Dropped.SPAM,
    "unsubscribed address": Dropped.UNSUBSCRIBED,
}
#: `bounce_classification`, where no status code says it better. "Mailbox Unavailable" may be full, or gone.
_CLASSES = {
    "invalid address": EventKind.HARD_BOUNCE,
    "mailbox unavailable": EventKind.SOFT_BOUNCE,
    "technical": EventKind.SOFT_BOUNCE,
    "technical failure": EventKind.SOFT_BOUNCE,
    "content": EventKind.BLOCKED,
    "reputation": EventKind.BLOCKED,
    "frequency or volume too high": EventKind.BLOCKED,
    "frequency/volume": EventKind.BLOCKED,
    "frequency/volume too high": EventKind.BLOCKED,
}
_RUN = re.compile(r"(?:test of )?[^/\s]{1,100}/[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[^/\s]{1,80})?", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
#: The last second that a datetime of any zone holds.
_LAST_SECOND = 253_402_214_400
#: Characters that are looked at of any text.
_LONGEST = 2_000
#: Digits of a number that is worth reading; of more than some thousand, Python refuses to read one.
_MOST_DIGITS = 20


class Unreadable(ValueError):
    """The body is no JSON array of events; the message says what it is."""


class _Unusable(Exception):
    """Nothing can be made of this one; the message says why, in words that are the same for all like it."""


@dataclass(slots=True)
class Posted:
    """What came in. `unusable` says what was wrong with some, and with how many; `passed_over` are opens, clicks, and
    what is told of mail that is not ours."""

    events: list[Event] = field(default_factory=list)
    passed_over: int = 0
    unusable: dict[str, int] = field(default_factory=dict)

    @property
    def items(self) -> int:
        """How many there were."""
        return len(self.events) + self.passed_over + sum(self.unusable.values())


def read_post(body: bytes) -> Posted:
    """The events of one post. Raises Unreadable."""
    return read_items(read_json(body))


def read_json(body: bytes) -> Sequence[object]:
    """What was posted, an array; of a single object, an array of it. Raises Unreadable."""
    try:
        document = json.loads(body.decode("utf-8-sig", "replace"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}"[:200]) from None
    if isinstance(document, dict):
        return [document]
    if not isinstance(document, list):
        raise Unreadable("neither an array of events nor an event")
    return document


def read_items(items: Iterable[object]) -> Posted:
    """The events of an array that was posted."""
    posted = Posted()
    for item in items:
        try:
            event = _event(item)
        except _Unusable as why:
            posted.unusable[str(why)] = posted.unusable.get(str(why), 0) + 1
            continue
        if event is None:
            posted.passed_over += 1
        else:
            posted.events.append(event)
    return posted


def _event(item: object) -> Event | None:
    """The event; None where it is not ours to keep. Raises _Unusable."""
    if not isinstance(item, dict):
        raise _Unusable("no object")
    name = _text(item, "event")
    if not name:
        raise _Unusable("no event name")
    if name in _NOT_OURS:
        return None
    at = _second(item.get("timestamp"))
    run, subscriber_id = _delivery(item)
    status = _status(item)
    kind = _bounce(item, status) if name == "bounce" else _KINDS.get(name, EventKind.OTHER)
    event = Event(
        kind=kind,
        at=dt.datetime.fromtimestamp(at, dt.UTC),
        source=SOURCE,
        fingerprint=_fingerprint(item, name, at),
        run=run,
        subscriber_id=subscriber_id,
        code=_code(item, name, kind, status),
        reason=_text(item, "reason") or _text(item, "response"),
        reference=_text(item, "sg_message_id"),
    )
    if "nl_run" in item or kind is EventKind.OTHER:
        return event
    # mail of somebody else's who shares the account, or of ours whose arguments were lost on the way
    return replace(event, key=_address_key(item)) if may_suppress(event) else None


def _delivery(item: Mapping[str, object]) -> tuple[RunName | None, int | None]:
    """Run and subscriber, as `providers.sendgrid_body` put them into the arguments. Tests are nobody's."""
    run = _text(item, "nl_run")
    if not _RUN.fullmatch(run):
        return None, None
    number = _text(item, "nl_delivery")
    known = _NUMBER.fullmatch(number) and not run.startswith(_TEST)
    newsletter, _, slot = run.partition("/")
    return RunName(newsletter, slot), int(number) if known else None


def _bounce(item: Mapping[str, object], status: str) -> EventKind:
    """Hard, soft or blocked: by the status code, else by the vendor's class, else by its type."""
    found = kind_of_status(status) or _CLASSES.get(_text(item, "bounce_classification").lower())
    if _text(item, "type").lower() == "blocked":
        # the vendor itself goes on mailing an address that is blocked: it is never a hard one
        return EventKind.SOFT_BOUNCE if found is EventKind.HARD_BOUNCE else found or EventKind.BLOCKED
    return found or (EventKind.SOFT_BOUNCE if status.startswith("4") else EventKind.HARD_BOUNCE)


def _status(item: Mapping[str, object]) -> str:
    """The enhanced status code: the server's own words say more than a `5.0.0` of the vendor's."""
    status, said = _text(item, "status"), status_of(_text(item, "reason"))
    return said if said and kind_of_status(status) is None else status


def _code(item: Mapping[str, object], name: str, kind: EventKind, status: str) -> str:
    if kind is EventKind.DROPPED:
        return _DROPPED.get(_text(item, "reason").strip().lower(), Dropped.OTHER).value
    return name if kind in {EventKind.OTHER, EventKind.UNSUBSCRIBED} else status


def _fingerprint(item: Mapping[str, object], name: str, at: int) -> bytes:
    """`sg_event_id` may be another one when the same is told again; these are the same."""
    ours = [_text(item, key) for key in ("nl_run", "nl_delivery", "nl_call")]
    whose = ours if any(ours) else [_text(item, "email").lower()]
    parts = [*whose, name, str(at), _text(item, "url") or _text(item, "status")]
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).digest()[:16]


def _second(value: object) -> int:
    try:
        second = int(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1
    except (ValueError, OverflowError):  # no number, not finite
        second = -1
    if not 0 <= second <= _LAST_SECOND:
        raise _Unusable("no time")
    return second


def _address_key(item: Mapping[str, object]) -> str:
    try:
        return parse_address(_text(item, "email")).key
    except BadAddress:
        raise _Unusable("neither a delivery of ours nor an address") from None


def _text(item: Mapping[str, object], key: str) -> str:
    value = item.get(key)
    if isinstance(value, str):
        return value[:_LONGEST]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else -1
