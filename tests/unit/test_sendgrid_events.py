"""What SendGrid posts, as events: every kind, and whatever else may stand in a post."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.names import RunName
from newsletter.events.model import EventKind
from newsletter.events.sendgrid_events import Unreadable, read_items, read_post
from newsletter.events.status_codes import kind_of_status

K = EventKind
RUN = RunName("daily-buzz", "2026-01-07")
OURS = {"nl_run": str(RUN), "nl_delivery": "17", "nl_call": "u-1-1-17"}
AT = 1_767_767_767


def item(event: str, **rest: object) -> dict[str, Any]:
    return {"email": "ana@example.com", "timestamp": AT, "event": event, "sg_message_id": "m.1", **OURS, **rest}


@pytest.mark.parametrize(
    ("posted", "kind"),
    [
        (item("processed"), K.SENT),
        (item("deferred", response="400 try again later", attempt="5"), K.DEFERRED),
        (item("delivered", response="250 OK"), K.DELIVERED),
        (item("bounce", type="bounce", status="5.1.1", reason="550 5.1.1 no such user"), K.HARD_BOUNCE),
        (item("bounce", type="bounce", status="5.0.0", reason="550 no"), K.HARD_BOUNCE),
        (item("bounce", type="bounce", reason="unable to get mx info"), K.HARD_BOUNCE),
        (item("bounce", status="5.1.10"), K.HARD_BOUNCE),
        (item("bounce", type="bounce", status="5.0.0", bounce_classification="Invalid Address"), K.HARD_BOUNCE),
        (item("bounce", type="bounce", status="5.7.1", reason="550 5.7.1 spam"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.0.0", reason="550 5.7.1 policy"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.7.1", bounce_classification="Invalid Address"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.6.0"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.1.8", reason="bad sender"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.0.0", bounce_classification="Reputation"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.0.0", bounce_classification="Content"), K.BLOCKED),
        (item("bounce", type="bounce", status="5.2.2", reason="552 5.2.2 mailbox full"), K.SOFT_BOUNCE),
        (item("bounce", type="bounce", status="4.4.1"), K.SOFT_BOUNCE),
        (item("bounce", type="bounce", status="5.0.0", bounce_classification="Mailbox Unavailable"), K.SOFT_BOUNCE),
        (item("bounce", type="blocked", bounce_classification="Unclassified"), K.BLOCKED),
        (item("bounce", type="blocked", status="5.7.1"), K.BLOCKED),
        (item("bounce", type="blocked", status="5.2.2"), K.SOFT_BOUNCE),
        (item("bounce", type="blocked", status="5.1.1"), K.SOFT_BOUNCE),
        (item("dropped", reason="Bounced Address"), K.DROPPED),
        (item("spamreport"), K.COMPLAINED),
        (item("unsubscribe"), K.UNSUBSCRIBED),
        (item("group_unsubscribe", asm_group_id=10), K.UNSUBSCRIBED),
        (item("group_resubscribe", asm_group_id=10), K.OTHER),
        (item("account_status_change", type="compliance_suspend"), K.OTHER),
        (item("something_of_next_year"), K.OTHER),
    ],
)
def test_every_event_has_a_kind(posted: dict[str, Any], kind: EventKind) -> None:
    [event] = read_items([posted]).events
    assert (event.kind, event.run, event.subscriber_id, event.key) == (kind, RUN, 17, "")
    assert event.at == dt.datetime.fromtimestamp(AT, dt.UTC)
    assert (event.source, event.reference) == ("sendgrid", "m.1")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Bounced Address", "bounced"),
        ("Invalid", "invalid"),
        ("Spam Reporting Address", "spam"),
        ("Unsubscribed Address", "unsubscribed"),
        ("Recipient List over Package Quota", "other"),
        ("", "other"),
    ],
)
def test_why_it_was_not_even_tried_is_told_in_words_of_ours(reason: str, code: str) -> None:
    [event] = read_items([item("dropped", reason=reason, status="5.0.0")]).events
    assert (event.code, event.reason) == (code, reason)


def test_opens_and_clicks_are_ours_to_count_and_passed_over() -> None:
    posted = read_items([item("open"), item("click", url="https://example.com")])
    assert (posted.events, posted.passed_over, posted.unusable, posted.items) == ([], 2, {}, 2)


class TestWhoseItIs:
    def test_a_test_mail_is_of_its_run_and_nobodys(self) -> None:
        [event] = read_items([item("bounce", nl_run="test of daily-buzz/2026-01-07", nl_delivery="1")]).events
        assert (event.run, event.subscriber_id, event.key) == (RunName("test of daily-buzz", "2026-01-07"), None, "")

    def test_an_edition_is_part_of_the_run(self) -> None:
        [event] = read_items([item("delivered", nl_run="daily-buzz/2026-01-07.evening")]).events
        assert event.run == RunName("daily-buzz", "2026-01-07.evening")

    @pytest.mark.parametrize("run", ["confirmation", "daily-buzz/", "daily-buzz/today", "a\nb/2026-01-07", "x" * 5000])
    def test_a_run_that_is_none_of_ours_is_about_nobody(self, run: str) -> None:
        [event] = read_items([item("spamreport", nl_run=run)]).events
        assert (event.run, event.subscriber_id, event.key) == (None, None, "")

    @pytest.mark.parametrize("number", ["0", "-1", "1.5", "", "١", "9" * 30, None, True, [1]])
    def test_a_number_that_is_none_is_nobody(self, number: object) -> None:
        [event] = read_items([item("spamreport", nl_delivery=number)]).events
        assert (event.run, event.subscriber_id) == (RUN, None)

    def test_without_our_numbers_the_address_says_whom_and_only_where_it_matters(self) -> None:
        about = {"email": "Ana@EXAMPLE.com", "timestamp": AT}
        posted = read_items([about | {"event": name} for name in ("processed", "delivered", "spamreport", "bounce")])
        assert [(one.kind, one.key, one.run) for one in posted.events] == [
            (K.COMPLAINED, "ana@example.com", None),
            (K.HARD_BOUNCE, "ana@example.com", None),
        ]
        assert posted.passed_over == 2


class TestOddPosts:
    def test_the_good_ones_are_kept_and_the_others_are_counted(self) -> None:
        bad: list[object] = [None, 7, "delivered", [], {}, {"event": "delivered"}, {"event": 5}, {"timestamp": AT}]
        times: list[object] = ["soon", None, -1, 1e400, float("nan"), True, 10**15, {}]
        bad += [item("delivered", timestamp=at) for at in times]
        bad += [{"event": "spamreport", "timestamp": AT, "email": "no address"}]
        posted = read_items([item("delivered"), *bad, item("spamreport")])
        assert [one.kind for one in posted.events] == [K.DELIVERED, K.COMPLAINED]
        assert posted.items == len(bad) + 2
        assert sum(posted.unusable.values()) == len(bad)
        assert set(posted.unusable) == {
            "no object",
            "no event name",
            "no time",
            "neither a delivery of ours nor an address",
        }

    def test_times_may_be_written_as_text_and_with_fractions(self) -> None:
        events = read_items([item("delivered", timestamp=at) for at in (AT, str(AT), AT + 0.7)]).events
        assert {one.at.timestamp() for one in events} == {AT}
        assert len({one.fingerprint for one in events}) == 1

    def test_a_number_of_5000_digits_spoils_itself_and_nothing_else(self) -> None:
        body = json.dumps([item("delivered"), item("delivered", timestamp="@")]).replace('"@"', "9" * 5000)
        posted = read_post(body.encode())
        assert (len(posted.events), posted.unusable) == (1, {"no time": 1})

    @pytest.mark.parametrize("body", [b"", b"null", b"7", b'"x"', b"{", b"[1,", b"[" * 100_000, b"\xff\xfe"])
    def test_what_is_no_array_is_told(self, body: bytes) -> None:
        with pytest.raises(Unreadable):
            read_post(body)

    def test_bytes_that_are_no_utf8_are_no_obstacle(self) -> None:
        body = json.dumps([item("bounce", reason="@")]).encode().replace(b"@", b"\xff\xfe na\xefve", 2)
        [event] = read_post(body).events
        assert event.run == RUN

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["event", "timestamp", "email", "nl_run", "nl_delivery", "reason", "type", "status"]
                    ),
                    inner,
                )
            ),
        )
    )
    def test_nothing_in_a_post_raises_anything_else(self, document: object) -> None:
        try:
            posted = read_post(json.dumps(document).encode("utf-8", "surrogatepass"))
        except Unreadable:
            assert not isinstance(document, (list, dict))
        else:
            assert posted.items == (len(document) if isinstance(document, list) else 1)


class TestFingerprint:
    def test_the_same_told_again_is_the_same_whatever_its_event_id(self) -> None:
        first, second = read_items([item("delivered", sg_event_id=one) for one in "ab"]).events
        assert first.fingerprint == second.fingerprint
        assert len(first.fingerprint) == 16

    @pytest.mark.parametrize(
        "change",
        [
            {"event": "processed"},
            {"timestamp": AT + 1},
            {"nl_delivery": "18"},
            {"nl_run": "daily-buzz/2026-01-08"},
            {"nl_call": "u-1-2-17"},
            {"status": "5.1.1"},
            {"url": "https://example.com"},
        ],
    )
    def test_what_is_another_event_differs(self, change: dict[str, object]) -> None:
        first, second = read_items([item("delivered"), item("delivered") | change]).events
        assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("5.1.1", K.HARD_BOUNCE),
        ("5.1.2", K.HARD_BOUNCE),
        ("5.1.10", K.HARD_BOUNCE),
        ("4.1.1", K.SOFT_BOUNCE),
        ("4.2.2", K.SOFT_BOUNCE),
        ("5.2.2", K.SOFT_BOUNCE),
        ("5.4.1", K.SOFT_BOUNCE),
        ("5.7.1", K.BLOCKED),
        ("5.7.26", K.BLOCKED),
        ("4.7.0", K.BLOCKED),
        ("5.3.4", K.BLOCKED),
        ("5.0.0", None),
        ("5.1.0", None),
        ("2.0.0", None),
        ("", None),
        ("550", None),
        ("5.1.1111", None),
    ],
)
def test_status_codes_tell_the_mailbox_from_the_policy(code: str, kind: EventKind | None) -> None:
    assert kind_of_status(code) is kind
