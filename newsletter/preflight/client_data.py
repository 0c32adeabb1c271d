"""The can-I-email data: which mail client supports which feature of HTML and CSS; data/PROVENANCE.txt says whence."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources


class Support(StrEnum):
    """What a client makes of a feature; the values are the letters in the data."""

    #: It works.
    YES = "y"
    #: It works in part, or under conditions the feature's page names.
    PARTLY = "a"
    #: It does not work.
    NO = "n"
    #: Nobody has tested it.
    UNKNOWN = "u"


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature and the support of each client, by `family.platform`."""

    slug: str
    title: str
    tested: str
    support: Mapping[str, Support]

    @property
    def page(self) -> str:
        """Where the tests and notes can be read."""
        return f"https://www.caniemail.com/features/{self.slug}/"

    def in_family(self, clients: tuple[str, ...]) -> Support:
        """The support of a family: no if none of its clients has it, partly if they differ."""
        found = {self.support.get(client, Support.UNKNOWN) for client in clients} - {Support.UNKNOWN}
        if not found:
            return Support.UNKNOWN
        return found.pop() if len(found) == 1 else Support.PARTLY


@dataclass(frozen=True, slots=True)
class SupportData:
    """The features by slug, and the day the data is of (ISO 8601)."""

    updated: str
    features: Mapping[str, Feature]


#: The families a finding names: those most newsletters are read in. Outlook for Windows is the one with Word's engine.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "Gmail": ("gmail.desktop-webmail", "gmail.ios", "gmail.android", "gmail.mobile-webmail"),
    "Outlook for Windows": ("outlook.windows",),
    "Outlook.com": ("outlook.outlook-com",),
    "Apple Mail": ("apple-mail.macos", "apple-mail.ios"),
    "Yahoo and AOL": (
        "yahoo.desktop-webmail",
        "yahoo.ios",
        "yahoo.android",
        "aol.desktop-webmail",
        "aol.ios",
        "aol.android",
    ),
    "Samsung Email": ("samsung-email.android",),
}
#: Families that are named beside the others, and never give a finding of their own.
OTHER_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "Outlook apps": ("outlook.macos", "outlook.ios", "outlook.android"),
    "Thunderbird": ("thunderbird.macos",),
    "Proton Mail": ("protonmail.desktop-webmail", "protonmail.ios", "protonmail.android"),
    "GMX and WEB.DE": ("gmx.desktop-webmail", "web-de.desktop-webmail"),
}
OUTLOOK_WINDOWS = "Outlook for Windows"


@functools.cache
def support_data() -> SupportData:
    """The data shipped with the package, read once."""
    file = resources.files("newsletter.preflight").joinpath("data", "caniemail.json")
    raw = json.loads(file.read_text(encoding="utf-8"))
    letters = {one.value: one for one in Support}
    features = {
        one["slug"]: Feature(
            one["slug"],
            one["title"],
            one["tested"],
            dict(zip(raw["clients"], map(letters.__getitem__, one["support"]), strict=True)),
        )
        for one in raw["features"]
    }
    return SupportData(raw["updated"], features)
