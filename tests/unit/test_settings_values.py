"""Values are parsed once, from the text an operator writes to a type."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import UsageError
from newsletter.settings.addresses import (
    PLAIN_ADDRESS,
    Mailbox,
    check_issue_path,
    check_list_id,
    check_url,
    parse_mailbox,
)
from newsletter.settings.amounts import (
    Rate,
    parse_duration,
    parse_optional_rate,
    parse_percent,
    parse_rate,
    parse_share,
)
from newsletter.settings.cron_line import check_cron
from newsletter.settings.load import load_settings
from newsletter.settings.model import Settings
from newsletter.settings.moments import parse_date, parse_time, parse_timezone
from newsletter.settings.pick import pick_newsletter

NEWSLETTER = {"title": "Daily Buzz", "from": "buzz@news.example.com"}


def test_values_become_what_the_program_computes_with() -> None:
    assert parse_duration("2h") == dt.timedelta(hours=2)
    assert parse_duration("1h30m") == dt.timedelta(minutes=90)
    assert parse_duration("180d") == dt.timedelta(days=180)
    assert parse_rate("50/s").per_second == 50
    assert parse_rate("90/min").per_second == 1.5
    assert str(parse_rate("0.5/s")) == "0.5/s"
    assert parse_optional_rate("") is None
    assert parse_percent("5%") == 0.05
    assert parse_percent("12.5 %") == 0.125
    assert parse_time("06:30") == dt.time(6, 30)
    assert parse_time(dt.time(6, 30)) == dt.time(6, 30)
    assert parse_date("2026-12-25") == parse_date(dt.date(2026, 12, 25)) == dt.date(2026, 12, 25)
    assert parse_timezone("Asia/Hong_Kong") == ZoneInfo("Asia/Hong_Kong")
    assert parse_mailbox('"Buzz, Daily" <buzz@example.com>') == Mailbox("Buzz, Daily", "buzz@example.com")
    assert check_issue_path("{date:%Y}/{date:%m-%d}.{edition}.md")


@pytest.mark.parametrize(
    ("parse", "refused"),
    [
        (parse_duration, ["", "2", "2 h", "h", "-1h", "2.5h", "2y", 2, None, "99999999w", "2h\n", "٢h"]),
        (parse_rate, ["", "50", "50/d", "0/s", "-1/s", "50/s ", "1e3/s", 50]),
        (parse_percent, ["5", "5 %%", "-5%", "%", 5, 0.05, "9999999999%"]),
        (parse_time, ["6:30", "24:00", "06:60", "0630", "06:30Z", 630, ""]),
        (parse_date, ["2026-02-30", "26-01-01", "1 Jan 2026", dt.datetime(2026, 1, 1), 20260101]),
        (parse_timezone, ["HKT+8", "../etc/passwd", "Asia", "", "asia/hong kong", 8, "/etc/localtime"]),
        (
            parse_mailbox,
            ["", "buzz", "buzz@", "@x.com", "a@b@c.com", "a@example.com, b@example.com", "Team: a@example.com;",
             "Daily Buzz buzz@example.com", "x <a@example.com> y", "a@example.com\nBcc: b@example.com",
             "Buzz <buzz@exa mple.com>", "buzz@-example.com", 3],
        ),
        (
            check_url,
            ["example.net", "ftp://example.com", "https://", "https://example.com/", "https://example.com/a/",
             "https://u:p@example.com", "https://example.com?x=1", "https://exa mple.com", "https://example.com:99999",
             "https://example.com:0", "javascript:alert(1)"],
        ),
        (check_list_id, ["daily", "<a.example.com>", "a..b", "a b.example.com", ".a.b", "a." + "b" * 255]),
        (
            check_issue_path,
            ["issue.txt", "{date:%Y-%m}.txt", "{date:%d-%m}.txt", "{date:%Y-%W}.txt", "../{date}.txt",
             "/issues/{date}.txt", "{date}", "{date}.html", "{day}.txt", "{date.year}.txt", "{date!r}.txt", "{date",
             "a\\{date}.txt", "{}{date}.txt", "{date:%G-W%V-%u}.txt", "{date:%x}.txt", "{date:%-d.%-m.%Y}.txt",
             "{edition}/{date}.{edition}.txt", "{{edition}}{date}.txt",
             "{date:%A-%j}.txt", "{date:%m-%d %a}.txt", "{date}{edition}//x.txt",
             "{date:%Y-%m-%d%}.txt", "{date:%Y-%m-%d%%}.txt",
             "{date}{edition:>9999999999}.txt", "{date:%Y-%m-%d/../}x.txt"],
        ),
        (
            check_cron,
            ["30 6 * *", "30 6 * * * *", "60 6 * * *", "30 24 * * *", "30 6 0 * *", "30 6 * 13 *", "30 6 * * 8",
             "30 6 * * fri-mon", "*/0 * * * *", "a b c d e", "30 6 * * monday", "1, 2 3 4 5", "@daily"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_without_repeating_it(
    parse: Callable[[object], object], refused: list[object]
) -> None:
    for value in refused:
        with pytest.raises(ValueError, match=r"[a-z]{4}") as caught:
            parse(value)
        assert not isinstance(value, str) or len(value) < 10 or value not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["30 6 * * mon-fri", "*/15 0-6,18 1 jan-mar,12 0,7", "0 6 * * FRI-SUN", "5/10 * * * 1-5"]
)
def test_cron_lines_as_crontab_has_them_are_taken(line: str) -> None:
    assert check_cron(line) == line


@given(st.integers(1, 10**8).map(lambda count: count / 100), st.sampled_from(["s", "min", "h"]))
def test_a_rate_is_written_as_it_is_read(count: float, unit: str) -> None:
    rate = Rate(count, unit)
    assert parse_rate(str(rate)) == rate


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Co", "Cn", "Cf", "Zs"]), min_size=1, max_size=12)
)
def test_a_senders_name_survives_the_writing_of_its_mailbox(name: str) -> None:
    mailbox = Mailbox(name, "buzz@example.com")
    if "=?" not in name:  # what looks like an encoded word is one, to a reader of headers
        assert parse_mailbox(str(mailbox)) == mailbox


@given(
    st.lists(st.text("abXY09_+-", min_size=1, max_size=6), min_size=1, max_size=3).map(".".join),
    st.lists(st.text("abXY09", min_size=1, max_size=5), min_size=1, max_size=3).map("-".join),
    st.text("abXY", min_size=2, max_size=6)
    | st.sampled_from(sorted({name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES})).map(str.title),
)
def test_email_validator_takes_every_address_that_it_is_not_asked_about(local: str, domain: str, last: str) -> None:
    address = f"{local}@{domain}.{last}"
    if PLAIN_ADDRESS.fullmatch(address):
        validate_email(address, check_deliverability=False, globally_deliverable=False)
    else:
        with pytest.raises(EmailNotValidError):
            validate_email(address, check_deliverability=False, globally_deliverable=False)


@pytest.mark.parametrize("address", ["a@b", "a@b.c", "a..b@c.de", "a@b--c.de", "ä@b.de", "a@b.c1", "a b@c.de"])
def test_of_what_is_not_plain_email_validator_is_asked(address: str) -> None:
    assert not PLAIN_ADDRESS.fullmatch(address)


@given(st.text(max_size=30))
def test_any_text_is_a_mailbox_or_a_clear_refusal(text: str) -> None:
    refusal = ""
    try:
        mailbox = parse_mailbox(text)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("expected one mailbox")
    else:
        assert parse_mailbox(str(mailbox)).address == mailbox.address


def test_a_newsletter_needs_a_title_and_a_sender_and_the_rest_follows() -> None:
    settings = Settings.model_validate({"newsletters": {"daily-buzz": NEWSLETTER}})
    newsletter = settings.newsletters["daily-buzz"]
    assert newsletter.lists == ("daily-buzz",)
    assert newsletter.list_id == "daily-buzz.news.example.com"
    assert newsletter.sender.domain == "news.example.com"
    assert (newsletter.schedule.enabled, newsletter.schedule.time) == (False, dt.time(6, 30))
    assert newsletter.schedule.days == ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    assert newsletter.delivery.provider == "disk"
    assert settings.providers["disk"].kind == "disk"
    assert settings.retention.runs == dt.timedelta(days=730)


def test_the_list_id_of_an_international_domain_is_ascii() -> None:
    settings = Settings.model_validate({"newsletters": {"b": {"title": "B", "from": "b@bücher.example"}}})
    assert settings.newsletters["b"].list_id == "b.xn--bcher-kva.example"
    # IDNA 2008, as in the mail's own headers: the rules before it made another domain of this one (strasse)
    settings = Settings.model_validate({"newsletters": {"b": {"title": "B", "from": "b@straße.example"}}})
    assert settings.newsletters["b"].list_id == "b.xn--strae-oqa.example"


def test_paths_are_relative_to_the_folder_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.toml").write_text(
        '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n[paths]\noutput = "/elsewhere/out"\n'
    )
    monkeypatch.chdir(tmp_path)
    loaded = load_settings(Path("project/config.toml"), {})
    monkeypatch.chdir("/")
    assert loaded.resolve(loaded.settings.paths.issues) == tmp_path / "project" / "issues"
    assert loaded.resolve(loaded.settings.paths.output) == Path("/elsewhere/out")
    assert loaded.path == Path("project/config.toml")


def test_the_only_newsletter_needs_no_name_and_several_do() -> None:
    one = Settings.model_validate({"newsletters": {"daily-buzz": NEWSLETTER}})
    two = Settings.model_validate({"newsletters": {"daily-buzz": NEWSLETTER, "weekly": NEWSLETTER}})
    assert pick_newsletter(one, None)[0] == "daily-buzz"
    assert pick_newsletter(two, "weekly") == ("weekly", two.newsletters["weekly"])
    with pytest.raises(UsageError, match="daily-buzz, weekly"):
        pick_newsletter(two, None)
    with pytest.raises(UsageError) as caught:
        pick_newsletter(two, "daily_buz")
    assert caught.value.hint == "Did you mean `daily-buzz`?"


def test_a_share_is_no_more_than_the_whole() -> None:
    assert parse_share("100%") == 1
    with pytest.raises(ValueError, match="at most"):
        parse_share("100.5%")
