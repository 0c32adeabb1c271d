"""Everybody at their own local time: over all time zones, on days when clocks change, whenever the run begins, with
people who join, leave and move meanwhile. On both databases."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_runs import DAILY, S, die, in_zones, ledger_of, load, plan_of, readers, report

from newsletter.delivery.run_values import Halt, Report, Wish
from newsletter.delivery.states import RunState
from newsletter.pipeline.local_windows import window_in, window_over, windows_of, zone_called
from newsletter.settings.model import Schedule
from newsletter.store.audience import SqlAudience

HOME = ZoneInfo("Europe/London")
#: Days around changes of the clocks, in both hemispheres, by half an hour, by a whole day; and any other day.
DAYS = st.one_of(
    st.dates(dt.date(2026, 3, 26), dt.date(2026, 4, 7)),
    st.dates(dt.date(2026, 10, 1), dt.date(2026, 11, 3)),
    st.just(dt.date(2011, 12, 30)),
    st.dates(dt.date(2020, 1, 1), dt.date(2029, 12, 31)),
)
ZONES = st.sampled_from(
    ["", "Mars/Phobos", "Pacific/Apia", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Niue"]
) | st.sampled_from(sorted(available_timezones()))
TIMES = st.times(max_value=dt.time(23, 58)).map(lambda time: time.replace(second=0, microsecond=0))
_NUMBERS = itertools.count()


def scheduled(time: dt.time, deadline: dt.time) -> Schedule:
    return Schedule.model_validate(
        {
            "time": time.strftime("%H:%M"),
            "deadline": deadline.strftime("%H:%M"),
            "timezone": "Europe/London",
            "recipient_timezone": True,
        }
    )


@pytest.fixture
def store(database: sa.Engine) -> SqlAudience:
    return SqlAudience(database, ERASURE_KEY)


def test_each_subscriber_gets_it_once_and_never_before_the_local_time(
    database: sa.Engine, store: SqlAudience, tmp_path: Path
) -> None:
    @settings(
        max_examples=40 if database.dialect.name == "sqlite" else 15,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        date=DAYS,
        time=TIMES,
        deadline=TIMES,
        zones=st.lists(ZONES, min_size=1, max_size=6, unique=True),
        late=st.integers(-120, 30 * 60),
        size=st.integers(1, 4),
        dies=st.booleans(),
    )
    def holds(
        date: dt.date, time: dt.time, deadline: dt.time, zones: list[str], late: int, size: int, dies: bool
    ) -> None:
        empty_tables(database)
        number = next(_NUMBERS)
        ledger = ledger_of(database, tmp_path / str(number))
        schedule = scheduled(time, deadline)
        load(store, in_zones(readers(12), *zones))
        there = [found for found in map(zone_called, store.timezones(DAILY)) if found]
        whole = window_over(there, schedule, date, "")
        now = whole.opens_at.astimezone(dt.UTC) + dt.timedelta(minutes=late)
        window_of = windows_of(schedule, date, "")
        terms = plan_of(date, size=size, deadline=whole.deadline, window_of=window_of)
        run_id = ledger.plan(terms, now=now).run_id
        home = {row.key: zone for row, zone in zip(readers(12), itertools.cycle(zones), strict=False)}
        # who joins now waits for the next issue, and who moves now keeps the time that they were planned for
        load(store, in_zones(readers(1), "Pacific/Kiritimati"))
        load(store, [replace(one, timezone=zones[0]) for one in readers(2, first=50)])
        handle = ledger.take(run_id, now=now)
        got: Counter[str] = Counter()
        reports: list[Report] = []
        for turn in itertools.count():
            assert turn < 100, "it comes to an end"
            exchange = handle.exchange(reports, [Wish(3), Wish(1)], now=now)
            reports = []
            for claim in filter(None, exchange.claims):
                for member in claim.members:
                    zone = zone_called(home[member.key]) or HOME
                    shown = now.astimezone(zone).replace(tzinfo=None)
                    assert shown >= dt.datetime.combine(date, time), "never before the local time"
                    assert now < window_in(zone, schedule, date, "").deadline.astimezone(dt.UTC)
                    got[member.key] += 1
                reports.append(report(claim))
            if exchange.halt is not None:
                break
            if dies and turn == 0 and not reports:
                die(handle)
                handle = ledger.take(run_id, now=now)
            elif not reports:
                assert exchange.next_due is not None
                now = max(now, exchange.next_due)
        assert exchange.halt in {Halt.DONE, Halt.DEADLINE}
        assert set(got.values()) <= {1}
        closed = handle.close(now=now)
        assert closed.state in {RunState.FINISHED, RunState.EXPIRED}
        # everybody but those whose own deadline was over before the run began
        began = whole.opens_at.astimezone(dt.UTC) + dt.timedelta(minutes=late)
        reached = {key for key, zone in home.items() if window_of(zone).deadline.astimezone(dt.UTC) > began}
        assert set(got) == reached
        balance = ledger.balance(run_id)
        assert (balance.of(S.ACCEPTED), balance.of(S.EXPIRED)) == (len(reached), 12 - len(reached))

    holds()
