"""Time zones and the clock: a clock that is wrong sends at the wrong time."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import socket
from collections.abc import Callable, Iterator

import httpx

from newsletter.doctor.model import Finding, NotChecked, Result, Status, Surroundings
from newsletter.errors import NewsletterError
from newsletter.settings.provider_model import SendgridProvider, SmtpProvider

_ZONE, _CLOCK = "time-zone", "clock"
#: Seconds that a clock may be off: dates in answers have whole seconds, and the answer takes its time.
GOOD_TO = 5.0
#: From here on mail is dated wrongly and goes out at a wrong time, and TLS and signatures begin to fail.
BAD_FROM = 60.0
_TIMEOUT = 5.0


def check_time_zone(around: Surroundings) -> Iterator[Result]:
    """Each newsletter's zone, with the time that it is there now, for people to compare with a clock on the wall."""
    for name, newsletter in around.loaded.settings.newsletters.items():
        schedule = newsletter.schedule
        there = around.now().astimezone(schedule.timezone)
        offset = there.tzname() if there.tzname() == "UTC" else f"UTC{there.isoformat()[-6:]}"
        said = f"{schedule.timezone.key}: it is {there:%a %Y-%m-%d %H:%M} there ({offset})"
        if schedule.enabled and "timezone" not in schedule.model_fields_set:
            do = f'Write timezone = "…" under [newsletters.{name}.schedule], even where UTC is meant.'
            yield Finding(_ZONE, Status.WARN, f"no time zone is set, so its times are UTC: {said}", do, name)
        else:
            yield Finding(_ZONE, Status.PASS, said, about=name)


def check_clock(around: Surroundings) -> Iterator[Result]:
    """This machine's clock against others: the database's server, the provider, the public site."""
    compared = False
    for whose, ask in _others(around):
        before = around.now()
        try:
            theirs = ask()
        except (NewsletterError, OSError, httpx.HTTPError):
            continue  # that they are away is the subject of other checks
        after = around.now()
        if theirs is not None:
            compared = True
            yield _compared(whose, before, theirs, after)
    if not compared:
        why = "--offline" if not around.online else "nobody who could be asked says what time it is"
        yield NotChecked(_CLOCK, f"{why}; `timedatectl` shows whether the system keeps its clock right")


def _others(around: Surroundings) -> Iterator[tuple[str, Callable[[], dt.datetime | None]]]:
    if around.database_time is not None:
        yield "the database's server", around.database_time
    if not around.online:
        return
    settings = around.loaded.settings
    for name in dict.fromkeys(one.delivery.provider for one in settings.newsletters.values()):
        provider = settings.providers[name]
        if isinstance(provider, SendgridProvider):
            yield name, lambda host=provider.host: date_of_answer(host)  # type: ignore[misc] # bound here
        elif isinstance(provider, SmtpProvider) and provider.security != "tls":
            yield name, lambda host=provider.host, port=provider.port: date_of_greeting(host, port)  # type: ignore[misc]
    if settings.site.base_url.startswith("https://"):
        yield settings.site.base_url, lambda: date_of_answer(settings.site.base_url)


def _compared(whose: str, before: dt.datetime, theirs: dt.datetime, after: dt.datetime) -> Finding:
    """The answer was made at some moment between `before` and `after`, and its date may leave out a fraction."""
    off = (theirs - after).total_seconds() if theirs > after else min(0.0, (theirs - before).total_seconds() + 1)
    said = f"{abs(off):,.0f} s {'behind' if off > 0 else 'ahead of'} {whose}" if abs(off) >= 1 else f"as {whose} has it"
    if abs(off) < GOOD_TO:
        return Finding(_CLOCK, Status.PASS, said)
    do = "Let the system set its clock (systemd-timesyncd, chrony). If the other clock is the wrong one, mend that."
    return Finding(_CLOCK, Status.WARN if abs(off) < BAD_FROM else Status.FAIL, f"this machine's clock is {said}", do)


def date_of_answer(url: str) -> dt.datetime | None:
    """The Date of an HTTP answer, whatever it answers (RFC 9110, section 6.6.1)."""
    answer = httpx.head(url, timeout=_TIMEOUT, follow_redirects=False)
    if "Age" in answer.headers:  # out of a cache: the date is that of long ago
        return None
    return _parsed(answer.headers.get("Date", ""))


def date_of_greeting(host: str, port: int) -> dt.datetime | None:
    """The date that some SMTP servers end their greeting with (Exim and Sendmail do, Postfix does not)."""
    with socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
        greeting = connection.recv(4096).decode("ascii", "replace")
    found = re.search(r"(?:[A-Z][a-z]{2}, +)?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", greeting)
    return _parsed(found[0]) if found else None


def _parsed(text: str) -> dt.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found
