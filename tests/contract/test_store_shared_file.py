"""One SQLite file, opened several times by one process and by others that come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from newsletter.store.engine import open_engine, reading, writing

URL = "sqlite:///db.sqlite"
#: Another command, which opens the database, looks, and ends.
PASSER_BY = """
import sys
from pathlib import Path
import sqlalchemy as sa
from newsletter.store.engine import open_engine, reading
with reading(open_engine("sqlite:///db.sqlite", Path(sys.argv[1]))) as connection:
    print(connection.scalar(sa.text("SELECT count(*) FROM t")))
"""


def test_a_process_that_ends_takes_nothing_away_from_one_that_opened_the_file_twice(tmp_path: Path) -> None:
    engines = [open_engine(URL, tmp_path)]
    with writing(engines[0]) as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER)"))
    engines.append(open_engine(URL, tmp_path))

    def passers_by() -> str:
        done = subprocess.run(
            [sys.executable, "-c", PASSER_BY, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    assert passers_by() == "0"
    for number, engine in enumerate([*engines, *engines], start=1):
        with writing(engine) as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})
        assert passers_by() == str(number)
        with reading(engines[0]) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM t")) == number
    for engine in engines:
        engine.dispose()
