"""CSS moves into style attributes, and nothing else changes: each way premailer has of breaking a mail, held off."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cssutils
import lxml.html
import premailer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import TemplateError
from newsletter.rendering.css_lint import (
    PLAIN_DECLARATION,
    PLAIN_SELECTOR,
    CssFault,
    check_head_css,
    check_inline_css,
    check_style_attributes,
)
from newsletter.rendering.inlining import (
    INLINERS,
    PREMAILER_OPTIONS,
    DamagedHtml,
    css_inline_inliner,
    inline_css,
    premailer_inliner,
)
from newsletter.rendering.mjml import mjml_to_html
from newsletter.rendering.mjml_lint import lint

HOLE = "z12345678u000z"
PAGE = """\
<!DOCTYPE html><html lang="en"><head><title>t</title><style type="text/css">p { margin: 13px 0; }</style>\
<style media="screen and (min-width:480px)">.w { width: 100% !important; }</style>\
<!--[if lte mso 11]><style type="text/css">.x { width:100% !important; }</style><![endif]-->\
</head><body>{}</body></html>"""
INLINER_NAMES = sorted(INLINERS)


def holes(html: str) -> Counter[str]:
    return Counter(re.findall(r"z12345678[hu][0-9]{3}z", html))


def inlined(body: str, css: str = "", head_css: str = "", inliner: str = "premailer", page: str = PAGE) -> str:
    html = page.replace("{}", body)
    return inline_css(html, css=css, head_css=head_css, inliner=INLINERS[inliner], holes=holes)


def style_of(html: str) -> str:
    """The style attribute of the first paragraph."""
    return str(lxml.html.document_fromstring(html).xpath("//p")[0].get("style"))


def with_options(**options: Any) -> Callable[[str, str], str]:
    """premailer with its own defaults but for `options`."""
    return lambda html, css: str(premailer.Premailer(html, css_text=[css], **options).transform(pretty_print=False))


def without(option: str) -> Callable[[str, str], str]:
    """premailer with our options but one, which is as premailer has it."""
    return with_options(**{name: value for name, value in PREMAILER_OPTIONS.items() if name != option})


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_css_moves_into_the_elements(inliner: str) -> None:
    html = inlined('<p class="a">x</p><p>y</p>', "p { color: #345678 } p.a { color: #56789a; }", inliner=inliner)
    assert re.search(r'<p class="a" style="color: ?#56789a;?">x</p><p style="color: ?#345678;?">y</p>', html)
    assert "#345678" not in html[: html.index("<body")], "what is inlined does not stay"


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_style_attributes_win_over_rules(inliner: str) -> None:
    html = inlined('<p style="color: #123456">x</p>', "p { color: #345678; margin: 0 }", inliner=inliner)
    assert re.search(r"color: ?#123456", html)
    assert "#345678" not in html


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_the_page_stays_in_standards_mode(inliner: str) -> None:
    assert inlined("x", inliner=inliner).startswith("<!DOCTYPE html>")
    html = PAGE.replace("{}", "x").replace("<!DOCTYPE html>", "<!doctype html>")
    lost = "does not begin with its doctype"
    if inliner == "premailer":
        with pytest.raises(DamagedHtml, match=lost):
            inline_css(html, css="", head_css="", inliner=INLINERS[inliner], holes=holes)


HEAD_CSS = """\
@import url("https://example.com/x.css");
@font-face { font-family: X; src: url(x.woff2); }
:root { color-scheme: light dark; --ink: #111; }
u + .body .x { color: red; }
a:hover, p:is(.a, .b)::first-letter { color: rgb(1 2 3 / 50%); }
@media (prefers-color-scheme: dark) { .k div > p { color: #eeeeee !important; } }
@media (max-width: 480px) { .x { display: block !important; } }
@supports (display: grid) { .x { display: grid; } }
[data-ogsc] .k div { color: #12345678 !important; }
.é::after { content: "<b>&amp; \\201c"; }"""


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_head_css_arrives_byte_for_byte(inliner: str) -> None:
    """premailer drops half of these without a word, and strips `!important` inside `@media`."""
    html = inlined('<p class="k x">x</p>', "p { color: #345678 }", HEAD_CSS, inliner)
    assert f'<style type="text/css">\n{HEAD_CSS}\n</style></head>' in html
    assert "data-premailer" not in html


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_style_blocks_of_mjml_stay_as_they_are_and_unmarked(inliner: str) -> None:
    """Those with media= would keep a mark; those in comments are Outlook's."""
    html = inlined('<p class="w x">x</p>', inliner=inliner)
    assert '<style type="text/css">p { margin: 13px 0; }</style>' in html
    assert '<style media="screen and (min-width:480px)">.w { width: 100% !important; }</style>' in html
    assert '<!--[if lte mso 11]><style type="text/css">.x { width:100% !important; }</style><![endif]-->' in html
    assert '<p class="w x">x</p>' in html, "none of them is inlined: head.css could not override it"
    assert "data-premailer" not in html


@pytest.mark.parametrize("media", ["screen", "all", "print", "(min-width: 1px)", "ALL"])
@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_a_style_block_for_any_media_stays(media: str, inliner: str) -> None:
    """premailer takes `screen` and `all` for its own, and leaves the others."""
    block = f'<style media="{media}">p {{ color: red; }}</style>'
    html = inlined("<p>x</p>", page=PAGE.replace("</title>", f"</title>{block}"), inliner=inliner)
    assert block in html
    assert "<p>x</p>" in html


def test_the_end_of_the_head_inside_a_comment_is_none() -> None:
    html = inlined("x", head_css="p{}", page=PAGE.replace("</title>", "</title><!-- </head> -->"))
    assert html.count("p{}") == 1
    assert "p{}\n</style></head>" in html
    with pytest.raises(DamagedHtml, match="no end of its head"):
        inlined("x", page="<!DOCTYPE html><html><body>{}</body></html>")


OUTLOOK = (
    '<!--[if mso | IE]><table width="600"><tr><td style="width:600px;"><![endif]--><p>x</p>'
    '<!--[if mso]></td></tr></table><v:rect fill="t"><v:fill src="x" /></v:rect><![endif]-->'
    "<!--[if !mso]><!--><b>y</b><!--<![endif]-->"
)


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_outlooks_conditional_comments_stay(inliner: str) -> None:
    html = inlined(OUTLOOK, "p { margin: 0 } td { padding: 9px }", inliner=inliner)
    comments = re.findall(r"<!--.*?-->", OUTLOOK)
    assert [one for one in re.findall(r"<!--.*?-->", html) if one in comments] == comments
    assert "9px" not in html


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_widths_and_other_attributes_are_not_rewritten(inliner: str) -> None:
    """`width="100%"` makes Outlook for Windows draw an image in its full size."""
    css = "img { width: 100%; height: auto; } td { text-align: center; vertical-align: top; background-color: #fff; }"
    cell = '<td valign="middle" align="left" bgcolor="#000000"><img src="a.png" width="250" height="9"></td>'
    body = f"<table><tr>{cell}</tr></table>"
    html = inlined(body, css, inliner=inliner)
    assert re.search(r'<td valign="middle" align="left" bgcolor="#000000" style="', html)
    assert re.search(r'<img src="a.png" width="250" height="9" style="', html)


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_classes_and_ids_stay_for_media_queries_and_dark_mode(inliner: str) -> None:
    html = inlined('<p class="a b" id="c">x</p>', ".a { color: #345678 } .b { margin: 0 }", inliner=inliner)
    assert re.search(r'<p class="a b" id="c" style="', html)


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_links_and_holes_in_them_stay_as_they_are(inliner: str) -> None:
    links = f'<a href="{HOLE}">x</a><a href="#s1">y</a><a href="mailto:a@b.c?subject=d%20e">m</a>'
    body = f'{links}<img src="/i.png" alt="{HOLE}">{HOLE}'
    html = inlined(body, "a { color: #345678 }", inliner=inliner)
    assert re.findall(r'(?:href|src)="([^"]*)"', html) == [HOLE, "#s1", "mailto:a@b.c?subject=d%20e", "/i.png"]
    assert holes(html) == {HOLE: 3}


@pytest.mark.parametrize("inliner", INLINER_NAMES)
@pytest.mark.parametrize("begins", ["&lt;", "&LT;", "&#60;", "&#x3C;"])
def test_a_comment_that_is_written_about_ends_no_attribute(begins: str, inliner: str) -> None:
    html = inlined(
        f'<p title="{begins}!--&amp;nbsp;&quot; onclick=&quot;x--&gt;">nocomment</p>',
        "p { font-family: nocomment }",
        inliner=inliner,
    )
    [paragraph] = lxml.html.document_fromstring(html).xpath("//p")
    assert dict(paragraph.attrib) == {
        "title": '<!--&nbsp;" onclick="x-->',
        "style": paragraph.get("style"),
    }
    assert (paragraph.text, "nocomment" in paragraph.get("style")) == ("nocomment", True)


@pytest.mark.parametrize("inliner", INLINER_NAMES)
def test_text_stays_as_it_is(inliner: str) -> None:
    body = "<p>a <b>b</b>\n<i>c</i> d</p><div><p>e</p><p>f</p></div><pre>x\n  y</pre>é “ü” 日本 😀 &amp; &lt;"
    html = inlined(body, "p { margin: 0 }", inliner=inliner)
    text = re.sub(r"<[^>]*>", "|", html[html.index("<body") :])
    assert text.strip("|\n") == re.sub(r"<[^>]*>", "|", body)[1:], "no white space comes in or goes"


def test_each_option_of_premailer_is_needed() -> None:
    """A golden test that passed without an option would be none."""
    body = '<p class="k">x</p><img src="a.png" width="250"><img src="b.png" style="float: left">'
    css = "p { color: #345678 } img { width: 100% }"
    right = premailer_inliner(PAGE.replace("{}", body), css)
    wrong = without("disable_basic_attributes")(PAGE.replace("{}", body), css)
    assert 'width="250"' in right
    assert 'width="250"' not in wrong
    wrong = without("align_floating_images")(PAGE.replace("{}", body), css)
    assert 'align="left"' in wrong
    assert 'align="left"' not in right
    page = PAGE.replace("{}", body).replace("p { margin: 13px 0; }", "@media (x) { p { color: red !important } }")
    assert "red !important" in premailer_inliner(page, css)
    assert "red !important" not in without("strip_important")(page, css)
    assert "preserve_handlebar_syntax" not in PREMAILER_OPTIONS
    assert "base_url" not in PREMAILER_OPTIONS
    assert "remove_classes" not in PREMAILER_OPTIONS


def test_premailers_defaults_would_not_pass_here() -> None:
    """The mutation check: with its defaults dark mode, media queries and widths are gone."""
    html = PAGE.replace("{}", '<p class="k">x</p><img src="a.png" width="250">')
    framed = html.replace("</head>", f"<style>{HEAD_CSS}</style></head>")
    broken = with_options()(framed, "img { width: 100% }")
    assert "[data-ogsc]" not in broken
    assert "@supports" not in broken
    assert 'width="250"' not in broken
    assert not re.search(r"@media[^}]*!important", broken)


# CSS that would be lost

LOST = [
    "color: #12345678",
    "color: rgb(1 2 3 / 50%)",
    "color: hsl(120deg 100% 50%)",
    "--x: {a: b}",
    "filter: progid:DXImageTransform.Microsoft.gradient(startColorstr='#80000000')",
    "color:",
    "color red",
    "*zoom: 1",
]
KEPT = [
    "color: var(--ink)",
    "color: var(--ink, #345678)",
    "margin: calc(1px + 2px)",
    "display: flex",
    "width: min(100%, 600px)",
    "background: url(a@b:c.png)",
    "font-family: -apple-system, Segoe UI, 'x, y'",
    "mso-line-height-rule: exactly",
    "text-decoration-thickness: 1px",
    "font-weight: 550",
]


@pytest.mark.parametrize("declaration", LOST)
def test_a_declaration_that_would_be_dropped_fails_the_build_every_time_and_in_every_thread(declaration: str) -> None:
    """cssutils drops these with a log line; premailer's caches would swallow even that the second time."""

    def fails(number: int) -> bool:
        in_rule = number % 2
        body, css = (
            ("<p>x</p>", f"p {{ {declaration} }}")
            if in_rule
            else (f'<p style="{declaration}">x</p>', "p { margin: 0 }")
        )
        try:
            inlined(body, css)
        except CssFault:
            return True
        return False

    assert [fails(number) for number in range(4)] == [True] * 4
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fails, range(40))) == [True] * 40


@pytest.mark.parametrize("declaration", KEPT)
def test_a_declaration_that_passes_arrives(declaration: str) -> None:
    """Among them var(), which cssutils calls an error and yet lets through."""
    name, value = (part.strip() for part in declaration.split(":", 1))
    for _ in range(2):
        wanted = f"{name}:{value}".replace(" ", "").replace("'", '"')
        assert style_of(inlined("<p>x</p>", f"p {{ {declaration} }}")).replace(" ", "") == wanted
        kept = style_of(inlined(f'<p style="{declaration}">x</p>', "p { orphans: 2 }"))
        assert kept.replace(" ", "") == f"orphans:2;{wanted}"


def test_many_threads_may_render_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """cssutils is not safe in threads: whoever calls it, or premailer, waits for the others."""
    inside: list[int] = []
    seen: list[int] = []
    real = cssutils.parseString

    def watched(*args: Any, **kwargs: Any) -> Any:
        inside.append(1)
        seen.append(len(inside))
        time.sleep(0.0005)
        try:
            return real(*args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(cssutils, "parseString", watched)
    # a capital letter is not plain: the lint asks cssutils, too
    sheets = [f"p {{ color: #{number:06x}; margin: {number}px }} .A {{ padding: {number}px }}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda css: inlined('<p class="A">x</p>', css), sheets))
    assert len(seen) > 40, "premailer and the lint both parse"
    assert set(seen) == {1}
    assert pages == [inlined('<p class="A">x</p>', css) for css in sheets]


def test_nothing_is_logged_on_the_terminal() -> None:
    """cssutils has a handler of its own that writes to stderr."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_inlining import CssFault, inlined
inlined('<p style="display: flex; color: var(--x)">x</p>', "p {{ font-weight: 550 }}")
try:
    inlined("<p>x</p>", "p {{ color: #12345678 }}")
except CssFault:
    print("fault")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("fault\n", "")


@pytest.mark.parametrize(
    "css",
    [
        "a:hover { color: red }",
        "p::first-letter { color: red }",
        ":is(p) { color: red }",
        "p:first-child { color: red }",
        "* { margin: 0 }",
        ".a * { margin: 0 }",
        "a[href] { color: red }",
        "[data-ogsc] p { color: red }",
        "u + .x { color: red }",
        "p, u ~ .x { color: red }",
        "@media (x) { p { color: red } }",
        "@import 'x.css';",
        "@font-face { font-family: x }",
        "@supports (x: y) { p { color: red } }",
        "@charset 'utf-8';",
        "p { color: red !important }",
        "p { color: red; background: blue; color: green }",
        "p { a { color: red } }",
        "p, { color: red }",
        "p..x { color: red }",
        "p > { color: red }",
        "1p { color: red }",
        r".a\:b { color: red }",
        "p { color: red",
        "p { color: red } }",
        "p",
    ],
)
def test_css_that_premailer_drops_or_misapplies_fails_the_build(css: str) -> None:
    with pytest.raises(CssFault) as fault:
        check_inline_css(f"\n/* é @x {'{'} :y */ {css}")
    assert (fault.value.sheet, fault.value.line) == ("inline.css", 2)
    assert fault.value.hint


@pytest.mark.parametrize(
    "css",
    [
        "",
        "/* only :words @here */",
        "p {}",
        ".a.b > #c + d ~ e, f g { margin: 0; }",
        "p { background: url(a@b.png);; }",
        "é { margin: 0 }",
    ],
)
def test_css_that_can_be_inlined_passes(css: str) -> None:
    check_inline_css(css)


def test_style_attributes_are_looked_at_where_they_are_attributes() -> None:
    check_style_attributes('<p title="a > b" style="">style="color: #12345678"</p>')
    check_style_attributes('<!--[if mso]><td style="color: #12345678"><![endif]-->')
    check_style_attributes('<p data-style="color: #12345678">x</p>')
    for tag in (
        '<p title="a > b" style="color: #12345678">',
        "<p class='x' style='color: #12345678'/>",
        '<p style=\n"color:#12345678" x="y">',
    ):
        with pytest.raises(CssFault, match="the inliner would drop 'color: #12345678'") as fault:
            check_style_attributes(tag)
        assert (fault.value.sheet, fault.value.text) == ("", "#12345678")


def test_all_that_mjml_writes_into_style_attributes_survives() -> None:
    """Otherwise a template could not use the element: its author did not write that CSS."""
    check_style_attributes(
        mjml_to_html(
            lint(
                """<mjml><mj-body background-color="#eee"><mj-wrapper><mj-section background-url="https://e.org/a.png"
                background-size="cover" background-position="top center" full-width="full-width"><mj-column width="50%"
                border-radius="4px"><mj-text>x</mj-text><mj-button href="#">x</mj-button><mj-image src="a.png"
                fluid-on-mobile="true"/><mj-divider/><mj-spacer/><mj-table><tr><td>x</td></tr></mj-table><mj-social>
                <mj-social-element name="facebook">x</mj-social-element></mj-social><mj-navbar hamburger="hamburger">
                <mj-navbar-link href="#">x</mj-navbar-link></mj-navbar><mj-accordion><mj-accordion-element>
                <mj-accordion-title>x</mj-accordion-title><mj-accordion-text>y</mj-accordion-text>
                </mj-accordion-element></mj-accordion>
                <mj-carousel><mj-carousel-image src="a.png"/><mj-carousel-image src="b.png"/></mj-carousel>
                </mj-column><mj-group><mj-column/></mj-group></mj-section></mj-wrapper><mj-hero background-url="a.png">
                <mj-text>x</mj-text></mj-hero></mj-body></mjml>"""
            )
        )
    )


DECLARATIONS = st.sampled_from([*LOST, *KEPT, "margin: 0", "COLOR: RED", "padding: 1px 2px", "x: y; z", "a: b}"])


@settings(max_examples=60)
@given(st.lists(DECLARATIONS, min_size=1, max_size=3))
def test_what_is_not_refused_is_not_dropped(declarations: list[str]) -> None:
    """Whatever stands together in a rule: each property arrives, or the build fails."""
    css = f"p {{ {'; '.join(declarations)} }}"
    try:
        check_inline_css(css)
    except CssFault:
        return
    style = style_of(inlined("<p>x</p>", css))
    names = [declaration.split(":")[0].strip().lower() for declaration in declarations]
    assert [part.split(":")[0].strip().lower() for part in style.split(";")] == names


TERMS = [
    "0",
    "-1.5em",
    "12px",
    "33.3%",
    "#fff",
    "#5B6270",
    "bold",
    "-apple-system",
    "'Segoe UI'",
    "e",
    "U",
    "and",
    "url",
]
COMPOUNDS = ["p", "h1", "div.a", ".b-2", "td.c.d"]


@given(
    st.sampled_from(["margin", "font-family", "float", "x-y", "e"]),
    st.lists(st.sampled_from(TERMS), min_size=1, max_size=5),
    st.data(),
)
def test_cssutils_keeps_every_declaration_that_it_is_not_asked_about(name: str, terms: list[str], data: Any) -> None:
    text = f"{name}: {terms[0]}"
    for term in terms[1:]:
        text += data.draw(st.sampled_from([" ", ",", ", "])) + term
    assert PLAIN_DECLARATION.fullmatch(text)
    assert len(cssutils.parseStyle(text, validate=False).getProperties()) == 1


@given(st.lists(st.sampled_from(COMPOUNDS), min_size=1, max_size=5), st.data())
def test_cssutils_knows_every_selector_that_it_is_not_asked_about(compounds: list[str], data: Any) -> None:
    text = compounds[0]
    for compound in compounds[1:]:
        text += data.draw(st.sampled_from([" ", " > ", " + ", ", ", ",\n"])) + compound
    assert PLAIN_SELECTOR.fullmatch(text)
    [rule] = cssutils.parseString(f"{text} {{ color: red }}", validate=False).cssRules
    assert rule.selectorList.length == text.count(",") + 1


@pytest.mark.parametrize(
    "text", ["color: rgb(1 2 3)", "margin: 1px / 2px", "color: #12345678", "width: 1px2", "color:", "a: ,b", "a: b,,c"]
)
def test_of_what_is_not_plain_cssutils_is_asked(text: str) -> None:
    assert not PLAIN_DECLARATION.fullmatch(text)


def test_head_css_may_hold_what_inline_css_may_not() -> None:
    check_head_css(HEAD_CSS)
    check_head_css("")


# What wins


@pytest.mark.parametrize(
    ("css", "body", "line"),
    [
        ("p { margin: 0 }\n.b { margin-top: 5px }\n.c.d { margin: 1px }", '<p class="b c d">x</p>', 3),
        ("p { margin-top: 0 }\n.b { margin: 5px }\n#i { margin-top: 1px }", '<p class="b" id="i">x</p>', 3),
        ("#i { margin: 1px }\np.b { margin-top: 5px }\np { margin: 0 }", '<p class="b" id="i">x</p>', 1),
        (
            "p { border: 0 }\n.b { border-top: 1px solid red }\n.b.c { border: 2px solid blue }",
            '<p class="b c">x</p>',
            3,
        ),
        (
            "p { border-color: red } .b { border-top-color: blue }\ndiv p.b { border-color: lime }",
            '<div><p class="b">x</p></div>',
            2,
        ),
        ("p { margin: 0 } .b { margin-top: 5px }", '<p class="b" style="margin: 3px">x</p>', None),
    ],
)
def test_where_premailer_would_let_the_wrong_declaration_win_the_build_fails(
    css: str, body: str, line: int | None
) -> None:
    """It keeps a property where it was set first; css-inline does not."""
    with pytest.raises(CssFault, match="premailer would let") as fault:
        inlined(body, css)
    assert fault.value.line == line
    assert fault.value.text == ("" if line else "margin: 3px")
    right = style_of(inlined(body, css, inliner="css-inline"))
    sides = right.replace(" ", "").strip(";").split(";")
    assert ("top" in sides[-1]) == ("margin-top: 1px" in css), "the one that must win stands last"


@pytest.mark.parametrize(
    ("css", "body"),
    [
        ("p { margin: 0 } .b { margin-top: 5px }", '<p class="b">x</p>'),
        ("p { margin-top: 0 } .b { margin: 5px }", '<p class="b">x</p>'),
        ("p { margin: 0 } .b { margin: 5px } .c { margin-top: 1px }", '<p class="b c">x</p>'),
        ("p { margin: 0 } .b { margin-top: 5px } .c.d { margin: 1px }", '<p class="b">x</p><p class="c d">y</p>'),
        ("p { color: red } .b { margin: 0 } .c { color: blue }", '<p class="b c">x</p>'),
        ("p { border: 0 } .b { border-radius: 5px } .c { border: 0 }", '<p class="b c">x</p>'),
    ],
)
def test_where_it_would_not_the_build_passes(css: str, body: str) -> None:
    assert "style=" in inlined(body, css)


# The guard

DEEP = "<div>" * 300 + "x" + "</div>" * 300


def test_a_page_that_libxml2_cuts_off_is_damage() -> None:
    """Above a depth of about 250 it gives up without a word, and lxml closes all tags neatly."""
    assert "<p>end</p>" not in premailer_inliner(PAGE.replace("{}", DEEP + "<p>end</p>"), "")
    with pytest.raises(DamagedHtml, match="was cut off before its end"):
        inlined(DEEP + "<p>end</p>")
    assert "<p>end</p>" in inlined(DEEP.replace("<div>" * 150, "", 1).replace("</div>" * 150, "", 1) + "<p>end</p>")


def test_a_lone_surrogate_is_damage() -> None:
    assert "finis" not in premailer_inliner(PAGE.replace("{}", "a \ud800 finis"), "")
    for inliner in INLINER_NAMES:
        with pytest.raises(DamagedHtml):
            inlined("a \ud800 finis", inliner=inliner)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda html: html.replace(HOLE, "", 1), "turned 2 holes into 1"),
        (lambda html: html.replace(HOLE, HOLE * 2, 1), "turned 2 holes into 3"),
        (lambda html: html.replace(HOLE, HOLE.replace("000", "001"), 1), "turned 2 holes into 2"),
        (lambda html: html.replace("<!DOCTYPE html>", ""), "does not begin with its doctype"),
        (lambda html: html.replace("</html>", ""), "does not end with </html>"),
        (lambda html: html[: html.index("<b>")] + "</body></html>", "was cut off before its end"),
    ],
)
def test_whatever_an_inliner_loses_is_damage(damage: Callable[[str], str], message: str) -> None:
    body = f'<a href="{HOLE}">x</a>{HOLE}<b>end</b>'
    with pytest.raises(DamagedHtml, match=message):
        inline_css(PAGE.replace("{}", body), css="", head_css="", inliner=lambda html, _css: damage(html), holes=holes)


def test_what_the_guard_put_in_is_taken_out() -> None:
    html = inlined("x")
    assert html.endswith("<body>x</body></html>\n")
    assert html.count("<!--") == 1


def test_an_inliner_that_fails_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(cssutils, "parseString", fails)
    with pytest.raises(DamagedHtml, match="premailer failed: ZeroDivisionError: x"):
        premailer_inliner(PAGE.replace("{}", "x"), "p { margin: 17px }")


def test_css_inline_is_asked_for_only_when_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def not_installed(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "css_inline":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", not_installed)
    assert "x" in inlined("x")
    with pytest.raises(TemplateError, match="css-inline is not installed") as error:
        css_inline_inliner(PAGE.replace("{}", "x"), "")
    assert "pip install 'newsletter[css-inline]'" in error.value.hint
