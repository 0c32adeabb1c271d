"""What is written about the settings is what they are: the shipped file, the reference, the JSON Schema."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from newsletter.settings.catalog import Key, all_keys
from newsletter.settings.load import load_settings
from newsletter.settings.show import ShownValue, json_schema, shown_values, written

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config.toml"
REFERENCE = ROOT / "docs" / "reference" / "config.md"

KEYS = list(all_keys())


def toml_path(key: Key) -> tuple[str, ...]:
    """The key in the shipped file, which names the one newsletter and each kind of provider."""
    names = {"NAME": "daily-buzz", "DISK": "disk", "SMTP": "smtp", "SENDGRID": "sendgrid"}
    return tuple(names.get(part, part) for part in key.path)


def at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def documented() -> dict[str, tuple[str, str, str]]:
    """Key → type, default, meaning, from the tables of the reference."""
    rows: dict[str, tuple[str, str, str]] = {}
    table = ""
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        heading = re.fullmatch(r"## (?:`\[(.+)\]`|Above all tables)", line)
        if heading:
            table = f"{heading[1]}." if heading[1] else ""
        row = re.fullmatch(r"\| `([a-z_]+)` \| (.+?) \| (.+?) \| (.+?) \|", line)
        if row:
            name = f"{table}{row[1]}"
            assert name not in rows, f"{name} is documented twice"
            rows[name] = (row[2], row[3], row[4])
    return rows


def default_of(key: Key) -> str:
    if key.required:
        return "required"
    if key.default is None:
        return key.derived or "none"
    return f"`{written(key.default)}`"


def test_the_reference_documents_every_key_and_no_other() -> None:
    wanted = {
        ".".join(key.path).replace("DISK", "NAME").replace("SMTP", "NAME").replace("SENDGRID", "NAME")
        if key.name in ("rate", "per_domain", "kind")
        else ".".join(key.path): key
        for key in KEYS
    }
    rows = documented()
    assert sorted(rows) == sorted(wanted)
    wrong = {
        name: (key.words, default_of(key), key.meaning)
        for name, key in wanted.items()
        if key.name != "kind" and rows[name] != (key.words, default_of(key), key.meaning)
    }
    assert wrong == {}, "these rows of docs/reference/config.md differ from the model"


def test_the_shipped_file_loads_and_shows_every_key() -> None:
    loaded = load_settings(CONFIG, {})
    assert str(loaded.settings.newsletters["daily-buzz"].sender) == "Daily Buzz <buzz@news.example.com>"
    shown = {one.key: one for one in shown_values(loaded, {})}
    assert {".".join(toml_path(key)) for key in KEYS} == set(shown)
    # all of it stands in the file
    assert [key for key, one in shown.items() if not one.origin.startswith("config.toml:")] == []


def test_every_key_of_the_shipped_file_has_a_comment() -> None:
    """Above the key, or above the keys in whose block of lines it stands, or in another provider's table."""
    explained: set[str] = set()
    table, commented = "", False
    for line in CONFIG.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            table, commented = line, False
        elif line.startswith("#"):
            commented = True
        elif line and commented:
            explained.add(line.partition(" ")[0])
    assert {key.name for key in KEYS} - {"kind"} <= explained
    assert table.startswith("[notifications]")


def test_the_shipped_file_has_the_defaults_but_for_what_makes_it_this_newsletter() -> None:
    document = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    different = {".".join(key.path) for key in KEYS if not key.required and at(document, toml_path(key)) != key.default}
    newsletter = "newsletters.NAME"
    assert different == {
        "site.name",
        "site.postal_address",
        "site.secret_key",
        "bounces.password",
        f"{newsletter}.reply_to",
        f"{newsletter}.list_id",
        f"{newsletter}.lists",
        f"{newsletter}.language",
        f"{newsletter}.sections",
        f"{newsletter}.schedule.days",
        f"{newsletter}.schedule.timezone",
    }


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_accepts_the_shipped_file(validator: jsonschema.Draft202012Validator) -> None:
    document = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(document)] == []
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    json.dumps(schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("site", "secret_key"), "literal"),
        (("site", "secret_key"), {}),
        (("site", "secret_key"), {"env": "A", "file": "b"}),
        (("site", "base_url"), "https://example.com/"),
        (("newsletters", "daily-buzz", "delivery", "retry_for"), 45),
        (("newsletters", "daily-buzz", "delivery", "retry_for"), "45 minutes"),
        (("newsletters", "daily-buzz", "delivery", "batch_sise"), 1),
        (("newsletters", "daily-buzz", "delivery", "max_audience_change"), "20"),
        (("newsletters", "daily-buzz", "schedule", "time"), "6:30"),
        (("newsletters", "daily-buzz", "schedule", "time"), None),
        (("newsletters", "daily-buzz", "schedule", "days"), ["monday"]),
        (("newsletters", "Daily Buzz"), {"title": "x", "from": "a@example.com"}),
        (("newsletters", "other"), {"title": "x"}),
        (("newsletters",), {}),
        (("providers", "smtp", "kind"), "smpt"),
        (("providers", "smtp", "port"), "25"),
        (("providers", "smtp", "dkim"), {"selector": "s"}),
        (("providers", "disk", "rate"), "fast"),
        (("unheard_of",), 1),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(
    validator: jsonschema.Draft202012Validator, path: tuple[str, ...], value: object
) -> None:
    document = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    at(document, path[:-1])[path[-1]] = value
    assert list(validator.iter_errors(document))


def test_every_key_and_table_of_the_schema_is_described() -> None:
    def undescribed(schema: dict[str, Any], where: str) -> list[str]:
        found = [] if schema.get("description") else [where]
        for name, one in schema.get("properties", {}).items():
            if "description" not in one and "$ref" not in one:
                found.append(f"{where}.{name}")
        if schema.get("additionalProperties") is not False:
            found.append(f"{where} takes unknown keys")
        return found

    schema = json_schema()
    tables = {"": schema, **schema["$defs"]}
    assert [one for name, table in tables.items() for one in undescribed(table, name)] == []


def test_shown_values_are_written_as_in_the_file() -> None:
    loaded = load_settings(CONFIG, {})
    lines = {one.key: written(one.value) for one in shown_values(loaded, {})}
    assert lines["newsletters.daily-buzz.from"] == '"Daily Buzz <buzz@news.example.com>"'
    assert lines["newsletters.daily-buzz.delivery.batch_size"] == "100"
    assert lines["newsletters.daily-buzz.schedule.enabled"] == "false"
    assert lines["newsletters.daily-buzz.lists"] == '["daily-buzz"]'
    assert lines["providers.smtp.dkim"] == "{}"
    assert lines["providers.smtp.password"] == '{ env = "SMTP_PASSWORD" } (not set)'
    assert written({"example.net": "1/s"}) == '{ "example.net" = "1/s" }'
    assert ShownValue("a", 1, "default").origin == "default"
