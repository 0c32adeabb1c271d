"""Everything wrong with the settings is reported at once, each problem on its line, in words an operator uses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigError, Problem
from newsletter.settings.faults import examine
from newsletter.settings.load import load_settings
from newsletter.settings.show import format_problems

TEN_MISTAKES = """\
config_version = 1

[site]
base_url = "https://news.example.com/"
postal = "1 Example Street"

[newsletters.daily-buzz]
titel = "Daily Buzz"
from = "Buzz, Daily <buzz@news.example.com>"
batch_size = 100

[newsletters.daily-buzz.schedule]
time = "06:30"
deadline = "06:00"
days = [
  "mon",
  "tus",
]

[newsletters.daily-buzz.delivery]
batch_sise = 500
provider = "sengrid"

[providers.sendgrid]
kind = "sendgrid"
api_key = "SG.written-out"
"""

MINIMAL = """\
[newsletters.daily-buzz]
title = "Daily Buzz"
from = "buzz@news.example.com"
"""


def problems_of(folder: Path, text: str | bytes, **environ: str) -> tuple[Problem, ...]:
    """What loading this text reports; nothing if it is good."""
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load_settings(path, environ)
    except ConfigError as error:
        return error.problems
    return ()


def one_problem(folder: Path, text: str | bytes, **environ: str) -> Problem:
    (problem,) = problems_of(folder, text, **environ)
    return problem


def test_ten_mistakes_are_ten_problems_each_on_its_line(tmp_path: Path) -> None:
    found = [(problem.place.line, problem.key, problem.suggestion) for problem in problems_of(tmp_path, TEN_MISTAKES)]
    newsletter = "newsletters.daily-buzz"
    assert len(found) == 10
    assert found == [
        (4, "site.base_url", ""),
        (5, "site.postal", "Did you mean `postal_address`?"),
        (8, f"{newsletter}.titel", "Did you mean `title`?"),
        (9, f"{newsletter}.from", ""),
        (10, f"{newsletter}.batch_size", f"It belongs in [{newsletter}.delivery]."),
        (14, f"{newsletter}.schedule.deadline", "Set `deadline` to a later time of the same day."),
        (17, f"{newsletter}.schedule.days[1]", "Did you mean `tue`?"),
        (21, f"{newsletter}.delivery.batch_sise", "Did you mean `batch_size`?"),
        (22, f"{newsletter}.delivery.provider", "Did you mean `sendgrid`?"),
        (26, "providers.sendgrid.api_key", ""),
    ]


def test_the_picture_shows_the_line_and_points_at_the_key(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL + "\n[newsletters.daily-buzz.delivery]\nbatch_sise = 500\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert format_problems(caught.value).replace(f"{tmp_path}/", "") == (
        "config.toml:6  newsletters.daily-buzz.delivery.batch_sise\n"
        "    6 | batch_sise = 500\n"
        "      | ^^^^^^^^^^ unknown key `batch_sise`. Did you mean `batch_size`?"
    )


def test_a_missing_key_is_reported_at_the_header_of_its_table(tmp_path: Path) -> None:
    found = problems_of(tmp_path, '[site]\nname = "x"\n\n[newsletters.daily-buzz]\n[providers.relay]\nhost = "h"\n')
    assert [(one.place.line, one.place.column, one.key) for one in found] == [
        (4, 14, "newsletters.daily-buzz.title"),
        (4, 14, "newsletters.daily-buzz.from"),
        (5, 12, "providers.relay.kind"),
    ]
    assert found[0].message == "`title` is missing"
    assert 'Write kind = "disk" or "smtp" or "sendgrid".' in found[2].suggestion


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[web]\nport = true", "expected a port number, such as 8000; this is true or false"),
        ("[web]\nport = 70000", "must be at most 65535"),
        ("[web]\narchive = 1", "expected true or false; this is a whole number"),
        ("[web]\ntrusted_proxies = '10.0.0.1'", "expected a list of addresses or networks"),
        ("[web]\ntrusted_proxies = ['proxy']", 'such as "127.0.0.1" or "10.0.0.0/8"'),
        ("[paths]\nissues = 3", "expected a path"),
        ("[retention]\nevents = '0d'", "must be a day at least"),
        ("[retention]\nattempts = '1m'", "must be a day at least"),
        ("[retention]\nruns = '23h59m'", "must be a day at least"),
        ("[retention]\nruns = '90d'\nattempts = '91d'", "`attempts` is longer than `runs`"),
        ("[retention]\nevents = 180", 'expected a duration such as "2h"'),
        ("[database]\nurl = 'mysql://x/y'", "sqlite:///PATH"),
        ("[database]\nurl = 'postgresql://u@h:xx/db'", "the port is no number up to 65535"),
        ("[database]\nurl = 'postgresql://u@h:65536/db'", "the port is no number up to 65535"),
        ("[database]\nurl = 'postgresql+psycopg://u@[::1/db'", "is not closed"),
        ("[database]\nurl = 'postgresql+psycopg://u:p@ss@h/db'", "percent-encode user and password (%40 for @"),
        ("[database]\nurl = 'postgresql+psycopg://u/x:pw@h/db'", "percent-encode user and password (%40 for @"),
        ("[notifications]\non = ['falied']", "expected one of"),
        ("[site]\nlanguage = 'english'", "expected a language tag"),
        ("[providers.x]\nkind = 'smtp'\nsecurity = 'ssl'", 'expected one of "none", "starttls", "tls"'),
        ("[providers.x]\nkind = 'smtp'\ndkim = { selector = 's' }", "`domain` is missing"),
        ("[providers.x]\nkind = 'disk'\nper_domain = { 'Example.net' = '1/s' }", "a domain in small letters"),
        ("[providers.x]\nkind = 'disk'\nper_domain = { 'example.net' = '' }", "expected a rate"),
        ("web = 3", "expected a table; this is a whole number"),
        ("[newsletters.'Daily Buzz']\ntitle = 'x'\nfrom = 'a@example.com'", "small letters, digits and `-`"),
        ("[newsletters.b]\ntitle = 'x'\nfrom = 'a@example.com'\nlists = []", "must not be empty"),
        ("[newsletters.b]\ntitle = 'x'\nfrom = 'a@example.com'\nlist_id = 'nodots'", "expected a List-Id"),
        ("[newsletters.b]\ntitle = ' '\nfrom = 'a@example.com'", "expected a line of text"),
        ("[newsletters.b]\ntitle = 'x'\nfrom = 'a@example.com'\ntemplate = '../x'", "the name of a folder"),
    ],
)
def test_a_wrong_value_is_explained_in_plain_words(tmp_path: Path, line: str, message: str) -> None:
    found = problems_of(tmp_path, f"{line}\n{MINIMAL}" if line.startswith("web") else f"{MINIMAL}{line}\n")
    assert message in found[0].message
    assert not any("Input should" in one.message or "Value error" in one.message for one in found)


@pytest.mark.parametrize(
    "server",
    ["u:p%40s%2Fs@h:5432/db", "h/db", "/db?host=/run/postgresql", "u:pw@[::1]:5432/db", "u@h/db?user=a@b", "h"],
)
def test_the_database_of_a_server_is_written_in_many_ways(tmp_path: Path, server: str) -> None:
    problems = problems_of(tmp_path, f"{MINIMAL}[database]\nurl = 'postgresql+psycopg://{server}'\n[web]\nport = 'x'\n")
    assert [one.key for one in problems] == ["web.port"]


@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        ('time = "07:00"\ncron = "30 6 * * mon-fri"', "cron"),
        ('time = "12:00"', "deadline"),
        ('time = "18:00"\ndeadline = "17:59"', "deadline"),
        ('cron = "60 6 * * *"', "cron"),
        ('cron = "0 6 30 2 *"', "cron"),
        ('cron = "0 6 * * mon-fri"\ndays = ["sat", "sun"]', "cron"),
        ('cron = "0 12 * * *"', "deadline"),
        ('cron = "*/5 9-17 * * *"\ndeadline = "09:00"', "deadline"),
        ('timezone = "Asia/Hongkong"', "timezone"),
        ('editions = { Evening = "18:00" }', "editions.Evening"),
        ('skip_dates = ["2026-02-30"]', "skip_dates[0]"),
        ('skip_holidays = "Hong Kong"', "skip_holidays"),
        ('skip_holidays = "QQ"', "skip_holidays"),
        ('skip_holidays = "GB-ENGL"', "skip_holidays"),
        ('skip_holidays = "HK-KLN"', "skip_holidays"),
        ("days = []", "days"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused_by_the_key_to_change(
    tmp_path: Path, schedule: str, key: str
) -> None:
    problem = one_problem(tmp_path, f"{MINIMAL}[newsletters.daily-buzz.schedule]\n{schedule}\n")
    assert problem.key == f"newsletters.daily-buzz.schedule.{key}"
    assert problem.place.line is not None
    assert problem.place.line >= 5


def test_cron_alone_replaces_the_default_time(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'{MINIMAL}[newsletters.daily-buzz.schedule]\ncron = "0 18 * * mon,wed-fri"\ndeadline = "19:00"\n')
    schedule = load_settings(path, {}).settings.newsletters["daily-buzz"].schedule
    assert (schedule.time, schedule.cron) == (None, "0 18 * * mon,wed-fri")


def test_many_machines_on_one_sqlite_file_are_refused(tmp_path: Path) -> None:
    problem = one_problem(tmp_path, f'{MINIMAL}[newsletters.daily-buzz.delivery]\nengine = "procrastinate"\n')
    assert problem.key == "newsletters.daily-buzz.delivery.engine"
    postgresql = '[database]\nurl = "postgresql+psycopg://db.example.com/news"\n'
    assert not problems_of(
        tmp_path, f'{MINIMAL}[newsletters.daily-buzz.delivery]\nengine = "procrastinate"\n{postgresql}'
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[site]\nname = "x\n', 2, "a text is not closed on its line"),
        ("[site]\nname\n", 2, "expected `=` after the key"),
        ('[site]\nname = "x"\nname = "y"\n', 3, "this key stands here twice"),
        ("[site]\n[site]\n", 2, "this table or key stands here twice"),
        ("[site]\nname = Daily\n", 2, "this value cannot be read"),
        ("[site]\n\nsections = [1,\n\n", 3, "the file ends here, in the middle of a value"),
        ('[site]\nname = "a" "b"\n', 2, "something is left over"),
    ],
)
def test_a_syntax_error_has_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    problem = one_problem(tmp_path, text)
    assert problem.place.line == line
    assert message in problem.message


def test_files_that_are_no_settings_at_all_get_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*missing\.toml: run `newsletter init` .* -c"):
        load_settings(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match="is a folder, not a file"):
        load_settings(tmp_path, {})
    latin = one_problem(tmp_path, b'[site]\nname = "caf\xe9"\n')
    assert (latin.place.line, "UTF-8" in latin.message) == (2, True)
    assert "too deeply" in one_problem(tmp_path, "a = " + "[" * 20_000).message
    assert "too long" in one_problem(tmp_path, "a = " + "1" * 5_000).message
    assert "at least one newsletter" in one_problem(tmp_path, "").message
    assert "at least one newsletter" in one_problem(tmp_path, "newsletters = {}").message


@pytest.mark.parametrize("version", ["2", "0", '"1"', "true"])
def test_another_version_of_the_format_is_the_only_problem_reported(tmp_path: Path, version: str) -> None:
    problem = one_problem(tmp_path, f"# new\nconfig_version = {version}\n[unheard_of]\nx = 1\n")
    assert (problem.key, problem.place.line) == ("config_version", 2)
    assert "config_version must be 1" in problem.message


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    assert not problems_of(tmp_path, b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    bad = one_problem(tmp_path, b"\xef\xbb\xbf" + f"{MINIMAL}titles = 1\n".replace("\n", "\r\n").encode())
    assert (bad.place.line, bad.excerpt) == (4, "titles = 1")


def test_a_provider_is_checked_in_full_even_when_its_kind_is_misspelt_or_missing(tmp_path: Path) -> None:
    found = problems_of(tmp_path, f'{MINIMAL}[providers.a]\nkind = "smpt"\nprot = 25\n[providers.smtp]\nprot = 25\n')
    assert [(one.place.line, one.key) for one in found] == [
        (5, "providers.a.kind"),
        (6, "providers.a.prot"),
        (7, "providers.smtp.kind"),
        (8, "providers.smtp.prot"),
    ]


def test_events_are_kept_for_as_long_as_soft_bounces_are_counted(tmp_path: Path) -> None:
    problem = one_problem(tmp_path, f'{MINIMAL}[retention]\nevents = "7d"\n')
    assert (problem.key, problem.place.line) == ("retention.events", 5)
    assert "soft_within" in problem.message
    assert not problems_of(tmp_path, f'{MINIMAL}[retention]\nevents = "7d"\n[bounces]\nsoft_within = "7d"\n')


mistakes = st.recursive(
    st.one_of(st.none(), st.integers(), st.booleans(), st.text(max_size=8), st.dates(), st.floats(allow_nan=False)),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=6,
)
PATHS = [
    ("site",), ("site", "secret_key"), ("site", "secret_key_fallbacks"), ("site", "base_url"), ("config_version",),
    ("newsletters",), ("newsletters", "daily-buzz"), ("newsletters", "daily-buzz", "from"),
    ("newsletters", "daily-buzz", "lists"), ("newsletters", "daily-buzz", "issue_path"),
    ("newsletters", "daily-buzz", "schedule"), ("newsletters", "daily-buzz", "schedule", "time"),
    ("newsletters", "daily-buzz", "schedule", "cron"), ("newsletters", "daily-buzz", "schedule", "editions"),
    ("newsletters", "daily-buzz", "schedule", "timezone"), ("newsletters", "daily-buzz", "delivery", "provider"),
    ("newsletters", "daily-buzz", "tracking", "utm"), ("providers",), ("providers", "smtp"),
    ("providers", "smtp", "kind"), ("providers", "smtp", "dkim"), ("providers", "smtp", "per_domain"),
    ("providers", "smtp", "rate"), ("notifications", "urls"), ("retention", "events"),
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(PATHS), mistakes, min_size=1, max_size=3))
def test_whatever_stands_in_the_file_gives_settings_or_problems(wrong: dict[tuple[str, ...], object]) -> None:
    document = tomllib.loads(f'{MINIMAL}[providers.smtp]\nkind = "smtp"\n')
    for path, value in wrong.items():
        holder = document
        for part in path[:-1]:
            below = holder.get(part)
            holder[part] = holder = below if isinstance(below, dict) else {}
        holder[path[-1]] = value
    settings, faults = examine(document)
    assert (settings is None) == bool(faults)
    assert all(fault.message for fault in faults)
