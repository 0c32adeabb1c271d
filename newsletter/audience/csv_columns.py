"""What the columns of a subscriber file mean: our own, those of listmonk's and Mailchimp's exports, and anybody's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from newsletter.audience.csv_cells import clean
from newsletter.audience.people import SuppressionReason
from newsletter.errors import AudienceError, Place

#: Columns with a meaning of their own; all others become attributes.
COLUMNS = (
    "email",
    "name",
    "list",
    "tags",
    "timezone",
    "language",
    "consent_at",
    "consent_source",
    "consent_wording",
    "consent_ip",
)
#: What `--map` may name besides: parts of a name, a state, and an object of attributes in JSON.
_MORE = ("first_name", "last_name", "state", "left_at", "left_reason", "left_scope", "attributes")
MEANINGS = (*COLUMNS, *_MORE)
_SYNONYMS = {"email_address": "email", "e_mail": "email", "e_mail_address": "email", "mail": "email"}
#: Written by us in front of rejected rows; their other columns are those of the file they came from.
_OF_REJECTS = ("row", "reason")


class Origin(StrEnum):
    """Which program wrote a file, by its columns."""

    #: Anybody's.
    ANY = "any"
    #: `newsletter subscribers export`
    OWN = "own"
    #: listmonk: uuid, email, name, attributes, status, created_at, updated_at (cmd/subscribers.go of listmonk 6)
    LISTMONK = "listmonk"
    #: Mailchimp: Email Address, merge fields, MEMBER_RATING, OPTIN_TIME … EUID, NOTES, TAGS; in the file of those who
    #: left UNSUB_TIME …, in the file of those who bounced CLEAN_TIME …
    MAILCHIMP = "mailchimp"


#: By origin: columns that mean one of ours (None: nothing that is worth keeping).
_OF_ORIGIN: Mapping[Origin, Mapping[str, str | None]] = {
    Origin.ANY: {},
    Origin.OWN: {"since": "left_at", "scope": "left_scope"},
    Origin.LISTMONK: {"uuid": None, "status": "state", "created_at": None, "updated_at": "left_at"},
    Origin.MAILCHIMP: {
        "confirm_time": "consent_at",
        "confirm_ip": "consent_ip",
        "unsub_time": "left_at",
        "unsub_reason": "left_reason",
        "clean_time": "left_at",
        **dict.fromkeys(("member_rating", "optin_time", "optin_ip", "latitude", "longitude", "gmtoff", "dstoff")),
        **dict.fromkeys(("last_changed", "leid", "euid")),
        **dict.fromkeys(("unsub_campaign_title", "unsub_campaign_id", "clean_campaign_title", "clean_campaign_id")),
    },
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a row what stands: positions from 0, by the meanings above; `attributes` are all others by name."""

    origin: Origin
    width: int
    at: Mapping[str, int]
    attributes: Sequence[tuple[int, str]] = ()
    #: What the file is a list of, where that is people who must not be mailed.
    all_left: SuppressionReason | None = None
    #: The header as it was written.
    header: Sequence[str] = field(default=(), repr=False)


def columns_of(header: Sequence[str], shown: str, line: int, mapped: Mapping[str, str]) -> Columns:
    """The meaning of each column. `mapped` overrides it: column of the file → one of ours, an attribute, or nothing.

    Raises AudienceError where there is no address, a meaning occurs twice, or `mapped` names no column of the file.
    """
    place = Place(shown, line)
    names = [normal_name(name) for name in header]
    wanted = {normal_name(name): normal_name(meaning) for name, meaning in mapped.items()}
    if strangers := [name for name in mapped if normal_name(name) not in names]:
        raise AudienceError(f"--map: no column {strangers[0]!r}; found {_found(header)}", place=place)
    origin = _origin(names)
    known = _OF_ORIGIN[origin]
    # a file with both has people's state, and the state they live in
    synonyms = _SYNONYMS | {"status": "state"}
    at: dict[str, int] = {}
    attributes: list[tuple[int, str]] = []
    taken: Counter[str] = Counter()
    ours = {*COLUMNS, *_MORE}
    rejected = tuple(names[:2]) == _OF_REJECTS
    for position, name in enumerate(names):
        if rejected and position < len(_OF_REJECTS):
            continue
        meaning = wanted[name] if name in wanted else known.get(name, synonyms.get(name, name))
        if meaning in ours and not (meaning == name == "state" and "status" in names):
            if meaning in at:
                one, other = (clean(header[place], 100) for place in (position, at[meaning]))
                hint = f'leave one of them out: --map "{one}=", or --map "{other}="'
                if name == names[at[meaning]]:  # --map would mean both
                    hint = f"columns {at[meaning] + 1} and {position + 1}: give one of them another name in the file"
                raise AudienceError(f"two columns for `{meaning}`; found {_found(header)}", place=place, hint=hint)
            at[meaning] = position
        elif meaning is not None and (name not in wanted or meaning):
            label = meaning or f"column_{position + 1}"
            taken[label] += 1
            attributes.append((position, label if taken[label] == 1 else f"{label}_{taken[label]}"))
    if "email" not in at:
        hint = "the first line must name the columns: email (required), " + ", ".join(COLUMNS[1:8])
        hint += "; or: --map COLUMN=email"
        if other := _no_csv(header):
            raise AudienceError(f"this is no CSV file: {other}", place=place, hint="Save it as CSV, in UTF-8.")
        raise AudienceError(f"no column `email`; found {_found(header)}", place=place, hint=hint)
    return Columns(origin, len(header), at, attributes, _all_left(origin, names), tuple(header))


def normal_name(name: str) -> str:
    """A column's name without what does not count in it: case, spaces and hyphens, control characters."""
    return re.sub(r"[\s-]+", "_", clean(name, 100).casefold())[:100]


def _found(header: Sequence[str]) -> str:
    return ", ".join(name for one in header[:20] if (name := clean(one, 100)))[:200] or "nothing"


def _no_csv(header: Sequence[str]) -> str:
    """What it is instead, as far as the first line shows; '' where it may be one."""
    line = "".join(header)
    if line.startswith("PK\3\4"):
        return "it looks like an Excel workbook, or another ZIP archive"
    nul = line.count("\0")
    if 0.4 * len(line) < nul < 0.9 * len(line):
        return "every other byte is NUL, as in UTF-16 without a byte order mark, or UTF-32"
    return "there are NUL bytes in its first line" if nul else ""


def _origin(names: Sequence[str]) -> Origin:
    there = set(names)
    if there >= {"uuid", "email", "name", "attributes", "status"}:
        return Origin.LISTMONK
    if "email_address" in there and there & {"member_rating", "leid", "euid", "confirm_time", "optin_time"}:
        return Origin.MAILCHIMP
    if there >= {"email", "list", "state", "since"}:
        return Origin.OWN
    return Origin.ANY


def _all_left(origin: Origin, names: Sequence[str]) -> SuppressionReason | None:
    """Mailchimp exports one file of those who are subscribed, one of those who left, one of those who bounced."""
    if origin is Origin.MAILCHIMP and "unsub_time" in names:
        return SuppressionReason.UNSUBSCRIBE
    if origin is Origin.MAILCHIMP and "clean_time" in names:
        return SuppressionReason.HARD_BOUNCE
    return None
