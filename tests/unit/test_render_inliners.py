"""The two inliners, which share no code, make the same mail of the default template: each is a check of the other."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import lxml.html
import pytest
import tinycss2  # type: ignore[import-untyped] # no types are published for it
from render_examples import ISSUE, SHIPPED, renderer, story

from newsletter.issue.model import Issue, Section
from newsletter.issue.parse import parse_issue

SAMPLE = Path(__file__).parents[2] / "issues" / "2026-01-07.txt"
_SIDES = ("top", "right", "bottom", "left")
_BORDER = re.compile(r"border(-top|-right|-bottom|-left)?")

#: What an element is, the attributes it has but for its style, its style, the text in it and the text behind it.
Element = tuple[str, tuple[tuple[str, str], ...], dict[str, str], str, str]


def elements(html: str) -> list[Element]:
    """The page as a list. An HTML 5 parser, as css-inline has, adds `<tbody>`; they hold nothing of their own."""
    found: list[Element] = []
    for one in lxml.html.document_fromstring(html).iter():
        if not isinstance(one.tag, str):
            found.append(("#comment", (), {}, one.text or "", one.tail or ""))
        elif one.tag != "tbody":
            attributes = tuple(sorted((name, value) for name, value in one.attrib.items() if name != "style"))
            found.append((one.tag, attributes, declarations(one.get("style", "")), one.text or "", one.tail or ""))
    return found


def declarations(style: str) -> dict[str, str]:
    """What a browser makes of a style attribute: shorthands taken apart, of each property the last one."""
    result: dict[str, str] = {}
    for node in tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True):
        assert node.type == "declaration", style
        assert not node.important
        values = [value(token) for token in node.value if token.type != "whitespace"]
        result |= longhands(node.lower_name, values)
    return result


def value(token: tinycss2.ast.Node) -> str:
    """One value: colours in six digits, zero without a unit, either kind of quotes."""
    text = str(tinycss2.serialize([token])).strip().lower().replace("'", '"')
    if token.type == "hash" and len(token.value) == 3:
        return "#" + "".join(2 * digit for digit in token.value.lower())
    if token.type in {"dimension", "number"} and token.value == 0:
        return "0"
    return text


def longhands(name: str, values: list[str]) -> dict[str, str]:
    if name in {"margin", "padding"}:
        top, right, bottom, left = (values * 4)[:4] if len(values) == 1 else [*values, *values[len(values) - 2 :]][:4]
        if len(values) == 3:
            left = right
        return {f"{name}-{side}": one for side, one in zip(_SIDES, (top, right, bottom, left), strict=True)}
    border = _BORDER.fullmatch(name)
    if border:
        width, style, colour = (*values, "none", "currentcolor")[:3] if len(values) < 3 else values
        sides = [border[1]] if border[1] else [f"-{side}" for side in _SIDES]
        parts = {"width": width, "style": style, "color": colour}
        return {f"border{side}-{part}": one for side in sides for part, one in parts.items()}
    return {name: " ".join(values)}


def sample() -> Issue:
    return parse_issue(SAMPLE.read_bytes(), source=str(SAMPLE), date=dt.date(2026, 1, 7))


EVERYTHING = """\
# Daily Buzz: 7 January 2026
Good **morning**.
## News
### A Story
Some *text* with a [link](https://example.com/a?b=1&c=é) and `code`.

> A quotation.

1. One
   - Two
2. Three

| a | b |
|---|---|
| c | d |

![A picture](https://example.com/a.png)

### Only a headline
"""


@pytest.mark.parametrize(
    "issue",
    [sample(), ISSUE, parse_issue(EVERYTHING.encode(), source="x.md", date=dt.date(2026, 1, 7), markdown=True)],
    ids=["sample", "small", "markdown"],
)
def test_the_two_inliners_make_the_same_mail(issue: Issue) -> None:
    """No element, attribute, text or declaration differs; only how they are spelt."""
    one, other = (
        elements(renderer(SHIPPED, name="digest", inliner=name).render(issue).html.template)
        for name in ("premailer", "css-inline")
    )
    assert len(one) > 60
    assert sum(bool(style) for _, _, style, _, _ in one) > 30
    assert [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]] == []


def test_the_comparison_sees_what_it_should() -> None:
    def differs(left: str, right: str) -> bool:
        return declarations(left) != declarations(right)

    assert not differs("margin: 0 1px", "margin: 0px 1PX 0 1px")
    assert not differs("margin: 1px 2px 3px", "margin-top:1px;margin-right:2px;margin-bottom:3px;margin-left:2px")
    assert not differs("color: #FFF; color: #abc", "color:#aabbcc")
    assert not differs("border-top: 1px solid red; border-top-color: blue", "border-top:1px solid blue")
    assert differs("border-top-color: blue; border-top: 1px solid red", "border-top:1px solid blue")
    assert differs("margin-top: 5px; margin: 1px", "margin: 1px; margin-top: 5px")
    assert differs("color: red", "color: blue")
    assert elements("<p class='a'>x</p>") != elements("<p class='b'>x</p>")
    assert elements("<p>x</p><p>y</p>") != elements("<p>x</p>")
    assert elements("<p>x <b>y</b></p>") != elements("<p>x<b>y</b></p>")


def test_both_take_the_same_holes(tmp_path: Path) -> None:
    issue = Issue(title="t", date=dt.date(2026, 1, 7), subject="s", sections=(Section("a", (story("b", "c"),)),))
    one, other = (renderer(SHIPPED, name="digest", inliner=name).render(issue) for name in ("premailer", "css-inline"))
    assert one.html.holes == other.html.holes
    assert one.text == other.text
