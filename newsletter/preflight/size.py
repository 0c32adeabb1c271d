"""The size of the HTML against the limit at which Gmail clips a message."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.model import GMAIL_CLIPS_KB, KB, Examined, Level
from newsletter.rendering.model import HoleContext, Holed

WARN_KB = 90
FAIL_KB = 100
#: Usual bytes of a recipient's own link: the site (25 to 50), purpose and newsletter (25), and a signed token (66).
URL_BYTES = 160
#: Usual bytes of a recipient's text: a name, or an address.
TEXT_BYTES = 24
#: Bytes of a signed token, which stands in each counted link where tracking is per person.
TOKEN_BYTES = 32
#: Bytes of the image of opens: its tag around a link.
IMAGE_BYTES = 70 + URL_BYTES
_USUAL = {
    HoleContext.HTML: TEXT_BYTES,
    HoleContext.HTML_URL: URL_BYTES,
    HoleContext.TEXT: TEXT_BYTES,
    HoleContext.TEXT_URL: URL_BYTES,
    HoleContext.URL_PART: TOKEN_BYTES,
    HoleContext.IMAGE: IMAGE_BYTES,
}


def html_bytes(html: Holed) -> int:
    """Bytes of the HTML in UTF-8 as a recipient gets it, for that is what Gmail clips; a hole counts as usual length.

    One figure for everybody, so that it is the same before anyone is chosen.
    """
    static = sum(len(text.encode("utf-8", "surrogatepass")) for text in html.static)
    return static + sum(_USUAL[hole.context] for hole in html.holes)


@check(
    "html-size",
    Level.ERROR,
    Level.WARN,
    means=f"The HTML comes near the {GMAIL_CLIPS_KB} KB at which Gmail clips a message, unsubscribe link and all.",
    do="Take stories out or shorten them; a leaner template helps too.",
)
def html_size(examined: Examined) -> Iterator[Found]:
    """A warning at 90 KB, an error at 100 KB; 1 KB is 1,024 bytes."""
    size = html_bytes(examined.rendered.html)
    if size >= WARN_KB * KB:
        yield Found(
            f"the HTML has {size / KB:.1f} KB, Gmail clips at {GMAIL_CLIPS_KB}",
            level=Level.ERROR if size >= FAIL_KB * KB else Level.WARN,
        )
