"""One person at a time: subscribing, leaving, being shown and being erased, on both databases."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, make_tables, sqlite_engine

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, ImportTerms, LiftedBy, Selection, SuppressionReason
from newsletter.errors import GuardRefused
from newsletter.pipeline.people import add_person
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, sqlite_path
from newsletter.store.erasure_key import erasure_key
from newsletter.store.tables import metadata

START = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
ANNA = Subscriber(
    "anna@example.com", "Anna@example.com", name="Anna", tags=("vip", "press"), attributes={"city": "Łódź"}
)


def at(hours: float) -> dt.datetime:
    return START + dt.timedelta(hours=hours)


def consent(hours: float, wording: str = "Yes, send me the Buzz") -> Consent:
    return Consent("buzz", at(hours), source="form", wording=wording, ip="192.0.2.7")


def state(store: SqlAudience, key: str = ANNA.key, list_name: str = "buzz") -> ConsentState | None:
    person = store.person(key)
    return next((one.state for one in person.memberships if one.list == list_name), None) if person else None


def mailed(store: SqlAudience, *lists: str) -> int:
    return store.count(Selection(lists or ("buzz",))).get("planned", 0)


def test_everything_said_about_a_person_is_read_back(audience_store: SqlAudience) -> None:
    row = dataclasses.replace(ANNA, language="pl", timezone="Europe/Warsaw")
    assert audience_store.subscribe(row, "buzz", consent=consent(0), now=at(1))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert (person.key, person.address, person.name) == ("anna@example.com", "Anna@example.com", "Anna")
    assert (person.language, person.timezone) == ("pl", "Europe/Warsaw")
    assert person.tags == ("press", "vip")
    assert person.attributes == {"city": "Łódź"}
    assert person.created_at == at(1)
    assert [(one.list, one.state, one.since) for one in person.memberships] == [("buzz", "subscribed", at(1))]
    assert person.consents == (dataclasses.replace(consent(0), recorded_at=at(1)),)
    assert person.suppressions == ()


def test_nothing_is_known_of_a_stranger(audience_store: SqlAudience) -> None:
    assert audience_store.person("nobody@example.com") is None


def test_without_a_consent_somebody_waits_and_is_not_mailed(audience_store: SqlAudience) -> None:
    assert audience_store.subscribe(ANNA, "buzz", consent=None, now=at(0))
    assert state(audience_store) is ConsentState.PENDING
    assert mailed(audience_store) == 0
    assert audience_store.subscribe(ANNA, "buzz", consent=consent(1), now=at(1))
    assert state(audience_store) is ConsentState.SUBSCRIBED
    assert mailed(audience_store) == 1


def test_being_put_on_a_list_again_without_a_consent_takes_nothing_back(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    assert audience_store.subscribe(Subscriber(ANNA.key, "ANNA@example.com"), "buzz", consent=None, now=at(1))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert person.memberships[0].state is ConsentState.SUBSCRIBED
    assert person.memberships[0].since == at(0)
    assert (person.name, person.address) == ("Anna", "Anna@example.com")


def test_a_later_row_adds_to_what_is_known_and_empties_nothing(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=None, now=at(0))
    more = Subscriber(ANNA.key, ANNA.address, language="pl", tags=("long reads",), attributes={"source": "fair"})
    audience_store.subscribe(more, "buzz", consent=None, now=at(1))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert (person.name, person.language) == ("Anna", "pl")
    assert person.tags == ("long-reads", "press", "vip")
    assert person.attributes == {"city": "Łódź", "source": "fair"}


def test_the_same_consent_is_recorded_once_and_another_beside_it(audience_store: SqlAudience) -> None:
    for hours in (0, 0, 3):
        audience_store.subscribe(ANNA, "buzz", consent=consent(hours), now=at(hours))
    audience_store.subscribe(ANNA, "buzz", consent=consent(3, "other words"), now=at(4))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert [(one.at, one.wording) for one in person.consents] == [
        (at(0), "Yes, send me the Buzz"),
        (at(3), "Yes, send me the Buzz"),
        (at(3), "other words"),
    ]


def test_who_leaves_a_list_stays_on_the_others(audience_store: SqlAudience) -> None:
    for name in ("buzz", "weekly"):
        audience_store.subscribe(ANNA, name, consent=consent(0), now=at(0))
    assert audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(1))
    assert state(audience_store) is ConsentState.UNSUBSCRIBED
    assert state(audience_store, list_name="weekly") is ConsentState.SUBSCRIBED
    assert (mailed(audience_store), mailed(audience_store, "weekly")) == (0, 1)


def test_who_leaves_all_lists_leaves_those_too_that_they_were_never_on(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    assert audience_store.unsubscribe(ANNA.key, None, source="one-click", now=at(1))
    assert not audience_store.subscribe(ANNA, "weekly", consent=consent(2), now=at(2))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert [one.list for one in person.memberships] == ["buzz"]
    assert [(one.reason, one.list, one.source) for one in person.suppressions] == [("unsubscribe", None, "one-click")]


def test_leaving_twice_is_no_error_and_one_record(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    assert audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(1))
    assert not audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(2))
    assert audience_store.unsubscribe(ANNA.key, None, source="one-click", now=at(3))
    assert not audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(4))
    assert [one.list for one in audience_store.suppressions()] == ["buzz", None]


def test_a_stranger_can_leave_and_is_kept_out(audience_store: SqlAudience) -> None:
    assert audience_store.unsubscribe("nobody@example.com", "buzz", source="letter", now=at(0))
    stranger = Subscriber("nobody@example.com", "nobody@example.com")
    assert not audience_store.subscribe(stranger, "buzz", consent=consent(1), now=at(1))
    assert audience_store.person("nobody@example.com").id is None  # type: ignore[union-attr]


def test_a_consent_from_before_they_left_brings_nobody_back(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(2))
    audience_store.lift(ANNA.key, "buzz", by=LiftedBy.OPERATOR, note="she wrote", now=at(3))
    assert state(audience_store) is ConsentState.UNSUBSCRIBED
    for said in (consent(0), consent(1.9), None, consent(1)):
        assert not audience_store.subscribe(ANNA, "buzz", consent=said, now=at(4))
    assert state(audience_store) is ConsentState.UNSUBSCRIBED
    assert mailed(audience_store) == 0
    assert audience_store.subscribe(ANNA, "buzz", consent=consent(5), now=at(5))
    assert mailed(audience_store) == 1


def test_coming_back_by_an_operator_is_done_as_a_whole_or_not_at_all(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.unsubscribe(ANNA.key, None, source="one-click", now=at(2))
    before = stored_text(database)
    with pytest.raises(GuardRefused, match="left buzz after"):
        audience_store.resubscribe(ANNA, "buzz", consent=consent(1), why="she wrote", now=at(3))
    assert stored_text(database) == before
    stop = {"at": "INSERT INTO consent"}  # after the lift

    @sa.event.listens_for(database, "before_cursor_execute")
    def _stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(stop["at"]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_person(audience_store, ANNA, "buzz", consent=None, reconsent="she wrote", now=at(4))
    assert stored_text(database) == before
    stop["at"] = "nothing"
    added = add_person(audience_store, ANNA, "buzz", consent=None, reconsent="she wrote", now=at(4))
    assert (added.state, added.lifted) == (ConsentState.SUBSCRIBED, 1)
    assert (mailed(audience_store), mailed(audience_store, "weekly")) == (1, 0)


def stored_text(database: sa.Engine) -> str:
    with database.connect() as connection:
        return repr([connection.execute(sa.select(table)).all() for table in metadata.sorted_tables])


def test_an_erased_person_is_in_no_table(audience_store: SqlAudience, database: sa.Engine) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(1), note="Anna wrote")
    audience_store.lift(ANNA.key, "buzz", by=LiftedBy.CONFIRMATION, note="Anna came back", now=at(2))
    assert audience_store.erase(ANNA.key, source="letter", now=at(3))
    assert "anna" not in stored_text(database).casefold()
    assert "192.0.2.7" not in stored_text(database)
    [left] = audience_store.suppressions(standing_only=False)
    assert left.key.startswith("hmac:")
    assert (left.reason, left.list, left.source, left.at) == (SuppressionReason.ERASED, None, "letter", at(3))


def test_erasing_touches_nobody_else(audience_store: SqlAudience) -> None:
    other = Subscriber("anna@example.com.example", "anna@example.com.example")
    for one in (ANNA, other):
        audience_store.subscribe(one, "buzz", consent=consent(0), now=at(0))
        audience_store.suppress(one.key, SuppressionReason.MANUAL, "weekly", source="desk", now=at(0))
    before = audience_store.person(other.key)
    audience_store.erase(ANNA.key, source="letter", now=at(1))
    assert audience_store.person(other.key) == before


def test_erasing_again_changes_nothing(audience_store: SqlAudience, database: sa.Engine) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    assert audience_store.erase(ANNA.key, source="letter", now=at(1))
    before = stored_text(database)
    assert not audience_store.erase(ANNA.key, source="letter", now=at(2))
    assert stored_text(database) == before


def test_whoever_asks_to_be_erased_before_they_are_known_is_kept_out(audience_store: SqlAudience) -> None:
    assert not audience_store.erase(ANNA.key, source="letter", now=at(0))
    assert not audience_store.subscribe(ANNA, "buzz", consent=consent(1), now=at(1))


def bytes_of(engine: sa.Engine) -> bytes:
    """All files of an SQLite database, its write-ahead log with them."""
    path = sqlite_path(engine)
    assert path is not None
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def test_no_byte_of_an_erased_person_stays_in_the_files(tmp_path: Path) -> None:
    """Pages that were split, rows that grew, and the log of a database that stays open keep what was there before."""
    engine = sqlite_engine(tmp_path)
    make_tables(engine)
    store, chance = SqlAudience(engine, ERASURE_KEY), random.Random(5)
    keys = [f"p{chance.randrange(10**9):09}@example.com" for _ in range(4_000)]
    for some in range(0, len(keys), 500):
        rows = [Subscriber(key, key, name=f"Name of {key}") for key in keys[some : some + 500]]
        store.import_rows(rows, ImportTerms("buzz", "a file", confirmed_by="me"), now=at(0))
    gone = keys[::100]
    for key in gone:
        store.subscribe(Subscriber(key, key, name="x" * chance.randrange(150) + key), "other", consent=None, now=at(1))
        store.suppress(key, SuppressionReason.COMPLAINT, None, source="provider", note=f"by {key}", now=at(1))
    assert all(key.encode() in bytes_of(engine) for key in gone)
    for key in gone:
        assert store.erase(key, source="letter", now=at(2))
    assert store.scrub()
    held = bytes_of(engine)
    assert [key for key in gone if key.encode() in held] == []
    assert keys[1].encode() in held
    engine.dispose()


def test_files_that_somebody_reads_at_this_moment_are_scrubbed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.store.engine._SCRUB_WAIT", 0)
    engine = sqlite_engine(tmp_path)
    make_tables(engine)
    store = SqlAudience(engine, ERASURE_KEY)
    store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    with reading(engine) as reader:
        reader.execute(sa.text("SELECT count(*) FROM subscriber"))
        assert store.erase(ANNA.key, source="letter", now=at(1))
        assert not store.scrub()
        assert b"anna@example.com" in bytes_of(engine)
    assert store.scrub()
    assert b"anna@example.com" not in bytes_of(engine)
    assert mailed(store) == 0
    engine.dispose()


def test_an_erased_person_comes_back_by_their_own_confirmation_as_somebody_new(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.subscribe(ANNA, "weekly", consent=consent(0), now=at(0))
    first = audience_store.person(ANNA.key)
    audience_store.erase(ANNA.key, source="letter", now=at(1))
    assert not audience_store.subscribe(ANNA, "buzz", consent=consent(2), now=at(2))
    assert audience_store.lift(ANNA.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(2)) == 1
    assert audience_store.subscribe(ANNA, "buzz", consent=consent(2), now=at(2))
    second = audience_store.person(ANNA.key)
    assert first is not None
    assert second is not None
    assert second.id != first.id
    assert mailed(audience_store) == 1
    # an old file may still say that she asked for the other list
    assert not audience_store.subscribe(ANNA, "weekly", consent=consent(0), now=at(3))


@pytest.mark.parametrize(
    "reason", [SuppressionReason.COMPLAINT, SuppressionReason.HARD_BOUNCE, SuppressionReason.MANUAL]
)
def test_being_erased_is_no_way_around_what_only_an_operator_lifts(
    audience_store: SqlAudience, reason: SuppressionReason
) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.suppress(ANNA.key, reason, "buzz", source="provider", now=at(1), note="anna said so")
    audience_store.erase(ANNA.key, source="letter", now=at(2))
    with pytest.raises(GuardRefused, match=reason.value):
        audience_store.lift(ANNA.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(3))
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert {(one.reason, one.note) for one in person.suppressions} == {(reason, ""), (SuppressionReason.ERASED, "")}
    assert audience_store.lift(ANNA.key, None, by=LiftedBy.OPERATOR, note="she called", now=at(4)) == 2
    assert audience_store.subscribe(ANNA, "buzz", consent=consent(5), now=at(5))


def test_what_comes_in_about_an_erased_person_is_kept_under_the_hash(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))
    audience_store.erase(ANNA.key, source="letter", now=at(1))
    words = "550 <anna@example.com> said no"
    assert audience_store.suppress(
        ANNA.key, SuppressionReason.COMPLAINT, "buzz", source="provider", note=words, now=at(2)
    )
    assert not audience_store.suppress(ANNA.key, SuppressionReason.COMPLAINT, "weekly", source="provider", now=at(3))
    assert not audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(4))
    assert "anna" not in stored_text(database)
    with pytest.raises(GuardRefused):
        audience_store.lift(ANNA.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(5))


def test_the_erasure_key_is_made_once_by_whoever_comes_first(database: sa.Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: erasure_key(database), range(8)))
    assert len(keys) == 1
    assert len(keys.pop()) == 32


def test_many_who_do_the_same_at_once_make_one_person_and_one_record(audience_store: SqlAudience) -> None:
    def subscribe(_: int) -> bool:
        return audience_store.subscribe(ANNA, "buzz", consent=consent(0), now=at(0))

    def leave(_: int) -> bool:
        return audience_store.unsubscribe(ANNA.key, "buzz", source="one-click", now=at(1))

    def come_back(_: int) -> int:
        return audience_store.lift(ANNA.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(2))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(subscribe, range(6)))
        assert sum(threads.map(leave, range(6))) == 1
        assert sum(threads.map(come_back, range(6))) == 1
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert (len(person.consents), len(person.suppressions)) == (1, 1)
