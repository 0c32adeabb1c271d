"""Preflight of the rendered mail: size, images, obligations, completeness, mail clients."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preflight_examples import (
    ADDRESS,
    MORNING,
    PUBLICATION,
    breach,
    clean,
    examined_of,
    findings_of,
    issue_of,
    page_of,
    rendered_of,
    text_of,
    with_image,
    with_line,
    with_markup,
    with_paragraph,
)

from newsletter.delivery.links import LinkMaker
from newsletter.issue.model import Paragraph
from newsletter.preflight import client_features
from newsletter.preflight.client_data import FAMILIES, OTHER_FAMILIES, Support, support_data
from newsletter.preflight.client_features import property_feature, uses_of
from newsletter.preflight.client_support import QUIET, UNAVOIDABLE
from newsletter.preflight.model import KB, Examined, Level
from newsletter.preflight.page import read_page
from newsletter.preflight.size import TEXT_BYTES, URL_BYTES, html_bytes
from newsletter.rendering.model import Hole, HoleContext, Holed

INFO, WARN, ERROR = Level


def of_size(size: int) -> Examined:
    """The morning's issue, its HTML blown up with two-byte characters to exactly `size` bytes."""
    short = size - html_bytes(with_markup("").rendered.html)
    examined = with_markup("é" * (short // 2) + "." * (short % 2))
    assert html_bytes(examined.rendered.html) == size
    return examined


def test_size_is_counted_in_bytes_and_the_limits_are_90_and_100_kb() -> None:
    clean("html-size", examined_of(), of_size(90 * KB - 1))
    breach("html-size", of_size(90 * KB), WARN, "90.0 KB, Gmail clips at 102")
    breach("html-size", of_size(100 * KB - 1), WARN, "100.0 KB")
    breach("html-size", of_size(100 * KB), ERROR, "100.0 KB")


def test_a_recipients_own_values_count_towards_the_size() -> None:
    contexts = (HoleContext.HTML_URL, HoleContext.HTML, HoleContext.HTML_URL)
    html = Holed(("<é>", "", "", "!"), tuple(Hole(f"value{at}", context) for at, context in enumerate(contexts)))
    assert html_bytes(html) == 5 + 2 * URL_BYTES + TEXT_BYTES


def test_the_usual_link_is_about_as_long_as_a_real_one() -> None:
    maker = LinkMaker("https://news.example.com", "daily-buzz", ["k" * 64])
    links = maker.links(1_234_567, "2026-01-07")
    assert URL_BYTES / 2 <= len(links.unsubscribe_url) <= URL_BYTES


def test_images_without_alternative_text() -> None:
    breach("image-alt", examined_of(with_image("https://example.com/b.png", alt=" ")), WARN, "b.png", line=91)
    breach("image-alt", with_markup('<img src="https://example.com/logo.png">'), ERROR, "logo.png")
    clean("image-alt", examined_of(with_image("https://example.com/b.png")), with_markup('<img src="x.png" alt="">'))


def test_images_wider_than_twice_the_column() -> None:
    breach("image-wide", examined_of(with_image("https://example.com/b.png", width=1201)), WARN, "1201 px", line=91)
    breach("image-wide", with_markup('<img src="https://example.com/l.png" alt="" width="1400px">'), WARN, "1400 px")
    clean(
        "image-wide",
        examined_of(with_image("https://example.com/b.png", width=1200)),
        examined_of(with_image("https://example.com/b.png")),
        with_markup('<img src="https://example.com/l.png" alt="" width="100%">'),
    )


def test_data_uris_in_images_and_styles_are_errors() -> None:
    breach("data-uri", examined_of(with_image("data:image/png;base64,iVBORw0KGgo=")), ERROR, line=91)
    breach("data-uri", with_markup('<img alt="" src=" DATA:image/gif;base64,R0lGODlh">'), ERROR, "src of <img>")
    breach(
        "data-uri",
        with_markup("<p style=\"background:url( 'data:image/png;base64,iV' )\">x</p>"),
        ERROR,
        "style of <p>",
    )
    breach("data-uri", with_markup("<style>.a{background:url(data:image/png;base64,iV)}</style>"), ERROR, "<style>")
    clean("data-uri", examined_of(with_line("A data: URI is an image in the text, such as data:image/png.")))


def test_a_mail_nobody_can_leave_is_an_error_in_either_part() -> None:
    full = rendered_of(issue_of())
    plain = dataclasses.replace(full, text=Holed(("No way out.",), ()))
    breach("unsubscribe-missing", dataclasses.replace(examined_of(), rendered=plain), ERROR, "text part")
    fixed = dataclasses.replace(full, html=Holed(('<a href="https://news.example.com/u">Unsubscribe</a>',), ()))
    breach("unsubscribe-missing", dataclasses.replace(examined_of(), rendered=fixed), ERROR, "HTML")
    clean("unsubscribe-missing", examined_of())


def test_the_postal_address_must_stand_in_both_parts() -> None:
    issue = issue_of()
    breach("postal-address-missing", examined_of(page=page_of(issue).replace(ADDRESS, "")), ERROR, "the HTML")
    breach("postal-address-missing", examined_of(text="Unsubscribe"), ERROR, "the text part")
    hidden = page_of(issue).replace(ADDRESS, f"<!-- {ADDRESS} -->")
    breach("postal-address-missing", examined_of(page=hidden), ERROR, "the HTML")
    none = examined_of(publication=dataclasses.replace(PUBLICATION, postal_address=" "))
    breach("postal-address-missing", none, ERROR, "`site.postal_address` is empty")
    clean("postal-address-missing", examined_of(page=page_of(issue).replace(ADDRESS, ADDRESS.replace(", ", "<br>\n"))))


def test_a_headline_the_html_lost_is_an_error_and_a_paragraph_a_warning() -> None:
    issue = issue_of()
    page = page_of(issue)
    breach(
        "html-incomplete",
        examined_of(page=page.replace("Tea Traders See Record Prices", "")),
        ERROR,
        "the headline",
        line=9,
    )
    breach(
        "html-incomplete", examined_of(page=re.sub("<p>The operator.*?</p>", "", page)), WARN, "The operator", line=7
    )
    breach(
        "html-incomplete",
        examined_of(page=page.partition("<h2>Top Business")[0]),
        ERROR,
        "and 1 more",
        "the paragraph",
        line=8,
    )
    clean("html-incomplete", examined_of(), examined_of(issue_of(MORNING + "In Case You Missed It...\n")))


def test_the_text_part_must_say_what_the_html_says() -> None:
    text = text_of(issue_of())
    breach(
        "text-incomplete", examined_of(text=text.replace("Tea Traders See Record Prices", "")), WARN, "headline", line=9
    )
    linked = issue_of(MORNING + "https://news.example/tea\n")
    lost = examined_of(linked, text=text_of(linked).replace("https://news.example/tea", ""))
    breach("text-incomplete", lost, WARN, "the link https://news.example/tea", line=11)
    clean("text-incomplete", examined_of(), examined_of(linked))


def test_a_wrapped_and_numbered_text_part_is_complete() -> None:
    text = (
        text_of(issue_of())
        .replace("harbour opened", "har-\nbour [1]\nopened")
        .replace("Harbour Bridge", "HARBOUR\n  BRIDGE")
    )
    clean("text-incomplete", examined_of(text=text.replace("har-\nbour", "harbour")))


def test_numbers_of_links_between_the_words_of_a_short_paragraph_are_not_its_words() -> None:
    issue = with_paragraph(Paragraph("The port says so.", "The <b>port</b> says so.", 91))
    text = text_of(issue)
    clean("text-incomplete", examined_of(issue, text=text.replace("The port says", "The port [1] says")))
    clean("text-incomplete", examined_of(issue, text=text.replace("The port says", "The po [12]rt\n[1234] says")))
    lost = examined_of(issue, text=text.replace("The port says", "The [1] says"))
    breach("text-incomplete", lost, WARN, "The port says so.", line=91)


def test_a_list_is_complete_though_html_draws_its_numbers_itself() -> None:
    items = Paragraph("1. green tea\n2. rice", "<ol><li>green tea</li><li>rice</li></ol>", 91, block=True)
    issue = with_paragraph(items)
    clean("html-incomplete", examined_of(issue))
    clean("text-incomplete", examined_of(issue))
    lost = page_of(issue).replace("<li>rice", "<li>")
    assert "Prices" in lost, "the letters of a lost word may stand inside another one"
    breach("html-incomplete", examined_of(issue, page=lost), WARN, "1. green tea", line=91)


def test_what_neither_part_says_is_the_htmls_finding_alone() -> None:
    issue = issue_of()
    missing = "Tea Traders See Record Prices"
    clean(
        "text-incomplete",
        examined_of(page=page_of(issue).replace(missing, ""), text=text_of(issue).replace(missing, "")),
    )


def test_template_marks_and_placeholders_left_over_are_errors() -> None:
    breach("hole-leftover", with_markup('<p title="{{ name }}">x</p>'), ERROR, 'HTML holds "{{"', 'HTML holds "}}"')
    breach("hole-leftover", with_markup("z0a1b2c3dh007z"), ERROR, "z0a1b2c3dh007z")
    breach(
        "hole-leftover", examined_of(text=text_of(issue_of()) + "\n{% endif %}"), ERROR, 'text part holds "{%"', '"%}"'
    )
    breach("hole-leftover", examined_of(subject="News for {{ name"), ERROR, 'subject holds "{{"')
    css = "<style>@media(max-width:480px){.a{color:red}}</style>"
    clean("hole-leftover", examined_of(), with_markup(css), with_markup("<p>{one} z0a1b2c3dh07z</p>"))


def test_a_mark_the_editor_typed_is_told_once_and_with_its_line() -> None:
    examined = examined_of(with_line("Good morning, {{ name }}."))
    clean("hole-leftover", examined)
    breach("placeholder-text", examined, ERROR, "{{ name }}", line=6)


def test_scripts_forms_and_handlers_are_errors() -> None:
    breach("active-content", with_markup("<script>1</script><form></form>"), ERROR, "<script>", "<form>")
    breach("active-content", with_markup('<p onclick="x()">y</p>'), ERROR, "onclick")
    breach("active-content", with_markup('<meta http-equiv="Refresh" content="0">'), ERROR, "<meta>")
    clean("active-content", examined_of(), with_markup("<p>A form of script</p>"))


def test_what_a_family_of_clients_lacks_is_one_warning_a_feature_with_the_families() -> None:
    flex = with_markup('<div style="display:flex">a</div><div style="display: FLEX">b</div>')
    breach("client-support", flex, WARN, "display:flex, used 2 times, is not supported by Outlook for Windows")
    svg = with_markup("<svg></svg>")
    breach("client-support", svg, WARN, "Gmail, Outlook for Windows, Outlook.com, Yahoo and AOL")
    assert "https://www.caniemail.com/features/html-svg/" in findings_of("client-support", svg)[0].hint
    clean("client-support", examined_of())


def test_the_data_says_of_what_day_it_is() -> None:
    [finding] = findings_of("client-support", with_markup("<video></video>"))
    assert f"data of {support_data().updated}" in finding.message
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", support_data().updated)


def test_what_stands_in_style_blocks_is_summed_up_in_one_line() -> None:
    css = "<style>@media (prefers-color-scheme: dark) { .a > b { display: flex; position: absolute } }</style>"
    breach("client-style-block", with_markup(css), INFO, "@media (prefers-color-scheme) (Gmail,")
    clean("client-support", with_markup(css))
    clean("client-style-block", with_markup("<style>.a { color: red }</style>"))


def test_ornaments_and_partial_support_are_one_line_each() -> None:
    ornate = with_markup('<p style="border-radius:4px;text-shadow:none;margin:0">x</p>')
    breach("client-quiet", ornate, INFO, "border-radius")
    breach("client-partly", ornate, INFO, "margin")
    clean("client-support", ornate)
    bare = examined_of(page="<p>Hello</p>")
    clean("client-quiet", bare)
    clean("client-partly", bare)


def test_what_outlook_never_sees_is_not_held_against_it() -> None:
    hidden = with_markup('<!--[if !mso]><!--><div style="display:flex">a</div><!--<![endif]-->')
    clean("client-support", hidden)
    open_again = '<!--[if !mso]><!--><i></i><!--<![endif]--><div style="display:flex">a</div>'
    breach("client-support", with_markup(open_again), WARN, "display:flex")
    clean("client-support", with_markup('<!--[if mso]><table style="display:flex"><tr><td><![endif]-->'))


def test_a_background_image_with_vml_beside_it_reaches_outlook() -> None:
    cell = '<div style="background-image:url(https://example.com/b.png)">x</div>'
    breach("client-support", with_markup(cell), WARN, "background-image")
    clean("client-support", with_markup("<!--[if mso]><v:rect><v:fill src='b.png' /><![endif]-->" + cell))


@pytest.mark.parametrize(
    ("markup", "slugs"),
    [
        ('<p style="margin-left:1rem!important">', {"css-margin", "css-unit-rem", "css-important", "html-p"}),
        ('<p style="font-family:system-ui,serif">', {"css-sytem-ui", "html-p"}),
        ('<p style="width:calc(100% - var(--gap))">', {"css-unit-calc", "css-unit-percent", "css-variables"}),
        ('<p style="border-top-left-radius:2px">', {"css-border-radius", "css-unit-px"}),
        ('<p style="-webkit-text-size-adjust:100%;mso-line-height-rule:exactly">', {"html-p"}),
        ('<p style="background:linear-gradient(red,oklch(1 0 0))">', {"css-linear-gradient", "css-modern-color"}),
        ('<a href="#x">', {"html-anchor-links"}),
        ('<a href="mailto:a@b.example">', {"html-mailto-links"}),
        ("<h4>", {"html-h1-h6"}),
        ("<figure>", {"html-semantics"}),
        ('<img srcset="a.png 2x" src="https://x.example/a.JPEG">', {"html-srcset", "image-jpg", "html-img"}),
        ('<input type="checkbox">', {"html-input-checkbox"}),
        ("<style>a:hover, b::after, [c] + d ~ e > * {gap:1px}</style>", {
            "css-pseudo-class-hover", "css-pseudo-element-after", "css-selector-attribute", "css-gap",
            "css-selector-adjacent-sibling", "css-selector-general-sibling", "css-selector-child",
            "css-selector-universal",
        }),
        ("<style>@supports (x:y) { @media (hover) { a { b { position:static } } } }</style>", {
            "css-at-supports", "css-at-media", "css-at-media-hover", "css-position",
        }),
        ("<style>@font-face { font-family: x } @import 'x.css';</style>", {"css-at-font-face", "css-at-import"}),
    ],
)  # fmt: skip
def test_features_are_recognised_by_their_names_in_the_data(markup: str, slugs: set[str]) -> None:
    known = frozenset(support_data().features)
    uses = uses_of(read_page(Holed((markup,), ())), known)
    found = uses.plain.keys() | uses.progressive.keys()
    assert slugs <= found
    assert found <= known


def test_every_feature_named_in_the_code_is_in_the_data() -> None:
    """A renewed file of data may rename features; the code would then look for ones that are not there."""
    known = support_data().features.keys()
    tables = [
        client_features._ELEMENTS,
        client_features._ATTRIBUTES,
        client_features._FUNCTIONS,
        client_features._KEYWORDS,
    ]
    tables += [client_features._DISPLAY, client_features._COMBINATORS]
    named = {slug for table in tables for slug in table.values()} | QUIET | UNAVOIDABLE
    named |= {slug for _, slug in client_features._PROPERTIES if "\\" not in slug}
    assert named - known == set()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("margin-inline", "css-margin-inline-block"),
        ("padding-block-end", "css-padding-block-start-end"),
        ("border-block-start-color", "css-border-inline-block-individual"),
        ("list-style-type", "css-list-style-type"),
        ("transition-duration", "css-transition"),
        ("font-family", ""),
        ("mso-padding-alt", ""),
        ("-webkit-user-select", ""),
    ],
)
def test_longhands_count_as_the_feature_they_belong_to(name: str, slug: str) -> None:
    known = frozenset(support_data().features)
    found = property_feature(name, known)
    assert found == slug
    assert not found or found in known


def test_the_families_are_made_of_clients_the_data_has() -> None:
    every: Mapping[str, tuple[str, ...]] = {**FAMILIES, **OTHER_FAMILIES}
    clients = [client for of_family in every.values() for client in of_family]
    assert len(clients) == len(set(clients))
    for feature in support_data().features.values():
        assert feature.support.keys() >= set(clients)
    variables = support_data().features["css-variables"]
    assert variables.in_family(FAMILIES["Gmail"]) is Support.NO
    assert variables.in_family(FAMILIES["Apple Mail"]) is Support.YES
    assert support_data().features["html-anchor-links"].in_family(FAMILIES["Gmail"]) is Support.PARTLY


def test_the_data_carries_its_licence_and_where_it_is_from() -> None:
    data = resources.files("newsletter.preflight").joinpath("data")
    assert "MIT License" in data.joinpath("LICENSE-caniemail.txt").read_text(encoding="utf-8")
    provenance = data.joinpath("PROVENANCE.txt").read_text(encoding="utf-8")
    assert support_data().updated in provenance


@given(st.text(alphabet="<>/!-[]=\"' abcstylep{}:;&#x0\n", max_size=120))
def test_any_markup_can_be_read_and_surveyed(markup: str) -> None:
    page = read_page(Holed((markup,), ()))
    uses = uses_of(page, frozenset(support_data().features))
    assert all(count > 0 for count in uses.plain.values())
