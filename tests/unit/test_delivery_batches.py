"""Recipients, their links, and the batches they are cut into."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.model import Member
from newsletter.delivery.batching import RunName, batches, recipients
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import (
    Accepted,
    Batch,
    Busy,
    Limits,
    Outcome,
    Receipt,
    Recipient,
    Refused,
    Tally,
    Unknown,
)
from newsletter.delivery.send import UnbalancedReceipt, send_batches
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Holed, RenderedIssue, Variant

RUN = RunName("daily-buzz", "2026-01-07")
LETTERHEAD = Letterhead(
    "Daily Buzz <buzz@news.example.com>",
    "editor@example.com",
    "daily-buzz.news.example.com",
    "Daily Buzz",
    "2026-01-07:daily-buzz:issue:daily-buzz",
    dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC),
)


def maker(*secrets: str, newsletter: str = "daily-buzz") -> LinkMaker:
    return LinkMaker("https://news.example.com/", newsletter, secrets or ("first",))


def token(url: str) -> str:
    return url.rpartition("/")[2]


def people(count: int) -> list[Member]:
    return [
        Member(n + 1, f"p{n}@example.com", f"p{n}@example.com", language="pt" if n % 2 else "") for n in range(count)
    ]


def recipients_of(count: int, fields: tuple[str, ...] = ()) -> list[Recipient]:
    return list(
        recipients(
            people(count),
            run=RUN,
            sender_domain="news.example.com",
            links=maker(),
            variant_of=lambda values: tuple((field, values.get(field, "")) for field in fields),
        )
    )


class TestLinks:
    def test_the_links_of_one_subscriber_are_always_the_same(self) -> None:
        one, two = maker(), maker()
        assert one.links(7, "x") == two.links(7, "x")

    def test_nothing_in_a_link_tells_the_address(self) -> None:
        [ana] = recipients(
            [Member(7, "ana@example.com", "ana@example.com")],
            run=RUN,
            sender_domain="news.example.com",
            links=maker(),
            variant_of=lambda _values: (),
        )
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


class TestBatches:
    @given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 12))
    def test_each_recipient_stands_in_one_batch_in_order(self, count: int, size: int, most: int) -> None:
        members = recipients_of(count)
        cut = list(batches(RUN, LETTERHEAD, members, size, Limits(recipients_per_call=most)))
        assert [one for batch in cut for one in batch.recipients] == members
        assert all(1 <= len(batch.recipients) <= min(size, most) for batch in cut)
        assert [batch.number for batch in cut] == list(range(1, len(cut) + 1))

    def test_ids_and_message_ids_are_unique_and_stable(self) -> None:
        members = recipients_of(500)
        assert len({one.id for one in members}) == 500
        assert len({one.message_id for one in members}) == 500
        assert members == recipients_of(500)

    def test_a_variant_is_chosen_by_the_declared_fields(self) -> None:
        variants = [one.variant for one in recipients_of(2, ("language",))]
        assert variants == [(("language", ""),), (("language", "pt"),)]


class TestSending:
    def test_every_outcome_is_counted_and_progress_is_told(self) -> None:
        kinds: list[Outcome] = [Accepted(), Refused("no such user"), Busy("later"), Unknown("no answer")]
        provider = ScriptedProvider(kinds)
        told: list[Tally] = []
        tally = send_batches(
            batches(RUN, LETTERHEAD, recipients_of(8), 3, provider.limits),
            planned=8,
            rendered=rendered,
            provider=provider,
            progress=told.append,
        )
        assert (tally.accepted, tally.rejected, tally.busy, tally.unknown) == (2, 2, 2, 2)
        assert tally.reasons == {"no such user": 2, "later": 2, "no answer": 2}
        assert [one.batches for one in told] == [1, 2, 3]

    @pytest.mark.parametrize("wrong", [{}, {"stranger": Accepted()}])
    def test_a_receipt_that_does_not_balance_is_not_believed(self, wrong: dict[str, Outcome]) -> None:
        provider = ScriptedProvider([], answer=Receipt(wrong))
        with pytest.raises(UnbalancedReceipt, match="1 recipients without an outcome"):
            send_batches(
                batches(RUN, LETTERHEAD, recipients_of(1), 3, provider.limits),
                planned=1,
                rendered=rendered,
                provider=provider,
            )


def rendered(variant: Variant) -> RenderedIssue:
    empty = Holed(("",), ())
    return RenderedIssue("Subject", "", empty, empty, "0" * 64, variant)


class ScriptedProvider:
    """Answers with the outcomes it was given, in turn: faults that no real provider makes on demand."""

    def __init__(self, outcomes: list[Outcome], answer: Receipt | None = None) -> None:
        self._outcomes = outcomes
        self._answer = answer
        self._next = 0

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def limits(self) -> Limits:
        return Limits(recipients_per_call=100)

    def submit(self, batch: Batch, rendered: object) -> Receipt:
        if self._answer is not None:
            return self._answer
        outcomes = {}
        for recipient in batch.recipients:
            outcomes[recipient.id] = self._outcomes[self._next % len(self._outcomes)]
            self._next += 1
        return Receipt(outcomes)

    def close(self) -> None:
        """Nothing to let go of."""
