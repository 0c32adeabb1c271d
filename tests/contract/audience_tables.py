"""What a database holds, as values to compare; and lists of people to import."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import sqlalchemy as sa

from newsletter.pipeline.import_subscribers import Claims, Imported, import_subscribers
from newsletter.store import tables
from newsletter.store.audience import SqlAudience

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=1)

Contents = dict[str, list[tuple[object, ...]]]


def contents(engine: sa.Engine, *, ids: bool = True) -> Contents:
    """Every row of every table, by table; without `ids`, people and lists are told by their names."""
    with engine.connect() as connection:
        if ids:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
                for table in tables.metadata.sorted_tables
            }
        people, lists = tables.subscriber, tables.mailing_list
        member, said, kept = tables.membership, tables.consent, tables.suppression
        on = sa.select(people.c.key, lists.c.name, member.c.state, member.c.since).select_from(
            member.join(people).join(lists)
        )
        consents = sa.select(
            people.c.key, lists.c.name, said.c.at, said.c.source, said.c.wording, said.c.ip
        ).select_from(said.join(people).join(lists))
        suppressed = sa.select(kept.c.key, kept.c.reason, lists.c.name, kept.c.at).select_from(kept.outerjoin(lists))
        columns = [column for column in people.c if column.name not in {"id", "created_at"}]
        parts = {"people": sa.select(*columns), "on": on, "consents": consents, "suppressed": suppressed}
        return {
            name: sorted((tuple(row) for row in connection.execute(part)), key=repr) for name, part in parts.items()
        }


def import_text(
    store: SqlAudience,
    text: str | bytes,
    rejects: Path | None = None,
    *,
    into: str = "buzz",
    claims: Claims | None = None,
    dry_run: bool = False,
    now: dt.datetime = NOW,
) -> Imported:
    """Imports a CSV file of this text; its sums must add up."""
    data = text.encode() if isinstance(text, str) else text
    done = import_subscribers(
        store,
        io.BytesIO(data),
        "people.csv",
        rejects,
        named=True,
        choose_list=lambda: into,
        now=now,
        claims=claims,
        dry_run=dry_run,
    )
    sums = done.summary
    parts = (sums.new, sums.updated, sums.unchanged, sums.suppressed, sums.invalid, sums.duplicate)
    assert sums.rows == sum(parts)
    assert sums.pending <= sums.new
    return done


def many_people(number: int) -> str:
    """A list with everything in it: consents, tags, attributes, repeated rows, bad addresses."""
    lines = ["email,name,tags,consent_at,consent_source,city"]
    for n in range(number):
        domain = f"mail{n % 50}.example.com" if n % 97 else "bad"
        consent = f"2025-{n % 12 + 1:02}-11T07:12:00Z,form" if n % 5 else ","
        lines.append(f"r{n}@{domain},Reader {n},{'press' if n % 3 else ''},{consent},{'Porto' if n % 2 else ''}")
        if n % 31 == 0:
            lines.append(f"R{n}@{domain},Other {n},vip,,")
    return "\n".join(lines) + "\n"
