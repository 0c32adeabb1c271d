"""The size of the HTML against the limit at which Gmail clips a message."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.model import GMAIL_CLIPS_KB, KB, Examined, Level
from newsletter.rendering.model import Holed

WARN_KB = 90
FAIL_KB = 100


def html_bytes(html: Holed) -> int:
    """Bytes of the HTML in UTF-8 without what is filled in per recipient, which is some hundred bytes more."""
    return sum(len(static.encode("utf-8", "surrogatepass")) for static in html.static)


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
