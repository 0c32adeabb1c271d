"""Where counted links lead, and how often they and the image of opens were requested; on both databases."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.errors import GuardRefused
from newsletter.events.tracking import Hit, HitCount, HitKind, Verdict
from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import insert_new
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import hit, issue_link, personal_hit
from newsletter.store.upserting import insert_into

#: What a column of type INTEGER holds on PostgreSQL.
_MOST_NUMBER = 2**31 - 1


class SqlTracking:
    """Implements `newsletter.events.tracking.TrackingStore`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep_links(self, run: RunName, urls: Sequence[str]) -> None:
        """See `TrackingStore`."""
        if there := self._links(run):  # a run that is resumed
            _refuse_others(run, there, urls)
            return
        with writing(self._engine) as connection:
            rows = [
                {"newsletter": run.newsletter, "slot": run.slot, "number": number, "url": url}
                for number, url in enumerate(urls, start=1)
            ]
            if rows:
                # two processes that store at the same moment: the second one waits here, and finds what the first did
                connection.execute(insert_new(connection, issue_link), rows)
            _refuse_others(run, _links(connection, run), urls)

    def target(self, run: RunName, number: int) -> str | None:
        """See `TrackingStore`."""
        if not 0 < number <= _MOST_NUMBER:
            return None
        wanted = sa.select(issue_link.c.url).where(*_of(issue_link, run), issue_link.c.number == number)
        with reading(self._engine) as connection:
            return connection.execute(wanted).scalar()

    def record(self, hits: Sequence[Hit]) -> None:
        """See `TrackingStore`."""
        counts = Counter((one.run, one.kind, one.number, one.verdict) for one in hits)
        # in one order everywhere, so that two writers never wait for each other's rows
        rows = [
            {
                "newsletter": run.newsletter,
                "slot": run.slot,
                "kind": kind.value,
                "number": number,
                "verdict": verdict.value,
                "count": count,
            }
            for (run, kind, number, verdict), count in sorted(counts.items(), key=lambda item: _order(*item[0]))
        ]
        people = [
            {
                "newsletter": one.run.newsletter,
                "slot": one.run.slot,
                "kind": one.kind.value,
                "number": one.number,
                "subscriber_id": one.subscriber_id,
                "verdict": one.verdict.value,
                "at": seconds(one.at),
            }
            for one in hits
            if one.subscriber_id is not None
        ]
        if not rows:
            return
        with writing(self._engine) as connection:
            connection.execute(_counting(connection), rows)
            if people:
                connection.execute(sa.insert(personal_hit), people)

    def of_person(self, subscriber_id: int) -> Sequence[Hit]:
        """See `TrackingStore`."""
        wanted = (
            sa.select(personal_hit)
            .where(personal_hit.c.subscriber_id == subscriber_id)
            .order_by(personal_hit.c.at, personal_hit.c.id)
        )
        with reading(self._engine) as connection:
            return [
                Hit(
                    RunName(row.newsletter, row.slot),
                    HitKind(row.kind),
                    row.number,
                    Verdict(row.verdict),
                    moment(row.at),
                    row.subscriber_id,
                )
                for row in connection.execute(wanted)
            ]

    def prune(self, *, before: dt.datetime, limit: int = 10_000) -> int:
        """See `TrackingStore`."""
        old = sa.select(personal_hit.c.id).where(personal_hit.c.at < seconds(before)).limit(limit)
        with writing(self._engine) as connection:
            return connection.execute(sa.delete(personal_hit).where(personal_hit.c.id.in_(old))).rowcount

    def counts(self, run: RunName) -> Sequence[HitCount]:
        """See `TrackingStore`."""
        with reading(self._engine) as connection:
            urls = dict(enumerate(_links(connection, run), start=1))
            found: dict[tuple[HitKind, int], dict[Verdict, int]] = {}
            for row in connection.execute(sa.select(hit).where(*_of(hit, run))).mappings():
                found.setdefault((HitKind(row["kind"]), row["number"]), {})[Verdict(row["verdict"])] = row["count"]
        links = {(HitKind.CLICK, number) for number in urls}
        return [
            HitCount(kind, number, urls.get(number, "") if kind is HitKind.CLICK else "", found.get((kind, number), {}))
            for kind, number in sorted(links | found.keys())
        ]

    def _links(self, run: RunName) -> list[str]:
        with reading(self._engine) as connection:
            return _links(connection, run)


def _refuse_others(run: RunName, there: Sequence[str], urls: Sequence[str]) -> None:
    if list(there) != list(urls):
        raise GuardRefused(
            f"the links of {run} are stored already, and lead elsewhere",
            hint="Send it with the links and the tracking settings that it was begun with.",
        )


def _links(connection: sa.Connection, run: RunName) -> list[str]:
    wanted = sa.select(issue_link.c.url).where(*_of(issue_link, run)).order_by(issue_link.c.number)
    return list(connection.scalars(wanted))


def _of(table: sa.Table, run: RunName) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.newsletter == run.newsletter, table.c.slot == run.slot


def _order(run: RunName, kind: HitKind, number: int, verdict: Verdict) -> tuple[str, str, str, int, str]:
    return run.newsletter, run.slot, kind, number, verdict


def _counting(connection: sa.Connection) -> sa.Insert:
    """Adds to a count, or begins one."""
    key = [column.name for column in hit.primary_key]
    new = insert_into(connection, hit)
    return new.on_conflict_do_update(index_elements=key, set_={"count": hit.c.count + new.excluded["count"]})
