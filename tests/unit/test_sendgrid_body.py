"""People whose values are plain get the personalization that everybody gets."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest import mock

import pytest
from hostile_names import HOSTILE_NAMES
from hypothesis import example, given
from hypothesis import strategies as st
from provider_examples import PLAIN, RENDERED, batch, recipient
from servers.sendgrid_rules import messages

from newsletter.delivery.model import Recipient
from newsletter.errors import TemplateError
from newsletter.providers import sendgrid_body
from newsletter.providers.sendgrid_body import requests_for
from newsletter.rendering.model import Hole, HoleContext, Holed

NAMES = st.one_of(
    st.just(""),
    st.text("Ada O'B;,.%s-@", max_size=30),
    st.sampled_from(sorted(HOSTILE_NAMES.values())),
    st.integers(95, 210).map(lambda length: "x" * length),
)
ADDRESSES = st.one_of(
    st.just(""),
    st.sampled_from(["a@b.example", "A.B+c@x-y.example", 'a"b@c.example', "é@b.example", "a@bücher.example", "no"]),
    st.integers(60, 70).map(lambda length: f"{'a' * length}@b.example"),
    st.integers(180, 200).map(lambda length: f"a@{'b' * 60}.{'c' * 60}.{'d' * (length - 125)}.example"),
)
LINKS = st.one_of(
    st.just(""),
    st.text('abc/._~-%&?="', max_size=20).map(lambda rest: f"https://news.example.com/u/{rest}"),
    st.integers(190, 950).map(lambda length: f"https://news.example.com/{'x' * length}"),
)
PEOPLE = st.builds(
    lambda number, name, address, link: recipient(number, name, address, PLAIN)._replace(
        unsubscribe_url=link or "https://news.example.com/u/t",
        values={"name": name, "email": address or "a@b.example", "unsubscribe_url": link},
    ),
    st.integers(1, 10**9),
    NAMES,
    ADDRESSES,
    LINKS,
)


@pytest.fixture(autouse=True)
def _fresh_frames() -> Iterator[None]:
    sendgrid_body._frame.cache_clear()
    yield
    sendgrid_body._frame.cache_clear()


def said(people: list[Recipient]) -> tuple[list[object], list[str]]:
    """The bodies as they are read, and who is refused."""
    sendgrid_body._frame.cache_clear()
    made = requests_for(batch(*people), RENDERED, sandbox=False)
    assert all(request.body.isascii() for request in made.requests)
    return [json.loads(request.body) for request in made.requests], sorted(made.refused)


def _everybody(_self: object, texts: Sequence[str]) -> Sequence[int]:
    """The places in a column, as if nothing in it was plain."""
    return range(len(texts))


@given(st.lists(PEOPLE, min_size=1, max_size=5, unique_by=lambda one: one.id))
@example([recipient(1, "Ada", "ada@example.com")])
def test_it_is_what_the_slow_way_makes(people: list[Recipient]) -> None:
    quickly = said(people)
    with mock.patch.object(sendgrid_body._Plain, "all", return_value=False):
        one_by_one = said(people)
        with mock.patch.object(sendgrid_body._Plain, "others", _everybody):
            slowly = said(people)
    assert quickly == one_by_one
    assert quickly == slowly


def test_most_people_are_plain() -> None:
    ada = recipient(1, "Ada Lovelace")._replace(
        unsubscribe_url="https://news.example.com/u/t",
        values={"name": "Ada Lovelace", "email": "p1@example.com", "unsubscribe_url": "https://news.example.com/u/t"},
    )
    with mock.patch.object(sendgrid_body, "escape_values", side_effect=AssertionError("looked at one by one")):
        bodies, refused = said([ada])
    assert (len(bodies), refused) == (1, [])


@given(st.lists(st.text(st.sampled_from('ab"\\nu0\n\r\x1f\u00eb\U0001f600\ud83d'), max_size=6), min_size=1, max_size=5))
def test_texts_that_are_written_together_are_read_one_by_one(texts: list[str]) -> None:
    assert [json.loads(f'"{one}"') for one in sendgrid_body._in_json(texts)] == texts


def test_names_hold_nothing_that_the_vendor_refuses() -> None:
    [body], _ = said([recipient(1, "Ada; Countess, of =?Lovelace"), recipient(2, "Zo\u00eb & \u738b")])
    people = json.loads(json.dumps(body))["personalizations"]
    names = [one["to"][0]["name"] for one in people]
    assert names == ["Ada Countess of Lovelace", "Zo\u00eb & \u738b"]


def test_two_addresses_that_are_one_on_the_wire_are_never_in_one_request() -> None:
    twice = [recipient(1, "", "ada@straße.example"), recipient(2, "", "Ada@xn--strae-oqa.example")]
    bodies, refused = said(twice)
    assert (len(bodies), refused) == (2, [])


def test_a_link_that_no_header_can_hold_is_refused() -> None:
    link = "https://news.example.com/u" + "/abcdefghi" * 190
    with pytest.raises(TemplateError):
        said([recipient(1)._replace(unsubscribe_url=link)])


@pytest.mark.parametrize(
    ("names", "link", "keys"),
    [
        (["Ada", "Zo\u00eb"], "https://news.example.com/u/t", 3),
        (["Ada", "O'Brien & Sons"], "https://news.example.com/u/t", 4),
        (["Ada", "O'Brien & Sons"], "https://news.example.com/u/t?a=1&b=2", 5),
    ],
)
def test_what_is_alike_in_text_and_html_is_said_once(names: list[str], link: str, keys: int) -> None:
    people = [recipient(number, name) for number, name in enumerate(names)]
    people = [one._replace(values={**one.values, "unsubscribe_url": link}) for one in people]
    [body], _ = said(people)
    document = json.loads(json.dumps(body))
    assert {len(one["substitutions"]) for one in document["personalizations"]} == {keys}
    for one, message in zip(people, messages(document), strict=True):
        assert f"Good morning {one.name}, caf\u00e9\n" in message.text
        assert f"Leave: {link}\n" in message.text
        assert f"Good morning {html.escape(one.name)}, caf\u00e9" in message.html.replace("&#39;", "&#x27;")
        assert f'<a href="{html.escape(link)}">' in message.html


def test_who_else_is_in_a_request_does_not_decide_who_fits() -> None:
    """Each of the holes counts, also where two have one key."""
    holes = [Hole(f"f{number}", HoleContext.TEXT) for number in range(30)]
    html_holes = [Hole(hole.name, HoleContext.HTML) for hole in holes]
    texts = Holed(("",) * 31, tuple(holes)), Holed(("",) * 31, tuple(html_holes))
    rendered = replace(RENDERED[PLAIN], text=texts[0], html=texts[1])

    def refused(length: int, other: str) -> int:
        people = [
            recipient(number)._replace(values={hole.name: text for hole in holes})
            for number, text in enumerate(["x" * length, other])
        ]
        return len(requests_for(batch(*people), {PLAIN: rendered}, sandbox=False).refused)

    # 60 keys of 14 bytes
    assert [refused(152, "Ada"), refused(152, "A & B")] == [0, 0]
    assert [refused(153, "Ada"), refused(153, "A & B")] == [1, 1]


def keys_and_values(name: str) -> tuple[list[str], str]:
    [body], _ = said([recipient(1, name)])
    [person] = json.loads(json.dumps(body))["personalizations"]
    return list(person["substitutions"]), json.dumps(list(person["substitutions"].values()))


def test_no_key_is_in_what_goes_out_however_it_was_written() -> None:
    key = keys_and_values("")[0][0]
    keys, values = keys_and_values(key[:4] + "\u200b" + key[4:])  # cleaned, it is the key
    assert key in values
    assert not any(one in values for one in keys)
