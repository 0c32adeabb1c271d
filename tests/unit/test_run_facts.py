"""What a run is planned by: which keys of the settings a worker must have alike, and which it need not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.errors import GuardRefused
from newsletter.issue.find import IssueRef
from newsletter.pipeline.prepare import Prepared, publication_of
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.run_facts import PARTS, handed_over, other_parts, refuse_other_mail, setup_of
from newsletter.settings.addresses import parse_mailbox
from newsletter.settings.amounts import Rate
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Delivery, Newsletter, Schedule, Site, Tracking, Web
from newsletter.settings.provider_model import Dkim, SmtpProvider
from newsletter.settings.secrets import Secret
from newsletter.settings.table import Table

KEY = "only for tests: 32 characters of it, or more"
SECRET = Secret(env="OTHER_SECRET")
DKIM = Dkim.model_validate({"selector": "a", "domain": "news.example.com", "key": {"env": "DKIM"}})

#: For each key another value, and the parts that differ by it; none: no mail depends on it. What the content hash holds
#: (`template`, `sections` of the issue) and what the run itself holds (`provider`'s name, `batch_size`) need no part.
SITE: Mapping[str, tuple[object, set[str]]] = {
    "name": ("Other", {"publication"}),
    "base_url": ("https://other.example.com", {"publication"}),
    "language": ("fr", {"publication"}),
    "postal_address": ("Elsewhere 1", {"publication"}),
    "secret_key": (SECRET, set()),  # what it holds is the part `key`
    "secret_key_fallbacks": ((SECRET,), set()),
}
NEWSLETTER: Mapping[str, tuple[object, set[str]]] = {
    "title": ("Other", {"publication", "letterhead"}),
    "issue_path": ("{date:%Y}/{date}.txt", set()),
    "sender": (parse_mailbox("Other <other@news.example.com>"), {"publication", "letterhead"}),
    "reply_to": (parse_mailbox("reply@example.com"), {"letterhead"}),
    "unsubscribe_mailto": ("leave+{token}@example.com", {"letterhead"}),
    "list_id": ("other.example.com", {"letterhead"}),
    "lists": (("other",), set()),
    "language": ("fr", {"publication"}),
    "public": (False, {"publication"}),
    "template": ("other", set()),
    "sections": (("Other",), {"publication"}),
}
SCHEDULE: Mapping[str, tuple[object, set[str]]] = {
    "enabled": (True, set()),
    "time": (dt.time(4, 5), set()),
    "cron": ("5 4 * * *", set()),
    "days": (("mon",), set()),
    "timezone": (ZoneInfo("Asia/Tokyo"), {"letterhead"}),
    "recipient_timezone": (True, set()),
    "skip_dates": ((dt.date(2026, 1, 1),), set()),
    "skip_holidays": ("HK", set()),
    "catch_up": (dt.timedelta(hours=9), set()),
    "editions": ({"evening": dt.time(18)}, set()),
    "require_approval": (True, set()),
    "deadline": (dt.time(23), set()),
    "warn_before": (dt.timedelta(hours=9), set()),
}
DELIVERY: Mapping[str, tuple[object, set[str]]] = {
    "provider": ("disk", {"provider", "rate"}),
    "batch_size": (7, set()),
    "window": (7, {"delivery"}),
    "concurrency": (7, set()),
    "retry_for": (dt.timedelta(hours=9), {"delivery"}),
    "on_unknown": ("resend", {"delivery"}),
    "engine": ("procrastinate", set()),
    "require_test": (True, set()),
    "pause_on_failure_rate": (0.5, {"delivery"}),
    "max_audience_change": (0.5, set()),
}
TRACKING: Mapping[str, tuple[object, set[str]]] = {
    "clicks": (True, {"tracking"}),
    "opens": (True, {"tracking"}),
    "per_person": (True, {"tracking"}),
    "utm": ({"source": "newsletter"}, {"tracking"}),
}
SMTP: Mapping[str, tuple[object, set[str]]] = {
    "kind": ("smtp", set()),
    "rate": (Rate(7, "s"), {"rate"}),
    "per_domain": ({"example.com": Rate(7, "s")}, {"rate"}),
    "host": ("other.example.com", set()),
    "port": (25, set()),
    "security": ("tls", set()),
    "username": ("somebody", set()),
    "password": (SECRET, set()),
    "timeout": (dt.timedelta(hours=9), set()),
    "final_timeout": (dt.timedelta(hours=9), set()),
    "envelope_from": ("bounce+{token}@example.com", {"provider"}),
    "dkim": (DKIM, {"provider"}),
}
WEB: Mapping[str, tuple[object, set[str]]] = {"archive": (False, {"publication"})}

WHERE: Mapping[str, tuple[type[Table], Mapping[str, tuple[object, set[str]]]]] = {
    "site": (Site, SITE),
    "newsletter": (Newsletter, NEWSLETTER),
    "schedule": (Schedule, SCHEDULE),
    "delivery": (Delivery, DELIVERY),
    "tracking": (Tracking, TRACKING),
    "provider": (SmtpProvider, SMTP),
    "web": (Web, WEB),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    config = tmp_path_factory.mktemp("project") / "config.toml"
    config.write_text(
        '[site]\nbase_url = "https://news.example.com"\n'
        '[newsletters.daily-buzz]\ntitle = "Daily Buzz"\nfrom = "Daily Buzz <buzz@news.example.com>"\n'
        '[newsletters.daily-buzz.delivery]\nprovider = "smtp"\n'
        '[providers.smtp]\nkind = "smtp"\nrate = "50/s"\n'
    )
    return load_settings(config, {})


def changed(loaded: Loaded, table: str, key: str, value: object) -> Loaded:
    """The settings with another value of one key."""
    settings = loaded.settings
    one = settings.newsletters["daily-buzz"]
    update: dict[str, Any]
    if table in ("site", "web"):
        update = {table: getattr(settings, table).model_copy(update={key: value})}
    elif table == "provider":
        update = {
            "providers": {**settings.providers, "smtp": settings.providers["smtp"].model_copy(update={key: value})}
        }
    else:
        inner = {key: value}
        if table != "newsletter":
            inner = {table: getattr(one, table).model_copy(update={key: value})}
        update = {"newsletters": {"daily-buzz": one.model_copy(update=inner)}}
    return Loaded(settings.model_copy(update=update), loaded.path, loaded.folder, loaded.origins)


def prepared(loaded: Loaded) -> Prepared:
    """As much of it as is looked at."""
    newsletter = loaded.settings.newsletters["daily-buzz"]
    request = IssueRequest(loaded, "daily-buzz", newsletter, IssueRef(dt.date(2026, 1, 7), ""))
    made = SimpleNamespace(
        request=request,
        newsletter=newsletter,
        publication=publication_of(request),
        name="daily-buzz",
        run=RunName("daily-buzz", "2026-01-07"),
        date=dt.datetime.combine(
            dt.date(2026, 1, 7), newsletter.schedule.time or dt.time(), newsletter.schedule.timezone
        ),
        rendered=SimpleNamespace(content_hash="abc"),
    )
    return cast("Prepared", made)


def test_every_key_of_these_tables_is_thought_of() -> None:
    for name, (table, keys) in WHERE.items():
        nested = {"schedule", "delivery", "tracking"} if table is Newsletter else set[str]()
        others = {"host", "port", "trusted_proxies", "signup"} if table is Web else set[str]()
        assert set(keys) == set(table.model_fields) - nested - others, name


@pytest.mark.parametrize(("table", "key"), [(name, key) for name, (_, keys) in WHERE.items() for key in keys], ids=str)
def test_a_part_differs_by_exactly_the_keys_that_mail_depends_on(loaded: Loaded, table: str, key: str) -> None:
    value, parts = WHERE[table][1][key]
    before, after = prepared(loaded), prepared(changed(loaded, table, key, value))
    assert set(other_parts(setup_of(before, [KEY]), setup_of(after, [KEY]))) == parts


def test_another_key_for_links_is_another_part_and_is_not_told(loaded: Loaded) -> None:
    ours, theirs = setup_of(prepared(loaded), [KEY]), setup_of(prepared(loaded), [KEY[::-1], KEY])
    assert other_parts(ours, theirs) == ["key"]
    assert KEY not in ours


def test_each_handing_over_is_another_and_differs_in_no_part(loaded: Loaded) -> None:
    setup = setup_of(prepared(loaded), [KEY])
    one, other = handed_over(setup), handed_over(setup)
    assert one != other
    assert other_parts(one, other) == other_parts(one, setup) == []


def test_the_refusal_names_the_parts(loaded: Loaded) -> None:
    facts = {"name": "daily-buzz/2026-01-07", "content_hash": "abc", "setup": setup_of(prepared(loaded), [KEY])}
    run = cast("RunRecord", SimpleNamespace(**facts))
    refuse_other_mail(run, prepared(loaded), [KEY])
    slower = prepared(changed(loaded, "provider", "rate", Rate(7, "s")))
    with pytest.raises(GuardRefused, match=r"others here .*: rate \(rate, per_domain\), key \(site\.secret_key\)$"):
        refuse_other_mail(run, slower, [KEY[::-1]])


@pytest.mark.parametrize("setup", ["", "0123456789abcdef", "[1]", "7"])
def test_of_a_run_that_says_nothing_of_it_every_part_differs(loaded: Loaded, setup: str) -> None:
    assert other_parts(setup, setup_of(prepared(loaded), [KEY])) == list(PARTS)
