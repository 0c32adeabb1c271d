"""The feed of a newsletter's issues (Atom, RFC 4287)."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from newsletter.delivery.archive import PublishedIssue

#: Its media type (RFC 4287, section 7).
ATOM = "application/atom+xml; charset=utf-8"
_NAMESPACE = "http://www.w3.org/2005/Atom"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
#: What XML 1.0 has no way to write, not even escaped (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: A feed must say when it changed; one without issues never did.
_NEVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Feed:
    """Whose feed it is. `list_id` is what ids are made from: it stays when the site moves (RFC 2919)."""

    newsletter: str
    title: str
    list_id: str
    language: str
    subtitle: str
    archive_url: str


def atom_feed(feed: Feed, issues: Sequence[PublishedIssue]) -> str:
    """The document. An entry is a summary and a link: a mail's tables and styles are nothing for a feed reader."""
    root = ElementTree.Element("feed", {"xmlns": _NAMESPACE, _LANG: feed.language})
    _text(root, "id", _id(feed.list_id))
    _text(root, "title", feed.title)
    _text(root, "subtitle", feed.subtitle)
    _text(root, "updated", _when(max((_begun(one) for one in issues), default=_NEVER)))
    _text(ElementTree.SubElement(root, "author"), "name", feed.title)
    _link(root, "self", f"{feed.archive_url}/feed.atom", ATOM.partition(";")[0])
    _link(root, "alternate", feed.archive_url, "text/html")
    for issue in issues:
        entry = ElementTree.SubElement(root, "entry")
        _text(entry, "id", _id(f"{feed.list_id}/{issue.run.slot}"))
        _text(entry, "title", issue.title)
        _text(entry, "published", _when(_begun(issue)))
        _text(entry, "updated", _when(_begun(issue)))
        _link(entry, "alternate", f"{feed.archive_url}/{issue.run.slot}", "text/html")
        _text(entry, "summary", issue.preheader)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _id(of: str) -> str:
    """The same for the same thing, for ever: a UUID by its name (RFC 9562, section 5.5)."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"list-id:{of}").urn


def _begun(issue: PublishedIssue) -> dt.datetime:
    return issue.published_at or _NEVER


def _when(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = _NOT_XML.sub("", text)


def _link(parent: ElementTree.Element, relation: str, url: str, kind: str) -> None:
    ElementTree.SubElement(parent, "link", {"rel": relation, "type": kind, "href": url})
