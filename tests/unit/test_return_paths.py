"""Tokens of envelope senders: short enough, ours alone, and they lead back to the delivery."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.names import RunName
from newsletter.delivery.recipients import Addressing
from newsletter.delivery.return_paths import TOKEN_LENGTH, ReturnPath, ReturnPaths
from newsletter.rendering.headers import ascii_address

RUN = RunName("daily-buzz", "2026-01-07")
KEYS = ("k" * 64,)


def token(number: int = 7, run: RunName = RUN, keys: tuple[str, ...] = KEYS) -> str:
    return ReturnPaths(run.newsletter, keys).tokens(run, [number])[0]


def read(text: str, newsletter: str = "daily-buzz", keys: tuple[str, ...] = KEYS) -> ReturnPath | None:
    return ReturnPaths(newsletter, keys).read(text)


@given(
    st.integers(0, 2**40 - 1),
    st.dates(dt.date(1970, 1, 1), dt.date(2149, 1, 1)),
    st.from_regex("(?:[a-z0-9-]{1,12})?", fullmatch=True),
)
def test_a_token_leads_back_to_number_and_run_and_stands_in_an_address(
    number: int, date: dt.date, edition: str
) -> None:
    run = RunName("daily-buzz", f"{date}.{edition}" if edition else date.isoformat())
    made = token(number, run)
    assert len(made) == TOKEN_LENGTH
    assert made.isalnum()
    assert made == made.lower()
    assert ascii_address(f"bounces+{made}@news.example.com")  # within the 64 characters
    for seen in (made, made.upper(), made.title()):
        path = read(seen)
        assert path is not None
        assert (path.newsletter, path.subscriber_id, path.date) == ("daily-buzz", number, date)
        assert path.run([edition]) == run


def test_the_run_is_not_guessed_where_its_edition_is_not_known() -> None:
    path = read(token(7, RunName("daily-buzz", "2026-01-07.evening")))
    assert path is not None
    assert path.run() is None
    assert path.run(["noon"]) is None
    assert path.run(["noon", "evening"]) == RunName("daily-buzz", "2026-01-07.evening")


def test_a_token_is_bound_to_its_newsletter_and_key() -> None:
    made = token()
    assert read(made, newsletter="weekly") is None
    assert read(made, keys=("other" * 8,)) is None
    assert read(made, keys=("other" * 8, *KEYS)) is not None  # one made before the key was changed
    assert token(keys=("other" * 8, *KEYS)) != made
    assert token(8) != made
    assert token(run=RunName("daily-buzz", "2026-01-08")) != made


def test_a_token_is_no_link_token_and_a_link_token_is_none() -> None:
    maker = LinkMaker("https://news.example.com", "daily-buzz", KEYS)
    assert maker.subscriber_id(Purpose.UNSUBSCRIBE, token()) is None
    assert maker.return_paths.read(maker.token(Purpose.UNSUBSCRIBE, 7)) is None


@given(st.one_of(st.text(max_size=60), st.text("abcxyz234567ABC", min_size=TOKEN_LENGTH, max_size=TOKEN_LENGTH)))
def test_what_is_not_a_token_leads_to_nobody(text: str) -> None:
    assert read(text) is None


@given(st.integers(0, TOKEN_LENGTH - 1), st.sampled_from("abcxyz234567"))
def test_a_token_with_one_character_changed_leads_to_nobody(place: int, other: str) -> None:
    own = token()
    forged = own[:place] + other + own[place + 1 :]
    assert (read(forged) is not None) == (forged == own)


def test_a_number_without_room_has_no_token() -> None:
    assert token(2**40) == ""
    assert token(-1) == ""


def test_recipients_carry_their_token_and_the_address_to_leave_by() -> None:
    maker = LinkMaker("https://news.example.com", "daily-buzz", KEYS)
    members = [Member(number, f"p{number}@example.com", f"p{number}@example.com") for number in (0, 1, 2)]
    made = Addressing(
        RUN,
        sender_domain="news.example.com",
        links=maker,
        variant_of=lambda _: (),
        mailto="leave+{token}@news.example.com",
    ).all(members)
    paths = [maker.return_paths.read(one.return_token) for one in made]
    assert [path and path.subscriber_id for path in paths] == [0, 1, 2]  # 0 is nobody: a test of the issue
    assert [one.unsubscribe_mailto for one in made] == [f"leave+{one.return_token}@news.example.com" for one in made]
