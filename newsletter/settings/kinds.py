"""The kinds of values that keys of config.toml take: how each is parsed, what it is called, and its JSON Schema.

Each kind is a type to annotate a model's field with. `Written` says in plain words what the user writes; the
messages, the reference and the schema all take it from there.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainValidator, Strict, WithJsonSchema

from newsletter.settings import addresses, amounts, cron_line, holiday_codes, moments
from newsletter.settings.secrets import parse_options


@dataclass(frozen=True, slots=True)
class Written:
    """What a key's value is called (`words`), with an example as it stands in the file; `plural` where -s is not it."""

    words: str
    example: str
    plural: str = ""

    @property
    def many(self) -> str:
        """Several of them."""
        return self.plural or f"{self.words}s"


@dataclass(frozen=True, slots=True)
class Derived:
    """What holds in place of a default, where it follows from other keys."""

    words: str


def _text(pattern: str = "") -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **({"pattern": pattern} if pattern else {})})


def _positive(parse: Callable[[object], dt.timedelta]) -> Callable[[object], dt.timedelta]:
    def parse_positive(value: object) -> dt.timedelta:
        duration = parse(value)
        if not duration:
            raise ValueError("must be longer than 0")
        return duration

    return parse_positive


def _a_day_or_more(value: object) -> dt.timedelta:
    duration = amounts.parse_duration(value)
    if duration < dt.timedelta(days=1):
        raise ValueError('must be a day at least, such as "180d"; "m" are minutes, a month is "30d"')
    return duration


def _check_text(value: str) -> str:
    if not all(one.isprintable() or one == "\n" for one in value):
        raise ValueError("expected text without control characters")
    return value


def _check_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("expected a line of text, not empty")
    return value


def _check_folder_name(value: str) -> str:
    if not value or not all(one.isascii() and (one.isalnum() or one in "-_") for one in value):
        raise ValueError("expected the name of a folder: letters, digits, `-` and `_`")
    return value


def _parse_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError('expected a path such as "issues"')
    return Path(value)


def _check_language(value: str) -> str:
    parts = value.split("-")
    if not (2 <= len(parts[0]) <= 3 and parts[0].isalpha() and value.isascii()) or not all(
        part.isalnum() and 2 <= len(part) <= 8 for part in parts[1:]
    ):
        raise ValueError('expected a language tag such as "en", "de-AT" or "zh-Hant"')
    return value


def _check_network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError('expected an address or network such as "127.0.0.1" or "10.0.0.0/8"') from None
    return value


Text = Annotated[str, AfterValidator(_check_text), Written("text", '"…"')]
Line = Annotated[str, AfterValidator(_check_line), Written("text", '"…"')]
Flag = Annotated[bool, Strict(), Written("true or false", "true")]
Whole = Annotated[int, Strict(), Written("whole number", "100")]
#: No more than a column of the database holds, and far more than anybody wants.
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000), Written("whole number from 1", "100")]
#: Threads; a machine has no use for more, and not many have them.
Threads = Annotated[int, Strict(), Field(ge=1, le=500), Written("whole number from 1", "4")]
Port = Annotated[int, Strict(), Field(ge=1, le=65_535), Written("port number", "587")]
#: 0 asks the system for a free port.
ListenPort = Annotated[int, Strict(), Field(ge=0, le=65_535), Written("port number", "8000")]

Duration = Annotated[
    dt.timedelta,
    PlainValidator(amounts.parse_duration),
    _text(amounts.DURATION_PATTERN),
    Written("duration", '"2h"'),
]
PositiveDuration = Annotated[
    dt.timedelta,
    PlainValidator(_positive(amounts.parse_duration)),
    _text(amounts.DURATION_PATTERN),
    Written("duration", '"60s"'),
]
DaysOrMore = Annotated[
    dt.timedelta,
    PlainValidator(_a_day_or_more),
    _text(amounts.DURATION_PATTERN),
    Written("duration of a day at least", '"180d"'),
]
OptionalRate = Annotated[
    amounts.Rate | None,
    PlainValidator(amounts.parse_optional_rate),
    _text(amounts.RATE_PATTERN),
    Written("rate", '"50/s"'),
]
DomainRate = Annotated[
    amounts.Rate, PlainValidator(amounts.parse_rate), _text(amounts.RATE_PATTERN), Written("rate", '"50/s"')
]
PerHour = Annotated[
    int,
    PlainValidator(amounts.parse_per_hour),
    _text(amounts.PER_HOUR_PATTERN),
    Written("number an hour", '"20/h"', "numbers an hour"),
]
Percent = Annotated[
    float, PlainValidator(amounts.parse_percent), _text(amounts.PERCENT_PATTERN), Written("percentage", '"5%"')
]
Share = Annotated[
    float, PlainValidator(amounts.parse_share), _text(amounts.PERCENT_PATTERN), Written("percentage", '"5%"')
]

TimeOfDay = Annotated[
    dt.time,
    PlainValidator(moments.parse_time),
    _text(moments.TIME_PATTERN),
    Written("time of day", '"06:30"', "times of day"),
]
Day = Annotated[
    dt.date, PlainValidator(moments.parse_date), _text(moments.DATE_PATTERN), Written("date", '"2026-12-25"')
]
Zone = Annotated[
    ZoneInfo, PlainValidator(moments.parse_timezone), _text(), Written("IANA time zone", '"Asia/Hong_Kong"')
]
Cron = Annotated[str, AfterValidator(cron_line.check_cron), Written("cron line", '"30 6 * * mon-fri"')]
Holidays = Annotated[
    str, AfterValidator(holiday_codes.check_holidays), _text(holiday_codes.PATTERN), Written("holidays code", '"HK"')
]

RequiredMailbox = Annotated[
    addresses.Mailbox,
    PlainValidator(addresses.parse_mailbox),
    _text("@"),
    Written("mailbox", '"Daily Buzz <buzz@news.example.com>"'),
]
OptionalMailbox = Annotated[
    addresses.Mailbox | None,
    PlainValidator(addresses.parse_optional_mailbox),
    _text(),
    Written("mailbox", '"editor@example.com"'),
]
Name = Annotated[
    str, AfterValidator(addresses.check_name), _text(addresses.NAME_PATTERN), Written("name", '"daily-buzz"')
]
FolderName = Annotated[str, AfterValidator(_check_folder_name), _text(r"^[A-Za-z0-9_-]+$"), Written("name", '"digest"')]
ListId = Annotated[str, AfterValidator(addresses.check_list_id), Written("List-Id", '"daily-buzz.news.example.com"')]
Url = Annotated[
    str, AfterValidator(addresses.check_url), _text(addresses.URL_PATTERN), Written("URL", '"https://news.example.com"')
]
OptionalUrl = Annotated[
    str, AfterValidator(addresses.check_optional_url), _text("^(https?://.+)?$"), Written("URL", '"https://…"')
]
DatabaseUrl = Annotated[
    str,
    AfterValidator(addresses.check_database_url),
    _text(addresses.DATABASE_PATTERN),
    Written("database URL", '"sqlite:///var/newsletter.db"'),
]
Domain = Annotated[str, AfterValidator(addresses.check_domain), Written("domain", '"example.net"')]
EnvelopeFrom = Annotated[
    str, AfterValidator(addresses.check_envelope_from), Written("address pattern", '"bounces+{token}@news.example.com"')
]
UnsubscribeMailto = Annotated[
    str,
    AfterValidator(addresses.check_unsubscribe_mailto),
    Written("address pattern", '"unsubscribe+{token}@news.example.com"'),
]
IssuePath = Annotated[str, AfterValidator(addresses.check_issue_path), Written("path", '"{date:%Y-%m-%d}.txt"')]
Folder = Annotated[Path, PlainValidator(_parse_path), _text("."), Written("path", '"issues"')]
Language = Annotated[
    str, AfterValidator(_check_language), _text("^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$"), Written("language tag", '"en"')
]
OptionalLanguage = Annotated[
    str,
    AfterValidator(lambda tag: tag and _check_language(tag)),
    _text("^([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$"),
    Written("language tag", '"en"'),
]
OptionalMailboxUrl = Annotated[
    str,
    AfterValidator(addresses.check_optional_mailbox_url),
    _text("^((maildir|mbox):.+|imaps?://.+)?$"),
    Written("mailbox URL", '"maildir:/var/mail/bounces"'),
]
#: What a provider of another package takes: any values, and references to secrets.
Options = Annotated[
    Mapping[str, object],
    PlainValidator(parse_options),
    WithJsonSchema({"type": "object"}),
    Written("table", '{ region = "eu" }'),
]
Network = Annotated[
    str, AfterValidator(_check_network), Written("address or network", '"10.0.0.0/8"', "addresses or networks")
]


def key(default: object, meaning: str, *, secret: bool = False) -> Any:
    """A key with its default as the user would write it, parsed like any other value. `secret`: never shown whole."""

    return Field(
        default=default,
        validate_default=True,
        description=meaning,
        repr=not secret,
        json_schema_extra={"writeOnly": True} if secret else None,
    )


def required(meaning: str, *, alias: str | None = None) -> Any:
    """A key without a default; `alias` is its name in the file, where Python has that word for itself."""

    return Field(description=meaning, alias=alias)
