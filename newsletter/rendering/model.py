"""What rendering makes: a rendered issue with holes where a recipient's values go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: One combination of the subscriber fields a template branches on, sorted by field: `(("tier", "gold"),)`.
Variant = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """What a template may know about the newsletter itself; no value of any subscriber."""

    name: str
    title: str
    site_name: str
    base_url: str
    language: str
    postal_address: str
    sender: str
    sections: tuple[str, ...] = ()
    #: Whether its issues can be read on the web: without it `holes.view_url` leads to a page that says there is none.
    has_archive: bool = True


class HoleContext(StrEnum):
    """Where a hole stands, which decides how its value is escaped. The value is the letter in its placeholder."""

    #: Text or a quoted attribute value in HTML.
    HTML = "h"
    #: A URL in a quoted attribute in HTML.
    HTML_URL = "u"
    #: Plain text.
    TEXT = "t"
    #: A URL in plain text.
    TEXT_URL = "l"
    #: A part of a URL's path in HTML: letters, digits, `-` and `_`, or nothing.
    URL_PART = "k"
    #: An image of one pixel in HTML, by the URL that is the value; nothing where the value is empty.
    IMAGE = "i"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What a mail measures, and what its links carry; nothing, unless said. `utm` are pairs of name and value."""

    clicks: bool = False
    opens: bool = False
    per_person: bool = False
    utm: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Hole:
    """A place that is filled per recipient with the value called `name`."""

    name: str
    context: HoleContext


@dataclass(frozen=True, slots=True)
class Holed:
    """Text with holes: `static[0] hole[0] static[1] hole[1] … static[n]`, so len(static) == len(holes) + 1."""

    static: tuple[str, ...]
    holes: tuple[Hole, ...]

    @property
    def template(self) -> str:
        """The text with each hole as `{name}`; for looking at, not for filling."""
        parts = [self.static[0]]
        for hole, static in zip(self.holes, self.static[1:], strict=True):
            parts += ["{", hole.name, "}", static]
        return "".join(parts)

    def names(self) -> frozenset[str]:
        """The names of the values that filling needs."""
        return frozenset(hole.name for hole in self.holes)


@dataclass(frozen=True, slots=True)
class RenderedIssue:
    """One issue, rendered once for one variant. `content_hash` is the SHA-256, in hex, of all that subscribers see.

    `html` is what is sent. Where clicks are counted, `links` are the targets of its links by number, from 1 on, the
    same for all variants; `direct` has links that lead straight to them, and `public` is without all tracking,
    parameters of links included. None: the same as `html`.
    """

    subject: str
    preheader: str
    html: Holed
    text: Holed
    content_hash: str
    variant: Variant = ()
    links: tuple[str, ...] = ()
    direct: Holed | None = None
    public: Holed | None = None

    @property
    def direct_html(self) -> Holed:
        """The HTML for tests and for looking at: nothing in it counts."""
        return self.direct or self.html

    @property
    def public_html(self) -> Holed:
        """The HTML as the editor and the template made it: for the archive, and for checks of its links."""
        return self.public or self.html


#: Values for holes, by hole name; raw, escaped only when filled.
HoleValues = Mapping[str, str]
