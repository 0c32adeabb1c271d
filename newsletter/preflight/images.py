"""Images: what a reader gets who does not see them, and what a client will not show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import shortened
from newsletter.preflight.issue_texts import issue_images
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.page import read_page

#: Twice the width of the mail's column (600 px): more is bytes nobody sees, even on a dense screen.
IMAGE_PIXELS = 1200

_DATA_URI_IN_CSS = re.compile(r"url\(\s*['\"]?\s*data:", re.IGNORECASE)


@check(
    "image-alt",
    Level.ERROR,
    Level.WARN,
    means="An image has no alternative text; many clients do not load images, and some readers cannot see them.",
    do='Say in its alt text what the image shows; in a template give a mere ornament alt="".',
)
def image_alt(examined: Examined) -> Iterator[Found]:
    """No `alt` at all is an error: screen readers then read the file's name. Only ornaments may have an empty one."""
    known = set()
    for image in issue_images(examined.issue):
        known.add(image.url)
        if not image.alt.strip():
            yield Found(f"the image {shortened(image.url)} has no alternative text", image.line, Level.WARN)
    for element in read_page(examined.rendered.public_html).all("img"):
        src = element.get("src") or ""
        if element.get("alt") is None:
            yield Found(f"the HTML has an image without alt: {shortened(src)}")


@check(
    "image-wide",
    Level.WARN,
    means=f"An image is set wider than {IMAGE_PIXELS} px, twice the width of the mail.",
    do=f"Scale it to at most {IMAGE_PIXELS} px.",
)
def image_wide(examined: Examined) -> Iterator[Found]:
    """The width an editor or a template gave; the file itself is not fetched."""
    known = set()
    for image in issue_images(examined.issue):
        known.add(image.url)
        if image.width is not None and image.width > IMAGE_PIXELS:
            yield Found(f"the image {shortened(image.url)} is {image.width} px wide", image.line)
    for element in read_page(examined.rendered.public_html).all("img"):
        src, width = element.get("src") or "", element.get("width") or ""
        digits = re.match(r"\s*(\d+)\s*(?:px)?\s*$", width)
        if src not in known and digits and int(digits.group(1)) > IMAGE_PIXELS:
            yield Found(f"the template's image {shortened(src)} is {digits.group(1)} px wide")


@check(
    "data-uri",
    Level.ERROR,
    means="An image is written into the HTML as a data: URI, which Gmail does not show and which fills the size limit.",
    do="Put the image on a web server and link to it by https.",
)
def data_uri(examined: Examined) -> Iterator[Found]:
    """In `src`, `srcset`, `background`, and `url()` of styles."""
    for image in issue_images(examined.issue):
        if image.url.lower().startswith("data:"):
            yield Found(f"the image {shortened(image.url, 30)} is a data: URI", image.line)
    known = {image.url for image in issue_images(examined.issue)}
    page = read_page(examined.rendered.public_html)
    for element in page.elements:
        for name, value in element.attributes:
            in_source = name in {"src", "srcset", "background", "poster"} and value.lstrip().lower().startswith("data:")
            if (in_source and value not in known) or (name == "style" and _DATA_URI_IN_CSS.search(value)):
                yield Found(f"the HTML has a data: URI in {name} of <{element.tag}>")
    if any(_DATA_URI_IN_CSS.search(style) for style in page.styles):
        yield Found("the HTML has a data: URI in <style>")
