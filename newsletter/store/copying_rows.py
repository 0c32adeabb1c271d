"""The rows of one table on their way to another database: read by primary key, written, and compared.

A few at a time, whatever there is of them. Values are what the columns say (numbers, texts, bytes, NULL): what one
database keeps and the other cannot is told with its table and key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from newsletter.errors import OutputError, Place
from newsletter.store.failures import failures, shown_url

#: Rows at a time: of most tables, and of those whose rows may be long.
_ROWS = 5_000
_OF_LONG_ROWS = {"published_issue": 20, "batch": 200, "attempt": 1_000}
#: Bits of the whole numbers that PostgreSQL keeps in a column, by its type; those of a kind before the kind itself.
_BITS = {sa.SmallInteger: 15, sa.BigInteger: 63, sa.Integer: 31}

#: By a column's type: what its values are, and what others are called.
_KINDS: tuple[tuple[type[Any], Any, str], ...] = (
    (sa.Text, str, "no text"),
    (sa.Integer, int, "no whole number"),
    (sa.Float, int | float, "no number"),
    (sa.LargeBinary, bytes, "not bytes"),
)
_CORRECT = "Correct it in the database from before; nothing was copied."

Row = tuple[Any, ...]


def count_rows(connection: sa.Connection, table: sa.Table) -> int:
    """How many rows there are."""
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def parts_of(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Row]]:
    """All rows in the order of the primary key, the same on both databases; some at a time.

    Raises OutputError where a text of SQLite's is none.
    """
    some = _OF_LONG_ROWS.get(table.name, _ROWS)
    place = "among its first rows"
    with failures(connection.engine.url), _cursor(connection) as cursor:
        cursor.execute(f'SELECT {_columns(table)} FROM "{table.name}" ORDER BY {_order(connection, table)}')  # noqa: S608 - names of ours
        while True:
            try:
                rows = cursor.fetchmany(some)
            except sqlite3.OperationalError as error:
                if "Could not decode" not in str(error):
                    raise
                raise OutputError(
                    f"a text of the table {table.name} is not UTF-8, {place}",
                    place=Place(shown_url(connection.engine.url)),
                    hint=_CORRECT,
                ) from None
            if not rows:
                return
            place = f"behind {key_of(table, rows[-1])}"
            yield rows


def write_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Adds them as they are. Raises OutputError where the database cannot keep one."""
    columns = _columns(table)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', list(rows))  # noqa: S608 - names of ours
        return
    import psycopg  # takes long to load, and SQLite does without

    raw: Any = connection.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise _not_kept(connection, table, rows, error) from None


def compare(
    table: sa.Table, source: sa.Connection, target: sa.Connection, on_rows: Callable[[int], None]
) -> Row | None:
    """The first row that is not the same on both sides, or is on one of them only; None where there is none.

    `on_rows` hears how many more were alike.
    """
    for ours, theirs in zip_longest(parts_of(source, table), parts_of(target, table), fillvalue=()):
        if ours != theirs:
            pairs = zip_longest(ours, theirs)
            apart = next(pair for pair in pairs if pair[0] != pair[1])
            # of a row that is missing on one side, that side has the next one
            there: list[Row] = [row for row in apart if row]
            return min(there, key=lambda row: _key(table, row))
        on_rows(len(ours))
    return None


def key_of(table: sa.Table, row: Row) -> str:
    """`run_id 3, number 17`, of a row of the table."""
    named = zip(table.primary_key, _key(table, row), strict=True)
    return ", ".join(f"{column.name} {value!r}" for column, value in named)


def _key(table: sa.Table, row: Row) -> Row:
    values = dict(zip(table.columns.keys(), row, strict=True))
    return tuple(values[column.name] for column in table.primary_key)


def carry_numbers_on(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    """The next row of the table gets a number that was never given, as it would have on the other database."""
    column = table.columns.get("id")
    if column is None:
        return
    last = _last_number(source, table)
    if target.dialect.name == "postgresql":
        # from 1 on where no row ever was
        set_to = sa.func.setval(sa.func.pg_get_serial_sequence(table.name, "id"), max(last, 1), last > 0)
        target.execute(sa.select(set_to))
    elif table.dialect_options["sqlite"]["autoincrement"] and last:
        target.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
        target.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, last))


def _last_number(connection: sa.Connection, table: sa.Table) -> int:
    """The last number that was given, should its row be gone; 0: none."""
    largest: int = connection.scalar(sa.select(sa.func.max(table.c.id))) or 0
    if connection.dialect.name == "postgresql":
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, "id")))
        given = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {sequence}").one()  # noqa: S608 - its own name
        return max(largest, given[0] if given[1] else 0)
    if table.dialect_options["sqlite"]["autoincrement"]:
        seq = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).scalar()
        return max(largest, seq or 0)
    return largest


@contextmanager
def _cursor(connection: sa.Connection) -> Iterator[Any]:
    """A cursor of the driver's that does not fetch everything at once."""
    raw: Any = connection.connection.driver_connection
    cursor = raw.cursor(name="copying") if connection.dialect.name == "postgresql" else raw.cursor()
    try:
        yield cursor
    finally:
        # where the connection was lost, the first closing fails, and the second finds nothing to tell the server
        for _ in range(2):
            with suppress(Exception):
                cursor.close()


def _columns(table: sa.Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _order(connection: sa.Connection, table: sa.Table) -> str:
    """The primary key; texts by their bytes, as SQLite has them."""
    postgresql = connection.dialect.name == "postgresql"
    return ", ".join(
        f'"{column.name}"' + (' COLLATE "C"' if postgresql and isinstance(column.type, sa.Text) else "")
        for column in table.primary_key
    )


def _not_kept(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], error: Exception) -> OutputError:
    """What the database said of one of these rows, and of which."""
    place = Place(shown_url(connection.engine.url))
    for row in rows:
        for column, value in zip(table.columns, row, strict=True):
            if fault := _fault(column, value):
                return OutputError(
                    f"PostgreSQL cannot keep a value of the table {table.name}: {column.name} of "
                    f"{key_of(table, row)} {fault}",
                    place=place,
                    hint=_CORRECT,
                )
    # the server's own first line: it repeats no value
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OutputError(
        f"PostgreSQL cannot keep a row of the table {table.name}, between {key_of(table, rows[0])} and "
        f"{key_of(table, rows[-1])}: {words}",
        place=place,
        hint=_CORRECT,
    )


def _fault(column: sa.Column[Any], value: object) -> str:
    """Why PostgreSQL keeps no such value; '' where it does."""
    kind = column.type
    wanted, words = next((types, words) for one, types, words in _KINDS if isinstance(kind, one))
    if value is None:
        return ""
    if not isinstance(value, wanted):
        return f"is {words}"
    if isinstance(value, str) and "\0" in value:
        return "holds a NUL character"
    if isinstance(kind, sa.Integer) and isinstance(value, int):
        bits = next(bits for one, bits in _BITS.items() if isinstance(kind, one))
        return "" if -(1 << bits) <= value < 1 << bits else "is too large a number"
    return ""
