"""What the schedule keeps: marks, slots, skips, and what was told. On both databases, and with several daemons."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from fresh_databases import empty_tables
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from newsletter.delivery.names import RunName
from newsletter.schedule.model import Skip, SlotRecord, SlotState
from newsletter.schedule.records import ScheduleRecords
from newsletter.store.schedule_records import SqlScheduleRecords

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TODAY = RunName("buzz", "2026-01-07")
BEGUN, DONE, MISSED, SKIPPED = SlotState


@pytest.fixture
def records(database: sa.Engine) -> ScheduleRecords:
    return SqlScheduleRecords(database)


def slot(state: SlotState, name: RunName = TODAY, at: dt.datetime = NOW, reason: str = "") -> SlotRecord:
    return SlotRecord(name, at, state, reason)


def test_a_mark_goes_forward_only_each_newsletters_by_itself(records: ScheduleRecords) -> None:
    assert records.mark("buzz") is None
    records.advance("buzz", NOW)
    assert records.mark("buzz") == NOW
    records.advance("buzz", NOW - DAY)
    assert records.mark("buzz") == NOW
    zone = dt.timezone(dt.timedelta(hours=8))
    records.advance("buzz", (NOW + DAY).astimezone(zone))
    assert records.mark("buzz") == NOW + DAY
    assert records.mark("weekly") is None


def test_a_mark_is_never_later_than_it_was_said(records: ScheduleRecords) -> None:
    records.advance("buzz", NOW + dt.timedelta(seconds=0.999))
    assert records.mark("buzz") == NOW


def test_what_a_wrong_clock_wrote_down_is_written_anew(records: ScheduleRecords) -> None:
    assert records.record(slot(MISSED, at=NOW), now=NOW + DAY)
    assert not records.record(slot(MISSED, at=NOW, reason="now"), now=NOW + DAY - dt.timedelta(seconds=30))
    assert records.record(slot(MISSED, at=NOW, reason="now"), now=NOW)
    assert not records.record(slot(MISSED, at=NOW, reason="again"), now=NOW)
    kept = records.slot(TODAY)
    assert kept is not None
    assert (kept.reason, kept.changed_at) == ("now", NOW)


@pytest.mark.parametrize("before", [None, *SlotState])
@pytest.mark.parametrize("after", SlotState)
def test_what_became_of_a_slot_stays_and_an_operator_may_begin_what_was_missed_or_skipped(
    records: ScheduleRecords, before: SlotState | None, after: SlotState
) -> None:
    if before is not None:
        assert records.record(slot(before, reason="the first"), now=NOW)
    allowed = {
        None: {*SlotState},
        BEGUN: {DONE, MISSED, SKIPPED},
        MISSED: {BEGUN},
        SKIPPED: {BEGUN},
        DONE: set(),
    }
    changes = after in allowed[before]
    assert records.record(slot(after, at=NOW + DAY, reason="the second"), now=NOW + DAY) is changes
    kept = slot(after, at=NOW + DAY, reason="the second") if changes else slot(before or after, reason="the first")
    assert records.slot(TODAY) == kept
    assert records.history() == [kept]


def test_slots_are_listed_as_they_come_and_by_what_became_of_them(records: ScheduleRecords) -> None:
    evening = RunName("buzz", "2026-01-07.evening")
    weekly = RunName("weekly", "2026-01-06")
    for one in (
        slot(BEGUN, evening, NOW + DAY / 2),
        slot(BEGUN),
        slot(MISSED, weekly, NOW - DAY, "there was no issue"),
    ):
        assert records.record(one, now=NOW)
    assert [one.name for one in records.begun()] == [TODAY, evening]
    assert [one.name for one in records.history()] == [evening, TODAY, weekly]
    assert [one.name for one in records.history(limit=1)] == [evening]
    assert records.history("weekly") == [slot(MISSED, weekly, NOW - DAY, "there was no issue")]
    assert records.record(slot(DONE), now=NOW)
    assert [one.name for one in records.begun()] == [evening]
    assert records.slot(RunName("weekly", "2026-01-07")) is None


def test_an_operator_leaves_out_a_date_or_an_edition_of_it_and_takes_it_back(records: ScheduleRecords) -> None:
    date = NOW.date()
    day = Skip("buzz", date, None, "a holiday")
    morning, evening = Skip("buzz", date, "", "no news"), Skip("buzz", date, "evening", "short day")
    for one in (evening, day, morning, Skip("buzz", date - DAY), Skip("weekly", date)):
        assert records.skip(one, now=NOW)
    assert records.skips("buzz") == [Skip("buzz", date - DAY), morning, day, evening]
    assert not records.skip(Skip("buzz", date, "evening", "another reason"), now=NOW)
    assert records.skips("buzz")[-1].reason == "another reason"
    assert records.unskip("buzz", date)
    assert not records.unskip("buzz", date)
    assert [one.edition for one in records.skips("buzz")] == [None, "", "evening"]
    assert records.unskip("buzz", date, "")
    assert not records.unskip("weekly", date, "evening")
    assert [one.edition for one in records.skips("buzz")] == [None, "evening"]
    assert records.skips("weekly") == [Skip("weekly", date)]


def test_a_cause_is_told_once_until_it_is_gone(database: sa.Engine, records: ScheduleRecords) -> None:
    assert records.first_time("missing_issue:buzz/2026-01-07", now=NOW)
    restarted = SqlScheduleRecords(database)
    assert not restarted.first_time("missing_issue:buzz/2026-01-07", now=NOW + DAY)
    assert restarted.first_time("missing_issue:buzz/2026-01-08", now=NOW)
    restarted.forget("missing_issue:buzz/2026-01-07")
    restarted.forget("never heard of")
    assert records.first_time("missing_issue:buzz/2026-01-07", now=NOW)


def test_whatever_stands_in_a_key_or_a_reason_is_kept(records: ScheduleRecords) -> None:
    strange = ["a\0b", "a\ud800b", "a'b; DROP TABLE notice; --", "x" * 5_000, ""]
    for one, other in itertools.combinations(strange, 2):
        assert one != other
    assert [records.first_time(one, now=NOW) for one in strange * 2] == [True] * 5 + [False] * 5
    for number, one in enumerate(strange):
        name = RunName("buzz", f"2026-01-{number + 1:02}")
        assert records.record(slot(MISSED, name, reason=f"why: {one}"), now=NOW)
        found = records.slot(name)
        assert found is not None
        assert found.reason.startswith("why:")
        assert records.skip(Skip("buzz", NOW.date() + number * DAY, None, one), now=NOW)


def test_of_several_daemons_that_do_the_same_at_once_one_is_told_that_it_did(
    database: sa.Engine, records: ScheduleRecords
) -> None:
    for number in range(8):
        name = RunName("buzz", f"2026-02-{number + 1:02}")
        date = dt.date(2026, 2, number + 1)
        start = threading.Barrier(4)

        def all_at_once(act: Callable[[], bool], start: threading.Barrier = start) -> list[bool]:
            def work() -> bool:
                start.wait()
                return act()

            with ThreadPoolExecutor(4) as pool:
                return [one.result() for one in [pool.submit(work) for _ in range(4)]]

        assert all_at_once(lambda name=name: records.record(slot(BEGUN, name), now=NOW)).count(True) == 1  # type: ignore[misc]  # a lambda has no types
        assert all_at_once(lambda name=name: records.record(slot(DONE, name), now=NOW)).count(True) == 1  # type: ignore[misc]  # likewise
        assert all_at_once(lambda name=name: records.first_time(str(name), now=NOW)).count(True) == 1  # type: ignore[misc]  # likewise
        assert all_at_once(lambda date=date: records.skip(Skip("buzz", date), now=NOW)).count(True) == 1  # type: ignore[misc]  # likewise
        assert all_at_once(lambda date=date: records.unskip("buzz", date)).count(True) == 1  # type: ignore[misc]  # likewise


def test_marks_set_by_several_at_once_end_at_the_latest(records: ScheduleRecords) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: records.advance("buzz", NOW + dt.timedelta(seconds=n * 37 % 50)), range(50)))
    assert records.mark("buzz") == NOW + dt.timedelta(seconds=49)


names = st.builds(RunName, st.sampled_from(["buzz", "weekly"]), st.sampled_from(["2026-01-07", "2026-01-07.evening"]))
moments = st.integers(-3, 3).map(lambda days: NOW + days * DAY)
reasons = st.sampled_from(["", "no issue", "a guard"])
editions = st.sampled_from([None, "", "evening"])


class Ways(RuleBasedStateMachine):
    """Everything is done to the database and to dictionaries."""

    def __init__(self, database: sa.Engine) -> None:
        super().__init__()
        empty_tables(database)
        self.records: ScheduleRecords = SqlScheduleRecords(database)
        self.marks: dict[str, dt.datetime] = {}
        self.slots: dict[RunName, SlotRecord] = {}
        self.skips: dict[tuple[str, dt.date, str | None], str] = {}
        self.told: set[str] = set()

    @rule(newsletter=st.sampled_from(["buzz", "weekly"]), until=moments)
    def advance(self, newsletter: str, until: dt.datetime) -> None:
        self.records.advance(newsletter, until)
        self.marks[newsletter] = max(until, self.marks.get(newsletter, until))
        assert self.records.mark(newsletter) == self.marks[newsletter]

    @rule(name=names, at=moments, state=st.sampled_from(SlotState), reason=reasons)
    def record(self, name: RunName, at: dt.datetime, state: SlotState, reason: str) -> None:
        new, old = SlotRecord(name, at, state, reason), self.slots.get(name)
        changes = old is None or (old.state is BEGUN) != (state is BEGUN)
        if old is not None and old.state is DONE:
            changes = False
        assert self.records.record(new, now=NOW) is changes
        if changes:
            self.slots[name] = new
        by_time = sorted(self.slots.values(), key=lambda one: (one.at, one.name.newsletter, one.name.slot))
        assert self.records.begun() == [one for one in by_time if one.state is BEGUN]
        assert {one.name: one for one in self.records.history()} == self.slots

    @rule(newsletter=st.sampled_from(["buzz", "weekly"]), day=st.integers(0, 2), edition=editions, reason=reasons)
    def skip(self, newsletter: str, day: int, edition: str | None, reason: str) -> None:
        date = NOW.date() + day * DAY
        key = newsletter, date, edition
        assert self.records.skip(Skip(newsletter, date, edition, reason), now=NOW) is (key not in self.skips)
        self.skips[key] = reason
        self._compare_skips()

    @rule(newsletter=st.sampled_from(["buzz", "weekly"]), day=st.integers(0, 2), edition=editions)
    def unskip(self, newsletter: str, day: int, edition: str | None) -> None:
        date = NOW.date() + day * DAY
        there = self.skips.pop((newsletter, date, edition), None) is not None
        assert self.records.unskip(newsletter, date, edition) is there
        self._compare_skips()

    @rule(key=st.sampled_from("abc"), forget=st.booleans())
    def tell(self, key: str, forget: bool) -> None:
        if forget:
            self.records.forget(key)
            self.told.discard(key)
            return
        assert self.records.first_time(key, now=NOW) is (key not in self.told)
        self.told.add(key)

    def _compare_skips(self) -> None:
        found = [one for newsletter in ("buzz", "weekly") for one in self.records.skips(newsletter)]
        assert {(one.newsletter, one.date, one.edition): one.reason for one in found} == self.skips
        assert [one.date for one in found if one.newsletter == "buzz"] == sorted(
            one.date for one in found if one.newsletter == "buzz"
        )


def test_no_order_of_steps_makes_the_records_forget(database: sa.Engine) -> None:
    examples = 25 if database.dialect.name == "sqlite" else 15
    run_state_machine_as_test(
        lambda: Ways(database),  # type: ignore[arg-type]  # a function that makes one will do
        settings=settings(max_examples=examples, stateful_step_count=30),
    )
