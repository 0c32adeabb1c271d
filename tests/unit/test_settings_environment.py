"""The environment is stronger than the file, and as strict."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from newsletter.errors import ConfigError, Problem
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.provider_model import SmtpProvider
from newsletter.settings.show import shown_values

CONFIG = """\
[site]
base_url = "http://localhost:8000"

[newsletters.daily-buzz]
title = "Daily Buzz"
from = "buzz@news.example.com"
sections = ["One", "Two"]

[providers.smtp]
kind = "smtp"
password = { file = "smtp.secret" }
per_domain = { "example.net" = "1/s" }
"""


def load(folder: Path, **environ: str) -> Loaded:
    path = folder / "config.toml"
    path.write_text(CONFIG)
    return load_settings(path, environ)


def problems(folder: Path, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, **environ)
    return caught.value.problems


def test_variables_set_keys_of_every_type(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        NEWSLETTER__SITE__BASE_URL="https://news.example.com",
        NEWSLETTER__SITE__NAME="2026",
        newsletter__newsletters__daily_buzz__delivery__batch_size="250",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__FROM="Buzz <b@example.com>",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__LISTS='["a", "b"]',
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__SCHEDULE__ENABLED="True",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__SCHEDULE__CATCH_UP="3h",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__SCHEDULE__EDITIONS__LATE_NEWS="18:00",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__TRACKING='{ clicks = true, utm = { source = "buzz" } }',
        NEWSLETTER__PROVIDERS__SMTP__PER_DOMAIN='{ "example.com" = "2/s" }',
        NEWSLETTER__PROVIDERS__DISK__RATE="9/s",
    ).settings
    newsletter = settings.newsletters["daily-buzz"]
    assert (settings.site.base_url, settings.site.name) == ("https://news.example.com", "2026")
    assert newsletter.delivery.batch_size == 250
    assert newsletter.sender.address == "b@example.com"
    assert newsletter.lists == ("a", "b")
    assert newsletter.schedule.enabled is True
    assert newsletter.schedule.catch_up == dt.timedelta(hours=3)
    assert newsletter.schedule.editions == {"late-news": dt.time(18)}
    assert newsletter.tracking.clicks is True
    assert newsletter.tracking.utm == {"source": "buzz"}
    assert list(settings.providers["smtp"].per_domain) == ["example.com"]
    assert str(settings.providers["disk"].rate) == "9/s"


def test_a_secrets_variable_replaces_the_files_reference(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("from a file\n")
    loaded = load(tmp_path, NEWSLETTER__PROVIDERS__SMTP__PASSWORD__ENV="PW", PW="from the environment")
    smtp = loaded.settings.providers["smtp"]
    assert isinstance(smtp, SmtpProvider)
    assert smtp.password.resolve({"PW": "from the environment"}, tmp_path) == "from the environment"
    smtp = load(tmp_path, NEWSLETTER__PROVIDERS__SMTP__PASSWORD='{ file = "other" }').settings.providers["smtp"]
    assert isinstance(smtp, SmtpProvider)
    assert smtp.password.resolve({}, tmp_path) == "from a file"


def test_the_origin_of_every_value_is_known(tmp_path: Path) -> None:
    variable = "NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__SECTIONS"
    loaded = load(tmp_path, **{variable: '["Three"]', "NEWSLETTER__WEB": "{ port = 80 }"})
    origins = {one.key: (one.value, one.origin) for one in shown_values(loaded, {})}
    assert origins["site.base_url"] == ("http://localhost:8000", "config.toml:2")
    assert origins["newsletters.daily-buzz.sections"] == (["Three"], f"environment {variable}")
    assert origins["web.port"] == (80, "environment NEWSLETTER__WEB")
    assert origins["web.host"] == ("127.0.0.1", "default")
    assert origins["newsletters.daily-buzz.list_id"] == ("daily-buzz.news.example.com", "default")


def test_unknown_variables_are_problems_with_a_suggestion(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        NEWSLETTER__SITE__BASE_ULR="https://x.example",
        NEWSLETTER__NEWSLETTERS__DALY_BUZZ__TITLE="x",
        NEWSLETTER__SITE__NAME__FIRST="x",
        NEWSLETTER__="x",
    )
    assert {str(one.place): one.suggestion for one in found} == {
        "environment variable NEWSLETTER__": "",
        "environment variable NEWSLETTER__SITE__BASE_ULR": "Did you mean NEWSLETTER__SITE__BASE_URL?",
        "environment variable NEWSLETTER__NEWSLETTERS__DALY_BUZZ__TITLE": (
            "Did you mean NEWSLETTER__NEWSLETTERS__DAILY_BUZZ?"
        ),
        "environment variable NEWSLETTER__SITE__NAME__FIRST": "",
    }


def test_a_wrong_value_names_its_variable_and_never_itself(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__DELIVERY__BATCH_SIZE="canary\nx = 1",
        NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__SECTIONS="canary",
        NEWSLETTER__PROVIDERS__SMTP__PASSWORD="canary",
        NEWSLETTER__DATABASE__URL="mysql://user:canary@host/x",
    )
    assert [one.key for one in found] == [
        "database.url",
        "newsletters.daily-buzz.sections",
        "newsletters.daily-buzz.delivery.batch_size",
        "providers.smtp.password",
    ]
    assert all(str(one.place).startswith("environment variable NEWSLETTER__") for one in found)
    assert "canary" not in repr(found)


def test_variables_with_one_underscore_are_not_ours(tmp_path: Path) -> None:
    loaded = load(tmp_path, NEWSLETTER_SECRET_KEY="x", NEWSLETTER="x", NEWSLETTERS__X="y", NEWSLETTER_SITE__NAME="z")
    assert loaded.settings.site.name == "Newsletter"
