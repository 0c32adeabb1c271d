"""What the law and the mailbox providers require of every mail."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import folded
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.page import read_page, with_samples


@check(
    "unsubscribe-missing",
    Level.ERROR,
    means="The HTML or the text part has no unsubscribe link, which the law and Gmail and Yahoo demand.",
    do="Put the unsubscribe hole back into the template's footer, in HTML and in text.",
)
def unsubscribe_missing(examined: Examined) -> Iterator[Found]:
    """A hole for the recipient's own unsubscribe address must be there; a fixed link would unsubscribe nobody."""
    for part, holed in (("HTML", examined.rendered.public_html), ("text part", examined.rendered.text)):
        if "unsubscribe_url" not in holed.names():
            yield Found(f"the {part} has no unsubscribe link")


@check(
    "postal-address-missing",
    Level.ERROR,
    means="The HTML or the text part does not give the sender's postal address (CAN-SPAM, 15 U.S.C. 7704(a)(5)).",
    do="Set `site.postal_address` and keep it in the template's footer, in HTML and in text.",
)
def postal_address_missing(examined: Examined) -> Iterator[Found]:
    """Compared without punctuation and line breaks; a footer may set it in several lines."""
    address = folded(examined.publication.postal_address)
    if not address:
        yield Found("`site.postal_address` is empty")
        return
    texts = {"HTML": read_page(examined.rendered.public_html).text, "text part": with_samples(examined.rendered.text)}
    for part, text in texts.items():
        if address not in folded(text):
            yield Found(f"the {part} does not give the postal address")


@check(
    "base-url-insecure",
    Level.WARN,
    means="`site.base_url` is not https; one-click unsubscribe links must be (RFC 8058, section 3.1).",
    do="Set `site.base_url` to the https address of the public site before a live send.",
)
def base_url_insecure(examined: Examined) -> Iterator[Found]:
    """A warning even for this machine's own address, which is right for a dry run and wrong in a mail."""
    url = examined.publication.base_url
    if urlsplit(url).scheme.lower() != "https":
        yield Found(f"the links of the mail begin with {url}, which is not https")
