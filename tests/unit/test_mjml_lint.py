"""MJML is held to what the MJML library can read; what passes never fails there."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import lxml.html
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from newsletter.rendering import mjml_lint
from newsletter.rendering.mjml import MjmlFailure, mjml_to_html
from newsletter.rendering.mjml_lint import MAX_DEPTH, MjmlFault, lint

COLUMN = "<mjml><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>"
TEXT = COLUMN.format("<mj-text>{}</mj-text>")
HEAD = "<mjml><mj-head>{}</mj-head><mj-body></mj-body></mjml>"


def body_of(mjml: str) -> str:
    """The HTML inside the first mj-text, as the library writes it."""
    html = mjml_to_html(lint(mjml))
    return html[html.index('color:#000000;">') + 16 : html.index("</div></td>")]


# What is wrong, where it begins, and what to do.
FAULTS = [
    (TEXT, "é a & b", "& b", "a bare '&'", "write &amp;"),
    (TEXT, "é &foo", "&foo", "a bare '&'", "write &amp;"),
    (TEXT, "é a < b", "< b", "a bare '<'", "write &lt;"),
    (TEXT, "é a > b", "> b", "a bare '>' in text", "write &gt;"),
    (TEXT, "<!--[if mso]><b>é > x</b><![endif]-->", "> x", "a bare '>' in text", "write &gt;"),
    (TEXT, "<style>.é > p {}</style>", "> p", "a bare '>' in text", "leave out the > selector"),
    (TEXT, "<p>x</b>", "</b>", "a closing tag that does not match <p>", "close <p> first"),
    (TEXT, "é <br> x", "</mj-text>", "a closing tag that does not match <br>", "write <br/>"),
    (TEXT, "x<br></br>", "<br></br>", "<br> holds nothing", "write <br/>"),
    (TEXT, "x<BR/>", "<BR/>", "<BR> is no HTML element", "lower case"),
    (TEXT, '<a href="#" id=x>y</a>', "x>y", 'a tag that is not well-formed: <a href="#" id=x…', 'name="value"'),
    (TEXT, "<a é='x'>y</a>", "é=", '"é" is no name for an attribute', ""),
    (TEXT, '<a id="a" id="b">y</a>', 'id="b"', "duplicate attribute", "well-formed"),
    (TEXT, "x &foo; y", "&foo;", "an unknown entity &foo;", "write the character itself"),
    (TEXT, '<a title="&foo;">y</a>', "&foo;", "an unknown entity &foo;", "write the character itself"),
    (TEXT, "x &check; y", "&check;", "an unknown entity &check;", "write the character itself"),
    (TEXT, "x &#xD800; y", "&#xD800;", "reference to invalid character number", ""),
    (TEXT, "a<!-- x -- y -->", " y -->", "'--' inside a comment", "leave it out"),
    (TEXT, "<?php x ?>", "<?php", "a processing instruction or CDATA section", "leave it out"),
    (TEXT, "<![CDATA[x]]>", "<![CDATA[", "a processing instruction or CDATA section", "write < as &lt;"),
    (TEXT, "<mj-image/>", "<mj-image/>", "<mj-image> inside <mj-text>", "close it first"),
    (TEXT, "<!--[if mso]>x", "<!--[if", "a conditional comment that is not closed", "<![endif]-->"),
    (TEXT, "<!--[if mso x -->", "<!--[if", "a comment that is half a condition", "<!--[if mso]>"),
    (TEXT, "<!--[if mso]><!-- x --><![endif]-->", "<!-- x", "a comment inside a conditional comment", ""),
    (COLUMN, "é hello", "é hello", "text directly inside <mj-column>", "put it into <mj-text>"),
    (COLUMN, "<p>x</p>", "<p>", "<p> outside an element that holds HTML", "inside mj-text"),
    (COLUMN, "<mj-txet>x</mj-txet>", "<mj-txet>", "unknown element <mj-txet>", "did you mean <mj-text>?"),
    (COLUMN, '<mj-text colour="red">x</mj-text>', "colour=", 'unknown attribute "colour" on <mj-text>', '"color"'),
    (
        COLUMN,
        "<mj-section></mj-section>",
        "<mj-section></mj-section>",
        "<mj-section> directly inside <mj-column>",
        "may hold",
    ),
    (COLUMN, '<mj-include path="x"/>', "<mj-include", "<mj-include> is not supported", "{% include %}"),
    (COLUMN, "<mj-style>p{}</mj-style>", "<mj-style>", "<mj-style> is not supported", "head.css"),
    (COLUMN, '<mj-raw position="file-start">x</mj-raw>', "position", "mj-raw with a", "where it belongs"),
    (COLUMN, "<!--[if mso]>x<![endif]-->", "<!--[if", "a conditional comment inside <mj-column>", "mj-raw"),
    (COLUMN, "<mj-button><b><!--[if mso]>x<![endif]--></b></mj-button>", "<!--[if", "a conditional comment inside", ""),
    (COLUMN, "<mj-image>x</mj-image>", "x<", "text directly inside <mj-image>", ""),
    (HEAD, "<mj-title><b>x</b></mj-title>", "<b>", "<b> inside <mj-title>", "holds text only"),
    (HEAD, "<mj-title>é > x</mj-title>", "> x", "a bare '>' in text", "write &gt;"),
    (HEAD, "<mj-title><!-- x --></mj-title>", "<!-- x", "a comment inside <mj-title>", "{# … #}"),
    (HEAD, "<mj-attributes><mj-class/></mj-attributes>", "<mj-class/>", "<mj-class> without a name", "such as"),
    (HEAD, '<mj-attributes><mj-text colour="x"/></mj-attributes>', "colour", 'unknown attribute "colour"', '"color"'),
    (HEAD, "<mj-attributes><mj-txet/></mj-attributes>", "<mj-txet/>", "unknown element <mj-txet>", "<mj-text>"),
    ("{}", "<mjml></mjml>", "</mjml>", "no <mj-body>", "<mj-head> and <mj-body>"),
    ("<mjml>{}</mjml>", "<mj-body></mj-body><mj-body/>", "<mj-body/>", "a second <mj-body>", "one is enough"),
    ("{}", "<html></html>", "<html>", "<html> as the outermost element", "begin with <mjml>"),
    ("{}", "<!DOCTYPE mjml><mjml></mjml>", "<!DOCTYPE", "a DOCTYPE inside MJML", "leave it out"),
    ("{}", "<mjml><mj-body>", "", "<mj-body> is never closed", "add </mj-body>"),
    ("{}", "", "", "no element found", "<mjml>"),
    ("{}", "hello", "hello", "syntax error", "<mjml>"),
]


@pytest.mark.parametrize(
    ("around", "content", "at", "message", "hint"), FAULTS, ids=[fault[1] or "-" for fault in FAULTS]
)
def test_a_fault_says_what_where_and_what_to_do(around: str, content: str, at: str, message: str, hint: str) -> None:
    mjml = around.replace("{}", content)
    with pytest.raises(MjmlFault) as fault:
        lint(mjml)
    assert fault.value.message.startswith(message)
    assert hint in fault.value.hint
    found = mjml[fault.value.offset :]
    assert found.startswith(at) if at else found == ""


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_a_character_that_no_page_can_hold_is_named(character: str) -> None:
    """libxml2 cuts a page off at a lone surrogate, and the MJML library refuses the others without saying where."""
    mjml = TEXT.replace("{}", f"é{character}")
    with pytest.raises(MjmlFault, match=f"U\\+{ord(character):04X}") as fault:
        lint(mjml)
    assert mjml[fault.value.offset] == character


def test_elements_may_stand_inside_one_another_to_a_depth() -> None:
    def nested(depth: int) -> str:
        return TEXT.replace("{}", "<b>" * (depth - 5) + "x" + "</b>" * (depth - 5))

    assert "x" in mjml_to_html(lint(nested(MAX_DEPTH)))
    with pytest.raises(MjmlFault, match=f"more than {MAX_DEPTH} deep"):
        lint(nested(MAX_DEPTH + 1))
    with pytest.raises(MjmlFault, match=f"more than {MAX_DEPTH} deep"):
        lint(nested(12_000))


def test_entities_of_another_document_type_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + TEXT.replace("{}", "&b;")
    with pytest.raises(MjmlFault, match="DOCTYPE"):
        lint(bomb)
    assert lint(TEXT.replace("{}", "<!-- <!DOCTYPE x> -->"))


def test_outlooks_conditional_comments_arrive_as_they_were_written() -> None:
    """They may open a tag that another of them closes, as everything written for Outlook does."""
    content = (
        "<!--[if mso]><table><tr><td><![endif]-->é<!--[if mso]></td></tr></table><![endif]-->"
        "<!--[if (gte mso 9)|(IE)]>a &gt; b<![endif]--><!--[if !mso]><!--><b>c</b><!--<![endif]-->"
    )
    assert body_of(TEXT.replace("{}", content)) == content


@pytest.mark.parametrize("holder", ["mj-text", "mj-button", "mj-table"])
@pytest.mark.parametrize("white", ["\n", "\n  ", "\n\n", " \n", " ", "\u00a0"])
def test_words_of_two_elements_do_not_run_together(white: str, holder: str) -> None:
    """The MJML library drops a text that is nothing but white space and begins with a line feed."""
    mjml = COLUMN.format(f"<{holder}><b>one</b>{white}<i>two</i></{holder}>")
    html = mjml_to_html(lint(mjml)).replace("&#10;", "\n")
    assert f"<b>one</b>{white}<i>two</i>" in html


@pytest.mark.parametrize(
    "value",
    [
        "a\u00a0b",
        "e\u0301",
        "\U0001f468\u200d\U0001f469",
        "a\nb",
        "\t",
        r"\n \\",
        'say "x"',
        "é > b",
        "\u202e",
        "\ufeff",
        "it's",
    ],
)
def test_characters_in_attributes_arrive_as_they_are(value: str) -> None:
    r"""The MJML library writes a no-break space as `\u{a0}`, a line break as `\n`, and a quote so that the tag ends."""
    escaped = value.replace('"', "&quot;").replace("'", "&#39;")
    body = body_of(TEXT.replace("{}", f'<img alt="{escaped}"/>'))
    assert lxml.html.fragment_fromstring(body).get("alt") == value
    if "'" not in value:
        body = body_of(TEXT.replace("{}", f"<img alt='{value}'/>"))
        assert lxml.html.fragment_fromstring(body).get("alt") == value
    mjml = COLUMN.format(f'<mj-image src="x" alt="{escaped}"/>')
    page = lxml.html.document_fromstring(mjml_to_html(lint(mjml)))
    assert page.xpath("//img/@alt") == [value]


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\n <!-- x --> \n"])
def test_blanks_and_comments_between_mjml_elements_do_not_matter(blank: str) -> None:
    """The MJML library refuses some of them in some elements."""
    pieces = """
        <mjml>|<mj-head>|<mj-attributes>|<mj-text color="red">|</mj-text>|<mj-class name="a"/>|</mj-attributes>|
        </mj-head>|<mj-body>|<mj-section>|<mj-column>|<mj-social>|
        <mj-social-element name="facebook">x</mj-social-element>|</mj-social>|<mj-accordion>|<mj-accordion-element>|
        <mj-accordion-title>x</mj-accordion-title>|</mj-accordion-element>|</mj-accordion>|<mj-carousel>|
        <mj-carousel-image src="x">|</mj-carousel-image>|</mj-carousel>|</mj-column>|</mj-section>|</mj-body>|</mjml>
    """
    pieces = re.sub(r"\n *", "", pieces)
    outside = "" if "<!--" not in blank else "<!-- before -->"

    def names(html: str) -> str:
        # a carousel numbers itself
        return re.sub("carousel-[0-9a-f]{8}", "carousel", html)

    with_blanks = names(mjml_to_html(lint(outside + pieces.replace("|", blank))))
    assert with_blanks == names(mjml_to_html(lint(pieces.replace("|", ""))))


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    """Panics of Rust write to stderr, and a stack overflow ends the process: both are looked at from outside."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_panic_of_the_mjml_library_is_an_error_and_no_end_of_the_program() -> None:
    """A real one: what it panics at today is caught by the lint; other ways may remain."""
    done = in_a_process(f"""
        from newsletter.rendering.mjml import MjmlFailure, mjml_to_html
        try:
            mjml_to_html({TEXT.replace("{}", "é > x")!r})
        except MjmlFailure as failure:
            print("failure:", failure)
    """)
    assert done.returncode == 0
    assert done.stdout.startswith("failure: the MJML library panicked: ")
    assert "panicked at" in done.stderr, "no longer a panic: the lint against '>' may go"


def test_the_lint_spares_the_terminal_what_the_mjml_library_says() -> None:
    faulty = [
        TEXT.replace("{}", content) for content in ("é > x", "<b>" * 12_000 + "</b>" * 12_000, "<!--[if x", "\ud800")
    ]
    done = in_a_process(f"""
        from newsletter.rendering.mjml import mjml_to_html
        from newsletter.rendering.mjml_lint import MjmlFault, lint
        for mjml in {faulty!r}:
            try:
                mjml_to_html(lint(mjml))
            except MjmlFault:
                print("fault")
    """)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["fault"] * 4)


def test_what_the_mjml_library_refuses_is_a_failure() -> None:
    with pytest.raises(MjmlFailure, match="refused the template"):
        mjml_to_html(TEXT.replace("{}", "a < b"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_user_who_interrupts_is_heard(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("mjml.mjml2html", interrupted)
    with pytest.raises(error):
        mjml_to_html(TEXT)


def test_no_web_font_is_asked_for_and_the_page_is_in_standards_mode() -> None:
    mjml = COLUMN.format('<mj-text font-family="Roboto, Lato, Open Sans">x</mj-text>')
    html = mjml_to_html(lint(mjml))
    assert html.startswith("<!DOCTYPE html>")
    assert "fonts.googleapis" not in html


# Documents of the shape that MJML has, right or slightly wrong: what passes the lint must come out as HTML.

PIECES = st.sampled_from(
    [
        "a",
        "é",
        "\n",
        " ",
        "\n  ",
        "&gt;",
        "&nbsp;",
        "&#847;",
        "\u00a0",
        "😀",
        "'",
        '"',
        "\u2028",
        "--&gt;",
        "]]&gt;",
        "[if mso]",
    ]
)
WORDS = st.lists(PIECES, max_size=4).map("".join)
VALUES = st.sampled_from(
    [
        "",
        "1px",
        "abc",
        "100%",
        "é",
        "a &gt; b",
        "> é",
        "1px 2px 3px",
        "-5px",
        "url(x)",
        "#fff",
        "'",
        "&quot;",
        "1e9px",
        "a\nb",
    ]
)
HTML_NAMES = st.sampled_from(["b", "p", "table", "td", "a", "ul", "pre", "style", "v:rect", "q-r"])
COMMENTS = st.sampled_from(
    [" a ", "é > b", " <b> ", "", " [if x]> ", "[if !mso]><!", "<![endif]", "[if é]>", "[if mso", "[x]"]
)


def attributes(names: list[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(st.sampled_from(names), VALUES, max_size=2) if names else st.just({})
    return pairs.map(lambda given: "".join(f' {name}="{value}"' for name, value in given.items()))


def element(name: str, attribute: str, content: str) -> str:
    return f"<{name}{attribute}>{content}</{name}>"


HTML: st.SearchStrategy[str] = st.recursive(
    WORDS,
    lambda inner: st.lists(
        st.one_of(
            inner,
            st.builds(element, HTML_NAMES, attributes(["href", "class", "style"]), inner),
            st.sampled_from(["<br/>", "<hr/>", '<img alt="é"/>', "<p/>"]),
            COMMENTS.map("<!--{}-->".format),
            inner.map("<!--[if mso]>{}<![endif]-->".format),
            inner.map("<!--[if mso]><td><![endif]-->{}<!--[if mso]></td><![endif]-->".format),
        ),
        max_size=3,
    ).map("".join),
    max_leaves=6,
)
BLANKS = st.sampled_from(["", "", " ", "\n", "\n  ", "<!-- c -->", "\t"])


@st.composite
def mjml_element(draw: st.DrawFn, name: str) -> str:
    facts = mjml_lint._elements()[name]
    given = draw(attributes(sorted(facts.attributes - {"position"})))
    if facts.holds == "text":
        content = draw(WORDS)
    elif facts.holds == "html":
        content = draw(HTML)
    elif facts.holds == "defaults":
        content = draw(
            st.sampled_from(["", ' <mj-class name="a" color="é"/>', "<mj-all/>\n", "<mj-text padding='x'> </mj-text>"])
        )
    else:
        inside = draw(st.lists(st.sampled_from(sorted(facts.holds)), max_size=2)) if facts.holds else []
        parts = [draw(BLANKS) + draw(mjml_element(one)) for one in inside]
        content = "".join([*parts, draw(BLANKS)])
    return element(name, given, content)


@st.composite
def documents(draw: st.DrawFn) -> str:
    head, body = draw(mjml_element("mj-head")), draw(mjml_element("mj-body"))
    document = (
        draw(BLANKS) + element("mjml", draw(attributes(["lang", "dir"])), draw(BLANKS) + head + body) + draw(BLANKS)
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(document)))
        wrong = draw(
            st.sampled_from(["", " ", ">", "<", "&", "é", "é>", '"', "-->", "<!--", "<![endif]-->", "<b>", "</b>"])
        )
        document = document[:at] + wrong + document[at + draw(st.integers(0, 3)) :]
    return document


def fault_of(mjml: str) -> MjmlFault | None:
    try:
        lint(mjml)
    except MjmlFault as fault:
        return fault
    return None


@settings(max_examples=400)
@given(documents())
def test_what_passes_the_lint_becomes_html(document: str) -> None:
    fault = fault_of(document)
    event("refused" if fault else "passed")
    if fault:
        assert 0 <= fault.offset <= len(document)
        return
    html = mjml_to_html(lint(document))
    assert html.startswith("<!DOCTYPE html>")
    assert html.endswith("</body></html>")


@settings(max_examples=200)
@given(HTML)
def test_what_passes_the_lint_keeps_its_text(content: str) -> None:
    mjml = TEXT.replace("{}", content)
    if fault_of(mjml) is None:
        assert words(body_of(mjml)) == words(content)


def words(html: str) -> str:
    """The text between tags and comments, with what stands for a line feed as one."""
    return re.sub(r"<!--.*?-->|<[^!](?:[^\"'<>]|\"[^\"]*\"|'[^']*')*>", "", html, flags=re.DOTALL).replace(
        "&#10;", "\n"
    )
