"""What every mail provider must do, run over each of them."""

from __future__ import annotations

import csv
import datetime as dt
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from newsletter.delivery.model import Accepted, Batch, Recipient, Refused
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.send import check_receipt
from newsletter.providers.disk import DiskProvider
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue, Variant

LETTERHEAD = Letterhead(
    "Daily Buzz <buzz@news.example.com>",
    "editor@example.com",
    "daily-buzz.news.example.com",
    "Daily Buzz",
    "2026-01-07:daily-buzz:issue:daily-buzz",
    dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC),
)
PLAIN: Variant = (("tier", ""),)
GOLD: Variant = (("tier", "gold"),)


def issue(variant: Variant) -> RenderedIssue:
    tier = dict(variant)["tier"] or "plain"
    html = Holed(
        (f"<!DOCTYPE html><html><body><p>{tier}: ", '</p><a href="', '">leave</a></body></html>\n'),
        (Hole("name", HoleContext.HTML), Hole("unsubscribe_url", HoleContext.HTML_URL)),
    )
    text = Holed(
        (f"{tier}: ", "\n", "\n"), (Hole("name", HoleContext.TEXT), Hole("unsubscribe_url", HoleContext.TEXT_URL))
    )
    return RenderedIssue("A morning — with coffee", "", html, text, "0" * 64, variant)


def recipient(number: int, name: str = "", address: str = "", variant: Variant = PLAIN) -> Recipient:
    url = f"https://news.example.com/unsubscribe/daily-buzz/token{number}"
    return Recipient(
        id=f"id{number}",
        address=address or f"p{number}@example.com",
        name=name,
        message_id=message_id("daily-buzz/2026-01-07", f"id{number}", "news.example.com"),
        unsubscribe_url=url,
        values={"name": name, "email": address, "unsubscribe_url": url},
        variant=variant,
    )


def batch(*recipients: Recipient, number: int = 1) -> Batch:
    return Batch("daily-buzz/2026-01-07", number, LETTERHEAD, recipients)


class Sent:
    """A provider and the way to see what it took, as messages."""

    def __init__(self, provider: MailProvider, messages: Callable[[], list[EmailMessage]]) -> None:
        self.provider = provider
        self.messages = messages


@pytest.fixture(params=["disk"])
def sent(request: pytest.FixtureRequest, tmp_path: Path) -> Sent:
    assert request.param == "disk"

    def messages() -> list[EmailMessage]:
        files = sorted((tmp_path / "messages").glob("*.eml"))
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    return Sent(DiskProvider("disk", tmp_path), messages)


class TestEveryProvider:
    def test_each_recipient_gets_one_message_of_their_own(self, sent: Sent) -> None:
        members = [recipient(number, f"Name {number}") for number in range(1, 4)]
        receipt = sent.provider.submit(batch(*members), {PLAIN: issue(PLAIN)})
        sent.provider.close()
        check_receipt(batch(*members), receipt)
        assert receipt.accepted == 3
        for message, member in zip(sent.messages(), members, strict=True):
            assert message["To"].addresses[0].addr_spec == member.address
            assert message["Subject"] == "A morning — with coffee"
            assert message["List-Unsubscribe"] == f"<{member.unsubscribe_url}>"
            assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert message["Message-ID"] == member.message_id
            body = message.get_body(("html",))
            assert body is not None
            assert member.name in body.get_content()

    def test_each_recipient_gets_the_variant_that_is_theirs(self, sent: Sent) -> None:
        members = [recipient(1, variant=PLAIN), recipient(2, variant=GOLD), recipient(3, variant=PLAIN)]
        sent.provider.submit(batch(*members), {PLAIN: issue(PLAIN), GOLD: issue(GOLD)})
        sent.provider.close()
        texts = [body.get_content() for message in sent.messages() if (body := message.get_body(("plain",)))]
        assert [text.partition(":")[0] for text in texts] == ["plain", "gold", "plain"]

    def test_a_recipient_no_message_can_be_made_for_is_refused_alone(self, sent: Sent) -> None:
        members = [recipient(1), recipient(2, address="jürg@example.com"), recipient(3)]
        receipt = sent.provider.submit(batch(*members), {PLAIN: issue(PLAIN)})
        sent.provider.close()
        kinds = [type(receipt.outcomes[member.id]) for member in members]
        assert kinds == [Accepted, Refused, Accepted]
        assert len(sent.messages()) == 2

    def test_a_hostile_name_adds_no_header_and_no_recipient(self, sent: Sent) -> None:
        sent.provider.submit(batch(recipient(1, 'x\r\nBcc: eve@example.com"<script>')), {PLAIN: issue(PLAIN)})
        sent.provider.close()
        (message,) = sent.messages()
        assert message["Bcc"] is None
        assert len(message["To"].addresses) == 1
        body = message.get_body(("html",))
        assert body is not None
        assert "<script>" not in body.get_content()

    def test_it_names_itself_and_its_limits_and_may_be_closed_twice(self, sent: Sent) -> None:
        assert sent.provider.name
        assert sent.provider.limits.recipients_per_call >= 1
        sent.provider.close()
        sent.provider.close()


class TestDisk:
    def test_it_keeps_the_first_messages_and_lists_everybody(self, tmp_path: Path) -> None:
        provider = DiskProvider("disk", tmp_path, eml=2)
        provider.submit(batch(recipient(1), recipient(2, "=SUM(A1)")), {PLAIN: issue(PLAIN)})
        provider.submit(batch(recipient(3), number=2), {PLAIN: issue(PLAIN)})
        provider.close()
        assert sorted(file.name for file in (tmp_path / "messages").iterdir()) == ["0001.eml", "0002.eml"]
        with (tmp_path / "recipients.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["email"] for row in rows] == ["p1@example.com", "p2@example.com", "p3@example.com"]
        assert [row["batch"] for row in rows] == ["1", "1", "2"]
        assert rows[1]["name"] == "'=SUM(A1)"  # a spreadsheet would run it
        assert rows[2]["eml"] == ""
