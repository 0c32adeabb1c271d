"""A kind of provider that another package brings, in the settings and their schema."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from newsletter.errors import ConfigError
from newsletter.settings import provider_model
from newsletter.settings.load import load_settings
from newsletter.settings.provider_model import OutsideProvider
from newsletter.settings.schema import json_schema
from newsletter.settings.secrets import Secret

NEWSLETTER = '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n'
LOFT = '[providers.loft]\nkind = "pigeon"\nrate = "5/s"\noptions = { region = "eu", api_key = { env = "KEY" } }\n'


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from newsletter.settings import catalog, faults

    found = {"pigeon": EntryPoint("pigeon", "pigeons:Pigeon", "newsletter.providers")}
    for module in (provider_model, catalog, faults):
        monkeypatch.setattr(module, "installed_kinds", lambda: found)


def load(folder: Path, text: str, **environment: str) -> Any:
    (folder / "config.toml").write_text(NEWSLETTER + text)
    return load_settings(folder / "config.toml", environment)


@pytest.mark.usefixtures("_installed")
def test_its_options_are_its_own_and_its_secrets_are_references(tmp_path: Path) -> None:
    loft = load(tmp_path, LOFT).settings.providers["loft"]
    assert isinstance(loft, OutsideProvider)
    assert loft.rate is not None
    assert loft.rate.per_second == 5
    assert loft.options["region"] == "eu"
    secret = loft.options["api_key"]
    assert isinstance(secret, Secret)
    assert secret.resolve({"KEY": "coo"}, tmp_path) == "coo"
    with pytest.raises(ConfigError, match=r"providers\.loft\.options"):
        secret.resolve({}, tmp_path)


@pytest.mark.usefixtures("_installed")
def test_the_environment_sets_an_option(tmp_path: Path) -> None:
    loaded = load(tmp_path, LOFT, NEWSLETTER__PROVIDERS__LOFT__OPTIONS__REGION="us")
    assert loaded.settings.providers["loft"].options["region"] == "us"


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[providers.loft]\nkind = "pigeon"\nhost = "x"\n', "unknown key `host`"),
        ('[providers.loft]\nkind = "pigeon"\noptions = 3\n', "expected a table"),
        ('[providers.loft]\nkind = "pigeon"\noptions = { token = "coo" }\n', "a secret does not stand"),
        ('[providers.loft]\nkind = "pidgeon"\n', 'expected one of "disk", "smtp", "sendgrid", "pigeon"'),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in caught.value.problems[0].message
    assert '"coo"' not in str(caught.value.problems)


def test_without_the_package_there_is_no_such_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='expected one of "disk", "smtp", "sendgrid"'):
        load(tmp_path, LOFT)


def test_the_schema_takes_any_other_kind_with_options() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(tomllib.loads(NEWSLETTER + LOFT))
    assert not validator.is_valid(tomllib.loads(NEWSLETTER + '[providers.x]\nkind = "disk"\noptions = {}\n'))
