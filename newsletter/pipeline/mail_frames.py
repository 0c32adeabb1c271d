"""A copy of a mail's HTML for a frame of the preview page, in one colour scheme whatever the viewer's system prefers.

For looking at only: what is sent is never changed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Scheme(StrEnum):
    """A colour scheme of `prefers-color-scheme` (Media Queries 5, section 12.5)."""

    #: As in mail clients in their light mode, and in those that know no other.
    LIGHT = "light"
    #: As in Apple Mail in its dark mode, which follows the mail's own dark rules.
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Device:
    """A window that a mail is looked at in; `width` is that of the mail, in CSS pixels."""

    name: str
    width: int


@dataclass(frozen=True, slots=True)
class MailFrame:
    """One view of the mail: a whole HTML document for `<iframe srcdoc>`."""

    device: Device
    scheme: Scheme
    srcdoc: str

    @property
    def title(self) -> str:
        """What the frame shows, for those who do not see it."""
        return f"The mail on a {self.device.name}, {self.device.width} pixels wide, in {self.scheme} mode"


DEVICES = (Device("desktop", 700), Device("phone", 375))

_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style\s*>)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"""<(?P<name>[a-z][a-z0-9]*)\b(?:[^<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
_QUERY = re.compile(r"\(\s*prefers-color-scheme\s*(?::\s*(?P<scheme>[a-z-]+)\s*)?\)", re.IGNORECASE)
_DECLARATION = re.compile(r"(?<![\w-])(color-scheme\s*:\s*)([^;{}!]*)", re.IGNORECASE)
_META = re.compile(r"""\bname\s*=\s*["']?color-scheme\b""", re.IGNORECASE)
_CONTENT = re.compile(r"""(\bcontent\s*=\s*)("[^"]*"|'[^']*')""", re.IGNORECASE)
_FRAGMENT = re.compile(r"""(\shref\s*=\s*["'])#""", re.IGNORECASE)
_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
_LOADED_IMAGE = re.compile(r"""<img\b[^>]*\ssrc\s*=\s*["']?https?:""", re.IGNORECASE)

# Links leave the frame, which may not load other pages. Its scroll bar must not take from the width.
_FOR_FRAMES = '<base target="_blank"><style>html { scrollbar-width: none }</style>'
# Media features that hold, and do not hold, in a frame of any size.
_ALWAYS, _NEVER = "(min-width: 0)", "(max-width: 0)"


def mail_frames(html: str) -> tuple[MailFrame, ...]:
    """The mail in each scheme, light first, on each device, the widest first."""
    documents = {scheme: framed(html, scheme) for scheme in Scheme}
    return tuple(MailFrame(device, scheme, documents[scheme]) for scheme in Scheme for device in DEVICES)


def framed(html: str, scheme: Scheme) -> str:
    """The document with its scheme settled, its links in new tabs, and links to its own anchors within the frame."""
    settled = _STYLE.sub(lambda style: f"{style[1]}{_settled_css(style[2], scheme)}{style[3]}", html)
    settled = _TAG.sub(lambda tag: _settled_tag(tag, scheme), settled)
    # a head first of all; in front of a doctype nothing may stand
    start = _HEAD.search(settled) or _DOCTYPE.match(settled)
    at = start.end() if start else 0
    return settled[:at] + _FOR_FRAMES + settled[at:]


def images_to_load(html: str) -> int:
    """How many images the mail fetches from the web; the frames do not."""
    return len(_LOADED_IMAGE.findall(html))


def _settled_css(css: str, scheme: Scheme) -> str:
    """Queries for a scheme become ones that always or never hold, and a choice of schemes the one that is shown."""
    queries = _QUERY.sub(lambda query: _ALWAYS if (query["scheme"] or scheme).lower() == scheme else _NEVER, css)
    return _DECLARATION.sub(lambda one: one[1] + _chosen(one[2], scheme), queries)


def _settled_tag(tag: re.Match[str], scheme: Scheme) -> str:
    name, text = tag["name"].lower(), tag[0]
    if name == "meta" and _META.search(text):
        return _CONTENT.sub(lambda one: f'{one[1]}"{_chosen(one[2][1:-1], scheme)}"', text)
    if name in {"source", "link", "style"}:
        return _QUERY.sub(lambda query: _ALWAYS if (query["scheme"] or scheme).lower() == scheme else _NEVER, text)
    if name in {"a", "area"} and _FRAGMENT.search(text):
        # In a srcdoc a bare fragment is resolved against the page around it (HTML, fallback base URL).
        text = _FRAGMENT.sub(r"\1about:srcdoc#", text)
        return f'{text[: len(name) + 1]} target="_self"{text[len(name) + 1 :]}'
    return text


def _chosen(schemes: str, scheme: Scheme) -> str:
    """The scheme, where the mail says it can do it; what it says otherwise, so that a light mail stays light."""
    return str(scheme) if scheme in schemes.lower().split() else schemes
