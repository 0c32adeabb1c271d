"""Recipients and their links."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import Recipient
from newsletter.delivery.names import RunName
from newsletter.delivery.recipients import Addressing

RUN = RunName("daily-buzz", "2026-01-07")


def maker(*secrets: str, newsletter: str = "daily-buzz") -> LinkMaker:
    return LinkMaker("https://news.example.com/", newsletter, secrets or ("first",))


def token(url: str) -> str:
    return url.rpartition("/")[2]


def people(count: int) -> list[Member]:
    return [
        Member(n + 1, f"p{n}@example.com", f"p{n}@example.com", language="pt" if n % 2 else "") for n in range(count)
    ]


def recipients_of(count: int, fields: tuple[str, ...] = ()) -> list[Recipient]:
    addressing = Addressing(
        RUN,
        sender_domain="news.example.com",
        links=maker(),
        variant_of=lambda values: tuple((field, values.get(field, "")) for field in fields),
    )
    return list(addressing.each(people(count)))


class TestLinks:
    def test_the_links_of_one_subscriber_are_always_the_same(self) -> None:
        one, two = maker(), maker()
        assert one.links(7, "x") == two.links(7, "x")

    def test_nothing_in_a_link_tells_the_address(self) -> None:
        addressing = Addressing(RUN, sender_domain="news.example.com", links=maker(), variant_of=lambda _values: ())
        [ana] = addressing.all([Member(7, "ana@example.com", "ana@example.com")])
        links = maker().links(7, RUN.slot)
        assert ana.unsubscribe_url == links.unsubscribe_url
        assert not any("ana" in text for text in (ana.id, ana.message_id, links.unsubscribe_url, links.preferences_url))
        assert links.unsubscribe_url.startswith("https://news.example.com/unsubscribe/daily-buzz/")
        assert links.view_url == "https://news.example.com/archive/daily-buzz/2026-01-07"

    def test_a_token_leads_back_to_its_subscriber_and_does_not_show_the_number(self) -> None:
        links = maker().links(1234567, "x")
        assert maker().subscriber_id(Purpose.UNSUBSCRIBE, token(links.unsubscribe_url)) == 1234567
        assert maker().subscriber_id(Purpose.PREFERENCES, token(links.preferences_url)) == 1234567
        sealed = base64.urlsafe_b64decode(token(links.unsubscribe_url))
        assert b"1234567" not in sealed
        assert (1234567).to_bytes(3, "big") not in sealed

    def test_a_token_is_bound_to_subscriber_newsletter_purpose_and_key(self) -> None:
        links = maker().links(7, "x")
        own = token(links.unsubscribe_url)
        assert token(maker().links(8, "x").unsubscribe_url) != own
        assert maker(newsletter="evening").subscriber_id(Purpose.UNSUBSCRIBE, own) is None
        assert maker("second").subscriber_id(Purpose.UNSUBSCRIBE, own) is None
        assert maker().subscriber_id(Purpose.PREFERENCES, own) is None

    @given(st.one_of(st.text(max_size=64), st.text("ABCDabcd0189-_", min_size=32, max_size=32)))
    def test_what_is_not_a_token_leads_to_nobody(self, text: str) -> None:
        assert maker().subscriber_id(Purpose.UNSUBSCRIBE, text) is None

    @given(st.integers(0, 31), st.sampled_from("ABCDabcd0189-_"))
    def test_a_token_with_one_character_changed_leads_to_nobody(self, place: int, other: str) -> None:
        own = token(maker().links(7, "x").unsubscribe_url)
        forged = own[:place] + other + own[place + 1 :]
        assert maker().subscriber_id(Purpose.UNSUBSCRIBE, forged) == (7 if forged == own else None)

    def test_a_link_made_with_an_earlier_key_is_still_believed(self) -> None:
        old = token(maker("old").links(7, "x").unsubscribe_url)
        assert maker("new", "old").subscriber_id(Purpose.UNSUBSCRIBE, old) == 7
        assert token(maker("new", "old").links(7, "x").unsubscribe_url) != old
        assert maker("new").subscriber_id(Purpose.UNSUBSCRIBE, old) is None


class TestRecipients:
    def test_ids_and_message_ids_are_unique_and_stable(self) -> None:
        members = recipients_of(500)
        assert len({one.id for one in members}) == 500
        assert len({one.message_id for one in members}) == 500
        assert members == recipients_of(500)

    def test_a_variant_is_chosen_by_the_declared_fields(self) -> None:
        variants = [one.variant for one in recipients_of(2, ("language",))]
        assert variants == [(("language", ""),), (("language", "pt"),)]
