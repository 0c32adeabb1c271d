"""The address to leave by mail: in the settings, and in List-Unsubscribe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.return_paths import TOKEN_LENGTH
from newsletter.errors import TemplateError
from newsletter.rendering.headers import unsubscribe_field
from newsletter.settings.addresses import check_unsubscribe_mailto

URL = "https://news.example.com/unsubscribe/daily-buzz/abc"
TOKEN = "a2" * (TOKEN_LENGTH // 2)


@pytest.mark.parametrize(
    "pattern", ["", "unsubscribe+{token}@news.example.com", "{token}@x.example", "u={token}-x@news.example.com"]
)
def test_a_pattern_is_taken_and_stands_in_the_header(pattern: str) -> None:
    assert check_unsubscribe_mailto(pattern) == pattern
    address = pattern.replace("{token}", TOKEN)
    rest = f", <mailto:{address}?subject=unsubscribe>" if pattern else ""
    assert unsubscribe_field(URL, address) == f"List-Unsubscribe: <{URL}>{rest}\r\n".encode()


@pytest.mark.parametrize(
    "pattern",
    [
        "unsubscribe@news.example.com",  # whose would it be
        "{token}+{token}@news.example.com",
        "{token}",
        "a b+{token}@news.example.com",
        "a,b+{token}@news.example.com",
        "a%0d+{token}@news.example.com",
        "a?subject=x&{token}@news.example.com",
        "<{token}>@news.example.com",
        "unsubscribe+{token}@bücher.example",
        "unsubscribe+{token}@news.example.com\nBcc: x@y.example",
        f"{'u' * 25}{{token}}@news.example.com",  # 65 characters with the token
    ],
)
def test_a_pattern_that_gives_no_address_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address|more than 64"):
        check_unsubscribe_mailto(pattern)


def test_the_longest_pattern_has_room_for_the_token() -> None:
    pattern = f"{'u' * 24}{{token}}@news.example.com"
    assert check_unsubscribe_mailto(pattern)
    assert unsubscribe_field(URL, pattern.replace("{token}", TOKEN))


@given(st.text(max_size=60))
def test_what_is_no_plain_address_never_gets_into_the_header(address: str) -> None:
    try:
        field = unsubscribe_field(URL, address)
    except TemplateError:
        return
    assert field.count(b"\r\n") == 1
    assert field.count(b"<") == (2 if address else 1)


def test_both_together_fit_on_one_line_or_are_refused() -> None:
    address = f"unsubscribe+{TOKEN}@news.example.com"
    longest = 998 - len(f"List-Unsubscribe: <>, <mailto:{address}?subject=unsubscribe>")
    url = "https://x.example/" + "p" * (longest - len("https://x.example/"))
    assert len(unsubscribe_field(url, address)) == 998 + len("\r\n")
    with pytest.raises(TemplateError, match="fits in a header"):
        unsubscribe_field(url + "p", address)
