"""Imports that are interrupted, that meet each other, and that run out of room: nothing is lost, nothing doubled."""

from __future__ import annotations

import datetime as dt
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from audience_tables import LATER, NOW, contents, import_text, many_people
from fresh_databases import ERASURE_KEY, empty_tables, make_tables, sqlite_engine
from ledger_runs import plan_of

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent, ImportTerms, LiftedBy, Selection, SuppressionReason
from newsletter.errors import OutputError
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import open_engine, writing
from newsletter.store.freezing import freeze
from newsletter.store.import_staging import _CHUNK

#: Imports a file, and says after each chunk how many rows it has read, at the end `done`.
PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from audience_tables import NOW
from fresh_databases import ERASURE_KEY
from newsletter.pipeline.import_subscribers import import_subscribers
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import open_engine

def heard(done, total):
    print(done, flush=True)

file = Path(sys.argv[2])
store = SqlAudience(open_engine(sys.argv[1], Path("/")), ERASURE_KEY)
with file.open("rb") as opened:
    rejects = file.with_suffix(".rejects.csv")
    import_subscribers(store, opened, file.name, rejects, choose_list=lambda: "buzz", now=NOW, progress=heard)
print("done", flush=True)
"""


def started(engine: sa.Engine, file: Path) -> subprocess.Popen[str]:
    url = f"sqlite:///{engine.url.database}" if engine.dialect.name == "sqlite" else engine.url
    shown = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, shown, str(file), *folders], stdout=subprocess.PIPE, text=True
    )


def test_an_import_killed_at_any_moment_leaves_nothing_half_done_and_completes_when_rerun(
    database: sa.Engine, tmp_path: Path
) -> None:
    text = many_people(_CHUNK + 500)
    import_text(SqlAudience(database, ERASURE_KEY), text)
    whole = contents(database, ids=False)
    empty_tables(database)
    nothing = contents(database, ids=False)
    file = tmp_path / "people.csv"
    file.write_text(text, encoding="utf-8")
    chance = random.Random(7)
    killed = 0
    for _ in range(4):
        process = started(database, file)
        assert process.stdout is not None
        process.stdout.readline()  # in the middle of the rows; statements follow
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        found = contents(database, ids=False)
        assert found in (nothing, whole)
    assert killed
    process = started(database, file)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert output.splitlines()[-1] == "done"
    assert contents(database, ids=False) == whole


def test_two_imports_at_once_add_everybody_once(database: sa.Engine) -> None:
    text = many_people(2_000)
    import_text(SqlAudience(database, ERASURE_KEY), text)
    whole = contents(database, ids=False)
    empty_tables(database)
    store = SqlAudience(database, ERASURE_KEY)
    together = threading.Barrier(2)

    def run(_: int) -> tuple[int, int, int]:
        together.wait()
        sums = import_text(store, text).summary
        return sums.new, sums.updated, sums.unchanged

    with ThreadPoolExecutor(2) as threads:
        first, second = sorted(threads.map(run, range(2)), reverse=True)
    assert first[0] > 1_900
    assert first[1:] == (0, 0)
    assert second == (0, 0, first[0])
    assert contents(database, ids=False) == whole


def test_two_imports_that_overlap_lose_no_tag_of_either(database: sa.Engine) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    names = [f"p{number}@example.com" for number in range(300)]
    import_text(store, "email\n" + "\n".join(names))
    together = threading.Barrier(2)

    def run(tag: str) -> None:
        together.wait()
        import_text(store, f"email,tags,{tag}\n" + "".join(f"{name},{tag},{tag}\n" for name in names))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, ("red", "blue")))
    people = list(store.people(Selection(("buzz",))))
    assert len(people) == 300
    assert all(one.tags == ("blue", "red") for one in people)
    assert all(one.attributes == {"red": "red", "blue": "blue"} for one in people)


def test_runs_planned_during_an_import_see_all_of_it_or_nothing(database: sa.Engine) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    import_text(store, "email,consent_at\nfirst@example.com,2025-01-01\n")
    text = "email,consent_at\n" + "".join(f"p{number}@example.com,2025-01-01\n" for number in range(3_000))

    def frozen(day: int) -> int:
        date = dt.date(2026, 1, 1) + dt.timedelta(days=day)
        with writing(database) as connection:
            return freeze(connection, plan_of(date, selection=Selection(("buzz",)), size=100), now=NOW)[0].planned

    with ThreadPoolExecutor(1) as thread:
        importing = thread.submit(import_text, store, text)
        planned = [frozen(0)]
        while not importing.done():
            planned.append(frozen(len(planned)))
        importing.result()
        planned.append(frozen(len(planned)))
    assert set(planned) <= {1, 3_001}
    assert planned[-1] == 3_001


def test_somebody_who_leaves_during_an_import_has_left(database: sa.Engine) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    import_text(store, "email\nana@example.com\n")
    reading, left = threading.Event(), threading.Event()

    def rows() -> Iterator[Subscriber]:
        yield Subscriber("bo@example.com", "bo@example.com", consent_at=NOW)
        reading.set()
        # SQLite has one writer at a time: there, leaving waits for the import
        left.wait(0.2)
        yield Subscriber("ana@example.com", "ana@example.com", consent_at=NOW)

    def leave() -> None:
        reading.wait(10)
        store.suppress("ana@example.com", SuppressionReason.UNSUBSCRIBE, None, source="one-click", now=LATER)
        left.set()

    with ThreadPoolExecutor(2) as threads:
        importing = threads.submit(store.import_rows, rows(), ImportTerms("buzz", "file.csv"), now=NOW)
        leaving = threads.submit(leave)
        importing.result(60)
        leaving.result(60)
    assert store.count(Selection(("buzz",))) == {"planned": 1, "suppressed": 1}


def test_somebody_who_signs_up_while_an_import_writes_is_on_the_list_once(postgres: sa.Engine) -> None:
    make_tables(postgres)
    store, form = SqlAudience(postgres, ERASURE_KEY), SqlAudience(sa.create_engine(postgres.url), ERASURE_KEY)
    import_text(store, "email\nfirst@example.com\n")
    ana = Subscriber("ana@example.com", "Ana@example.com", name="Ana")
    signed_up: list[bool] = []

    @sa.event.listens_for(postgres, "before_cursor_execute")
    def _sign_up(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        # what is there was compared by now
        if statement.startswith("INSERT INTO subscriber") and not signed_up:
            signed_up.append(form.subscribe(ana, "buzz", consent=Consent("buzz", NOW), now=NOW))

    text = "email,name,tags\nANA@example.com,Other,vip\nbo@example.com,Bo,vip\n"
    summary = import_text(store, text, now=LATER).summary
    assert signed_up == [True]
    assert summary.rows == 2
    people = {one.key: one for one in store.people(Selection(("buzz",)))}
    assert sorted(people) == ["ana@example.com", "bo@example.com", "first@example.com"]
    assert (people["ana@example.com"].name, people["ana@example.com"].memberships[0].state) == ("Ana", "subscribed")
    assert people["bo@example.com"].name == "Bo"
    assert import_text(store, text, now=LATER).summary.rows == 2
    form._engine.dispose()


@pytest.fixture
def beside(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlAudience]:
    """Another process on the same database, which waits for nobody for long."""
    monkeypatch.setattr("newsletter.store.engine.LOCK_WAIT", 1)
    engine = open_engine(database.url.render_as_string(hide_password=False), Path("/"))
    yield SqlAudience(engine, ERASURE_KEY)
    engine.dispose()


def test_nobody_waits_while_the_rows_of_an_import_are_read(database: sa.Engine, beside: SqlAudience) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    import_text(store, "email,consent_at\nana@example.com,2025-01-01\n")
    cid = Subscriber("cid@example.com", "cid@example.com")

    def rows() -> Iterator[Subscriber]:
        for number in range(_CHUNK + 200):  # some are loaded by now
            yield Subscriber(f"p{number}@example.com", f"p{number}@example.com", consent_at=NOW)
        assert beside.unsubscribe("ana@example.com", None, source="one-click", now=NOW)
        assert beside.subscribe(cid, "other", consent=Consent("other", NOW), now=NOW)
        with writing(beside._engine) as connection:
            assert freeze(connection, plan_of(selection=Selection(("buzz",)), size=9), now=NOW)
        yield Subscriber("ana@example.com", "ana@example.com", consent_at=LATER)
        yield cid

    summary = store.import_rows(rows(), ImportTerms("buzz", "file.csv"), now=LATER)
    assert (summary.new, summary.suppressed, summary.pending) == (_CHUNK + 201, 1, 1)


def test_who_is_erased_while_the_rows_are_read_stays_erased(database: sa.Engine, beside: SqlAudience) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    import_text(store, "email,consent_at\nana@example.com,2025-01-01\nbo@example.com,2025-01-01\n")

    def rows() -> Iterator[Subscriber]:
        yield Subscriber("ana@example.com", "ana@example.com", name="Ana", consent_at=LATER)
        yield Subscriber("bo@example.com", "bo@example.com", left=SuppressionReason.COMPLAINT)
        assert beside.erase("ana@example.com", source="letter", now=NOW)
        assert beside.erase("bo@example.com", source="letter", now=NOW)

    assert store.import_rows(rows(), ImportTerms("buzz", "file.csv"), now=LATER).suppressed == 2
    assert contents(database)["subscriber"] == []
    assert all(one.key.startswith("hmac:") for one in store.suppressions(standing_only=False))
    assert [one.reason for one in store.suppressions()] == ["erased", "erased", "complaint"]


def test_who_comes_back_from_being_erased_while_the_rows_are_read_is_no_longer_erased(
    database: sa.Engine, beside: SqlAudience
) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    ana, bo = (Subscriber(key, key) for key in ("ana@example.com", "bo@example.com"))
    for one in (ana, bo):
        store.erase(one.key, source="letter", now=NOW)

    def rows() -> Iterator[Subscriber]:
        yield replace(ana, left=SuppressionReason.COMPLAINT)
        yield replace(bo, lists=("weekly",), consent_at=dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
        for one, scope in ((ana, "buzz"), (bo, None)):
            assert beside.lift(one.key, scope, by=LiftedBy.CONFIRMATION, note="", now=LATER)
            assert beside.subscribe(one, "buzz", consent=Consent("buzz", LATER), now=LATER)

    store.import_rows(rows(), ImportTerms("buzz", "file.csv"), now=LATER)
    # her complaint is about somebody who is known again; his old consent is from before he was erased
    assert store.count(Selection(("buzz",))) == {"planned": 1, "suppressed": 1}
    assert store.count(Selection(("weekly",))) == {"planned": 0}


def while_writing(engine: sa.Engine, action: Callable[[], object]) -> list[object]:
    """What `action` returned: it is done once, when an import has compared its rows and begins to write."""
    done: list[object] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO subscriber") and not done:
            done.append("begun")
            done[0] = action()

    return done


def test_who_signs_up_without_a_consent_while_an_import_writes_theirs_is_subscribed(postgres: sa.Engine) -> None:
    make_tables(postgres)
    store, form = SqlAudience(postgres, ERASURE_KEY), SqlAudience(sa.create_engine(postgres.url), ERASURE_KEY)
    import_text(store, "email\nfirst@example.com\n")
    ana = Subscriber("ana@example.com", "ana@example.com")
    done = while_writing(postgres, lambda: form.subscribe(ana, "buzz", consent=None, now=NOW))
    summary = import_text(store, "email,consent_at\nana@example.com,2025-01-01\nbo@example.com,\n", now=LATER).summary
    assert done == [True]
    assert (summary.new, summary.pending) == (2, 1)
    assert store.count(Selection(("buzz",))) == {"planned": 1, "pending": 2}
    form._engine.dispose()


def test_who_leaves_and_has_it_lifted_while_an_import_writes_an_older_consent_has_left(postgres: sa.Engine) -> None:
    make_tables(postgres)
    store, form = SqlAudience(postgres, ERASURE_KEY), SqlAudience(sa.create_engine(postgres.url), ERASURE_KEY)
    import_text(store, "email\nfirst@example.com\npia@example.com\n")
    cleo = Subscriber("cleo@example.com", "cleo@example.com")

    def leave() -> bool:
        for key in ("bob@example.com", "pia@example.com", cleo.key):
            assert form.unsubscribe(key, None, source="one-click", now=NOW)
            assert form.lift(key, None, by=LiftedBy.OPERATOR, note="", now=NOW)
        return form.subscribe(cleo, "buzz", consent=Consent("buzz", LATER), now=LATER)

    done = while_writing(postgres, leave)
    text = "email,consent_at\n" + "".join(f"{name}@example.com,2025-01-01\n" for name in ("bob", "pia", "cleo", "dan"))
    import_text(store, text, now=LATER)
    assert done == [True]
    planned = store.plan(Selection(("buzz",))).members
    assert sorted(one.key for one in store.members(planned)) == ["cleo@example.com", "dan@example.com"]
    assert import_text(store, text, now=LATER).summary.suppressed == 2
    form._engine.dispose()


def test_an_import_that_lifts_and_others_who_suppress_wait_for_each_other_in_one_order(postgres: sa.Engine) -> None:
    make_tables(postgres)
    store, chance = SqlAudience(postgres, ERASURE_KEY), random.Random(3)
    keys = [f"u{chance.randrange(10**9)}@example.com" for _ in range(600)]
    store.suppress_many([(key, SuppressionReason.UNSUBSCRIBE, "") for key in keys], "buzz", source="cli", now=NOW)
    ended = threading.Event()

    def suppress(seed: int) -> None:
        some = random.Random(seed)
        for turn in range(1_000):
            if ended.is_set():
                return
            rows = [(key, SuppressionReason.COMPLAINT, "") for key in some.sample(keys, 200)]
            store.suppress_many(rows, f"new-{turn}", source="cli", now=NOW)

    def lift() -> None:
        try:
            for name in ("new-3", "other"):
                rows = [Subscriber(key, key, lists=(name, "buzz")) for key in keys]
                store.import_rows(rows, ImportTerms("buzz", "back.csv", reconsent="they wrote"), now=LATER)
        finally:
            ended.set()

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(suppress, 1), threads.submit(suppress, 2), threads.submit(lift)]
        for one in running:
            one.result(120)


def test_a_full_disk_is_told_changes_nothing_and_the_rerun_completes(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path)
    make_tables(engine)
    store = SqlAudience(engine, ERASURE_KEY)
    import_text(store, many_people(50))
    before = contents(engine)
    text = many_people(3_000)
    limit = True

    @sa.event.listens_for(engine, "begin")
    def _limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20 if limit else 1 << 30}")

    with pytest.raises(OutputError, match="the disk is full; nothing was changed"):
        import_text(store, text)
    limit = False
    assert contents(engine) == before
    sums = import_text(store, text).summary
    assert sums.new > 2_900
    assert import_text(store, text).summary.unchanged == sums.new + sums.unchanged + sums.updated
    engine.dispose()


def test_an_import_whose_rows_fail_changes_nothing(database: sa.Engine) -> None:
    store = SqlAudience(database, ERASURE_KEY)

    def rows() -> Iterator[Subscriber]:
        for number in range(_CHUNK + 10):
            yield Subscriber(f"p{number}@example.com", f"p{number}@example.com", lists=("new",))
        raise ValueError("the file ends in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        store.import_rows(rows(), ImportTerms("buzz", "file.csv"), now=NOW)
    assert not any(contents(database)[table.name] for table in tables.metadata.sorted_tables)
    # the same connection works on
    assert store.import_rows([], ImportTerms("buzz", "file.csv"), now=NOW).rows == 0
