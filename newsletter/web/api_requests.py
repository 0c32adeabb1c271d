"""What calls of the API carry: parts of paths, parameters and bodies. Types are strict, and other fields refused."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from starlette.convertors import Convertor, register_url_convertor

#: As the settings have names of newsletters, and issues their slots.
NAME, SLOT = r"^[a-z0-9-]+$", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z0-9-]+)?$"
#: RFC 3339, section 5.6.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: As long as a number of people can be.
_MOST_PEOPLE = 1_000_000_000

NewsletterName = Annotated[
    str, Path(pattern=NAME, max_length=100, description="A newsletter of the settings.", examples=["daily-buzz"])
]
SlotName = Annotated[
    str,
    Path(pattern=SLOT, max_length=100, description="Its date, and edition if there is one.", examples=["2026-01-07"]),
]


class _AddressInPath(Convertor[str]):
    """An address as part of a path: a local part may hold a slash (RFC 5322, section 3.2.3), a domain may not."""

    regex = ".*@[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("address", _AddressInPath())

EmailPath = Annotated[
    str,
    Path(
        min_length=3,
        max_length=400,
        pattern="^.*@[^/]+$",
        description="An address, in any spelling.",
        examples=["anna@example.com"],
    ),
]
After = Annotated[
    str, Query(max_length=1_000, description="`next` of the part before; '' for the first.", examples=[""])
]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.", examples=[100])]
ListFilter = Annotated[
    str | None, Query(min_length=1, max_length=100, description="On this list.", examples=["daily-buzz"])
]

Email = Annotated[str, Field(min_length=3, max_length=400, examples=["anna@example.com"])]
ListName = Annotated[str, Field(min_length=1, max_length=100, examples=["daily-buzz"])]
_Note = Annotated[str, Field(max_length=500, description="Kept with the record.")]


def _moment(value: object) -> dt.datetime:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("give a time as 2026-01-07T06:30:00Z (RFC 3339)")
    try:
        # it has no leap seconds
        return dt.datetime.fromisoformat(value.upper().replace(":60", ":59")).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such time") from None


Moment = Annotated[
    dt.datetime, BeforeValidator(_moment), Field(examples=["2026-01-07T06:30:00Z"], description="RFC 3339.")
]


def _ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("this is no IP address") from None


_Ip = Annotated[
    str,
    AfterValidator(_ip),
    Field(max_length=45, examples=["203.0.113.7"]),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]


def _whole(value: object) -> object:
    """12.0 is an integer, as JSON Schema has it (section 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Number = Annotated[int, BeforeValidator(_whole)]


class Body(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ConsentGiven(Body):
    """That somebody asked for it: when, where, in what words, and from which IP address."""

    at: Moment
    source: Annotated[str, Field(min_length=1, max_length=200, examples=["shop checkout"])]
    wording: Annotated[str, Field(max_length=2_000, examples=["Yes, send me the Daily Buzz."])] = ""
    ip: _Ip | None = None


_Name = Annotated[str, Field(max_length=200, examples=["Anna"])]
_Language = Annotated[
    str,
    Field(max_length=35, pattern="^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$", examples=["pl"], description="RFC 5646."),
]
_Zone = Annotated[
    str, Field(max_length=64, pattern="^[A-Za-z0-9/_+-]*$", examples=["Europe/Warsaw"], description="IANA time zone.")
]


_Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=50)]


class AddSubscriber(Body):
    """Somebody to put on a list. With a consent they are subscribed, else pending: nothing is mailed to them."""

    email: Email
    list: ListName
    name: _Name = ""
    language: _Language = ""
    timezone: _Zone = ""
    tags: _Tags = []
    attributes: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=2_000)]],
        Field(max_length=100),
    ] = {}
    consent: ConsentGiven | None = None
    confirm: Annotated[
        bool, Field(description="Ask them by mail to confirm it (double opt-in), at most once a day.")
    ] = False
    newsletter: Annotated[
        str,
        Field(max_length=100, pattern="^[a-z0-9-]*$", description="Whose mail asks; needed where several go there."),
    ] = ""


class ChangeSubscriber(Body):
    """What to change; what is absent stays, and '' empties it."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [{"name": "Anna"}]})

    name: _Name | None = None
    language: _Language | None = None
    timezone: _Zone | None = None

    @model_validator(mode="before")
    @classmethod
    def _something(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value:
            raise ValueError("there is nothing to change: give name, language or timezone")
        return value


class Unsubscribe(Body):
    """Which list they leave; null: all, also those to come."""

    list: ListName | None = None
    note: _Note = ""


class AddSuppression(Body):
    """An address that must not be mailed. It need not be known."""

    email: Email
    reason: Annotated[
        Literal["unsubscribe", "hard_bounce", "complaint", "manual"], Field(description="Why it must not be mailed.")
    ] = "manual"
    list: Annotated[ListName | None, Field(description="null: all lists, also those to come.")] = None
    note: _Note = ""


class Approve(Body):
    """Who approves, for the record, which names the token in any case."""

    by: Annotated[str, Field(max_length=200, examples=["Anna, news desk"])] = ""


_LimitTo = Annotated[
    _Number | None,
    Field(
        ge=1, le=_MOST_PEOPLE, description="Send to so many, then pause: the rest waits for resume.", examples=[None]
    ),
]


class Send(Body):
    """The number of recipients, as a guard: another one is refused, and the refusal says which it would be."""

    confirm: Annotated[_Number, Field(ge=0, le=_MOST_PEOPLE, examples=[12])]
    limit: _LimitTo = None


class Resume(Body):
    """How far to go on. `confirm`, where it is given, must be the number that the run was planned with."""

    confirm: Annotated[_Number | None, Field(ge=0, le=_MOST_PEOPLE)] = None
    limit: _LimitTo = None


class Pause(Body):
    """Why; it is kept with the run."""

    reason: Annotated[str, Field(max_length=500, examples=["wrong headline"])] = ""


class Cancel(Body):
    """Nothing: an empty object."""
