"""`recipient_timezone`, from the schedule to the claims: everybody once, never before the time of their own clocks.

Whoever joined after the slot was reckoned counts too, in whatever zone; whoever joined after the run was planned is not
in it. More examples: LOCAL_TIME_EXAMPLES=500.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import zoneinfo
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_runs import DAILY, S, in_zones, ledger_of, load, plan_of, readers, report, states

from newsletter.delivery.run_values import Halt, Report, Wish
from newsletter.pipeline.local_windows import zone_called
from newsletter.pipeline.run_times import times_by_slot
from newsletter.schedule.slots import slot_of
from newsletter.settings.model import Schedule
from newsletter.store.audience import SqlAudience

ZONES = sorted(zoneinfo.available_timezones())
#: Days around which clocks change somewhere, and one on which none do.
CHANGES = [dt.date(2026, 3, 8), dt.date(2026, 3, 29), dt.date(2026, 4, 5), dt.date(2026, 10, 4), dt.date(2026, 11, 1)]
DATES = st.sampled_from([*CHANGES, dt.date(2026, 7, 1)]).flatmap(
    lambda day: st.integers(-1, 1).map(lambda days: day + dt.timedelta(days))
)
#: Half of all times fall into the hours in which clocks are changed.
TIMES = (st.times(dt.time(0), dt.time(3)) | st.times()).map(lambda time: time.replace(fold=0))  # as a file says it
#: As subscribers have them.
KEPT = st.lists(st.sampled_from([*ZONES, "", "Mars/Phobos"]), min_size=1, max_size=8)


def shown(now: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """What the clocks of a zone show."""
    return now.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None)


def test_everybody_gets_it_once_and_never_before_their_local_time(database: sa.Engine, tmp_path: Path) -> None:
    folders = itertools.count()
    few = 25 if database.dialect.name == "sqlite" else 8

    @settings(max_examples=int(os.environ.get("LOCAL_TIME_EXAMPLES", few)))
    @given(
        own=st.sampled_from(ZONES),
        date=DATES,
        time=TIMES,
        deadline=TIMES,
        early=KEPT,
        late=KEPT,
        behind=st.timedeltas(-dt.timedelta(minutes=2), dt.timedelta(hours=30)),
        size=st.integers(1, 4),
    )
    def send(
        own: str,
        date: dt.date,
        time: dt.time,
        deadline: dt.time,
        early: list[str],
        late: list[str],
        behind: dt.timedelta,
        size: int,
    ) -> None:
        empty_tables(database)
        store, ledger = SqlAudience(database, ERASURE_KEY), ledger_of(database, tmp_path / str(next(folders)))
        schedule = Schedule.model_validate(
            {"timezone": own, "time": time, "deadline": deadline, "recipient_timezone": True}
        )
        load(store, in_zones(readers(len(early)), *early))
        known = [zone for zone in map(zone_called, store.timezones(DAILY)) if zone is not None]
        slot = slot_of("buzz", schedule, date, "", zones=known)
        assert slot is not None
        # people join after the slot was reckoned, and the run is planned some time before or after it
        load(store, in_zones(readers(len(late), first=100), *late))
        now = slot.at.astimezone(dt.UTC) + behind
        times = times_by_slot(schedule, date, "", store.timezones(DAILY), slot.deadline)
        if times.deadline.astimezone(dt.UTC) <= now:
            return
        wanted = plan_of(date, size=size, deadline=times.deadline, window_of=times.window_of)
        run = ledger.plan(wanted, now=now)
        assert run.planned == len(early) + len(late)
        load(store, in_zones(readers(3, first=200), *early))  # too late for this issue

        members = {member.id: member for member in store.members(store.plan(DAILY).members)}
        zone_of = {one: zone_called(member.timezone) or ZoneInfo(own) for one, member in members.items()}
        assert times.window_of is not None
        window = {one: times.window_of(member.timezone) for one, member in members.items()}
        over = {one for one in members if window[one].deadline.astimezone(dt.UTC).replace(microsecond=0) <= now}
        seen: Counter[int] = Counter()
        handle, reports = ledger.take(run.run_id, now=now), list[Report]()
        local = dt.datetime.combine(date, time)
        for _ in range(200):
            exchange = handle.exchange(reports, [Wish(size)], now=now)
            reports = [report(claim) for claim in exchange.claims if claim is not None]
            for one in (member.id for claim in reports for member in claim.claim.members):
                assert shown(now, zone_of[one]) >= local, members[one]
                assert now < window[one].deadline.astimezone(dt.UTC), members[one]
                seen[one] += 1
            if exchange.halt is not None:
                break
            if not reports:
                assert exchange.next_due is not None
                now = max(now, exchange.next_due)
        assert exchange.halt in (Halt.DONE, Halt.DEADLINE)
        late_comers = {one for one, member in members.items() if member.key.startswith("reader002")}
        assert len(late_comers) == 3
        assert set(seen) == members.keys() - over - late_comers
        assert set(seen.values()) <= {1}
        handle.close(now=now)
        found = states(ledger, run.run_id)
        assert found.get(S.ACCEPTED, 0) == len(seen)
        assert found.get(S.ACCEPTED, 0) + found.get(S.EXPIRED, 0) == run.planned

    send()
