"""Windows of many messages, and a server that does all sorts of things: everybody's own mail, and balanced books."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from servers.letters import LETTERHEAD, issue, recipient
from servers.smtp_calls import books_balance, provider_to
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter.delivery.model import Accepted, Batch, Busy, Outcome, Recipient, Refused, Unknown
from newsletter.delivery.provider import CallRefused
from newsletter.providers import smtp
from newsletter.rendering.headers import AddressError, ascii_address
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import RenderedIssue, Variant

RUN = "daily-buzz/2026-01-07"
GOLD: Variant = (("plan", "gold"),)
ISSUES: dict[Variant, RenderedIssue] = {(): issue(1_000), GOLD: issue(4_000, GOLD)}
#: What a server answers that is none of the usual, and whether it keeps the message of a content.
ODD: list[Callable[[bool], Reaction]] = [
    lambda _: Reaction(b"451 4.3.2 later\r\n"),
    lambda _: Reaction(b"550 5.1.1 no\r\n"),
    lambda kept: Reaction(close=True, accept=kept),
    lambda kept: Reaction(reset=True, accept=kept),
    lambda _: Reaction(b"421 4.0.0 bye\r\n", close=True),
    lambda kept: Reaction(b"hello\r\n", accept=kept),
]


def people(chance: Random, count: int, first: int) -> list[Recipient]:
    """Some with an address that no mail can be made for, some with one of another script, some with another variant."""
    found = []
    for number in range(first, first + count):
        one = recipient(number, name=f"Name{number}", variant=GOLD if chance.random() < 0.3 else ())
        kind = chance.random()
        if kind < 0.02:
            one = one._replace(address=f"\u00e9{number}@example.com")
        elif kind < 0.08:
            one = one._replace(address=f"p{number}@\u4f8b{number}.example")
        found.append(one)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_everybody_gets_their_own_mail_and_one_outcome(seed: int) -> None:
    chance, lock = Random(seed), threading.Lock()
    share = chance.choice([0.0, 0.003, 0.03])

    def react(moment: Moment) -> Reaction | None:
        with lock:
            if moment.step not in {"MAIL", "RCPT", "DATA", "content"} or chance.random() >= share:
                return None
            return chance.choice(ODD)(moment.step == "content" and chance.random() < 0.5)

    script = Script(react=react, pipelining=seed % 4 != 3, piece=chance.choice([None, 7]))
    count = chance.choice([49, 50, 51, 101, 130])
    batches = [Batch(RUN, 1, LETTERHEAD, tuple(people(chance, count, 1_000 * number))) for number in range(1, 5)]
    with SmtpServer(script) as server:
        provider = provider_to(server, messages_per_connection=chance.choice([1, 49, 50, 1000]), final_timeout=1.0)

        def submit(batch: Batch) -> dict[str, Outcome]:
            try:
                return dict(provider.submit(batch, ISSUES).outcomes)
            except CallRefused as refusal:
                return {one.id: Busy(str(refusal)) for one in batch.recipients}

        with ThreadPoolExecutor(4) as threads:
            receipts = list(threads.map(submit, batches))
        provider.close()
    outcomes: dict[str, Outcome] = {}
    readers: dict[str, Recipient] = {}
    for batch, receipt in zip(batches, receipts, strict=True):
        assert receipt.keys() == {one.id for one in batch.recipients}
        for one in batch.recipients:
            try:
                address = ascii_address(one.address)
            except AddressError:
                assert not isinstance(receipt[one.id], Accepted | Unknown)
                continue
            outcomes[address], readers[address] = receipt[one.id], one
    books_balance(server, outcomes)
    for taken in server.taken:
        reader = readers[taken.address]
        assert f"To: {reader.name} <{taken.address}>".encode() in taken.message
        assert reader.message_id.encode() in taken.message
        assert f"{reader.unsubscribe_url}>".encode() in taken.message
        assert set(re.findall(rb"Name\d+", taken.message)) == {reader.name.encode()}
        assert (len(taken.message) > 3_500) == (reader.variant == GOLD)


@pytest.mark.parametrize("bad", [1, 2, 50, 51])
def test_an_address_that_cannot_be_written_hides_no_refusal_of_all(bad: int) -> None:
    """Mail is made some ahead: whom none can be made for is known before the server was asked."""

    def closed(moment: Moment) -> Reaction | None:
        return Reaction(b"530 5.7.0 your account was closed\r\n") if moment.step == "MAIL" else None

    readers = [recipient(number) for number in range(1, 101)]
    readers[bad - 1] = readers[bad - 1]._replace(address="\u00e9@example.com")
    with SmtpServer(Script(react=closed)) as server:
        provider = provider_to(server)
        with pytest.raises(CallRefused, match="your account was closed"):
            provider.submit(Batch(RUN, 1, LETTERHEAD, tuple(readers)), ISSUES)
        provider.close()


def test_it_alone_is_refused_where_the_server_takes_the_others() -> None:
    readers = [recipient(number) for number in range(1, 101)]
    readers[59] = readers[59]._replace(address="\u00e9@example.com")
    with SmtpServer(Script()) as server:
        provider = provider_to(server)
        outcomes = provider.submit(Batch(RUN, 1, LETTERHEAD, tuple(readers)), ISSUES).outcomes
        provider.close()
    assert [one for one, outcome in outcomes.items() if isinstance(outcome, Refused)] == ["id60"]
    assert len(server.taken) == 99


def test_encoders_of_more_variants_than_are_kept_are_not_all_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Variant] = []

    class Counted(MessageEncoder):
        def __init__(self, rendered: RenderedIssue, letterhead: Letterhead) -> None:
            made.append(rendered.variant)
            super().__init__(rendered, letterhead)

    monkeypatch.setattr(smtp, "MessageEncoder", Counted)
    variants: list[Variant] = [(("plan", str(number)),) for number in range(70)]
    issues = {variant: issue(1_000, variant) for variant in variants}
    rounds = 6
    with SmtpServer(Script()) as server:
        provider = provider_to(server)
        for number in range(rounds):
            readers = tuple(recipient(100 * number + place, variant=one) for place, one in enumerate(variants))
            receipt = provider.submit(Batch(RUN, number + 1, LETTERHEAD, readers), issues)
            assert receipt.accepted == len(variants)
        provider.close()
    # of 70 more than 6 are seldom not there; in the order of their age, none ever would be
    assert len(variants) < len(made) < 70 * (rounds / 2)
