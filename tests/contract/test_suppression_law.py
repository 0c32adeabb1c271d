"""Suppression is law: any order of imports, sign-ups, departures, pauses, bounces, complaints, lifts and erasures.

A model in plain Python, written from docs/reference/suppression.md and not from the SQL, says after each step who may
be mailed and which suppressions stand; the database must say the same, and must have kept every record.
"""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent, Departure, ImportTerms, LiftedBy, Selection, SuppressionReason
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunPlan
from newsletter.errors import GuardRefused
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import writing
from newsletter.store.freezing import freeze
from newsletter.store.packing import unpack
from newsletter.store.suppressions import erased_key

START = dt.datetime(2026, 1, 7, tzinfo=dt.UTC)
DAYS = dt.timedelta(days=30)
PEOPLE = ("anna@example.com", "ben@example.com")
#: Somebody whom nothing happens to.
FIRST = "first@example.com"
#: The last is on nobody's mind until somebody names it.
LISTS = ("buzz", "weekly", "promo")
#: What the person alone may end; all else needs an operator.
YIELDING = {"unsubscribe", "erased"}
#: Only what a provider or an operator reports; the rest has rules of its own.
REPORTED = [SuppressionReason.HARD_BOUNCE, SuppressionReason.COMPLAINT, SuppressionReason.MANUAL]
#: Where a file comes from; nobody can tell one standard input from another.
FILES = ("a.csv", "b.csv", "standard input")

people = st.sampled_from(PEOPLE)
lists = st.sampled_from(LISTS)
scopes = st.sampled_from([*LISTS, None])
#: Hours before now, or no time at all.
times = st.sampled_from([None, 0, 2, 7, 50])


@dataclass(frozen=True)
class Row:
    """A row of a file: whose, for which list, with a consent of some hours ago, or saying why they left and when."""

    key: str
    name: str
    ago: int | None
    left: SuppressionReason | None = None
    left_ago: int | None = None
    everywhere: bool | None = None

    def at(self, now: dt.datetime) -> Subscriber:
        consent_at, left_at = (
            None if ago is None else now - dt.timedelta(hours=ago) for ago in (self.ago, self.left_ago)
        )
        return Subscriber(
            self.key,
            self.key,
            lists=(self.name,),
            consent_at=consent_at,
            left=self.left,
            left_at=left_at,
            left_everywhere=self.everywhere,
        )


reasons_to_leave = st.sampled_from([*REPORTED, *[SuppressionReason.UNSUBSCRIBE] * 3])
staying = st.builds(Row, people, lists, times)
leaving = st.builds(Row, people, lists, times, reasons_to_leave, times, st.sampled_from([None, None, True, False]))
rows = staying | staying | leaving


@dataclass
class Record:
    """A suppression: of one list, or of all (None); `lifts`: when it was lifted for which list, or for all (None)."""

    reason: str
    scope: str | None
    at: dt.datetime
    source: str
    lifts: list[tuple[str | None, dt.datetime]] = field(default_factory=list)

    def is_for(self, name: str) -> bool:
        return self.scope in {None, name}

    def ended(self, name: str | None) -> list[dt.datetime]:
        """When it was lifted for this list; for None, for any list."""
        return [at for of, at in self.lifts if of is None or name in {None, of}]

    def stands(self) -> bool:
        return None not in [of for of, _ in self.lifts]

    def stands_for(self, name: str) -> bool:
        return self.is_for(name) and not self.ended(name)

    def repeats(self, reason: str, scope: str | None, left_at: dt.datetime | None, source: str) -> bool:
        """Whether it says already what a row of a file says."""
        if self.reason != reason or self.scope not in {None, scope}:
            return False
        ended = self.ended(scope)
        if left_at is None:
            return not ended or (self.source == source and "standard input" not in source)
        return any(at >= left_at for at in ended) or (not ended and self.at >= left_at)


@dataclass
class Known:
    """What the model knows of one address."""

    #: By list.
    states: dict[str, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    #: What is kept under the hash.
    hashed: list[Record] = field(default_factory=list)
    #: Something is held under the address itself, if only a record that was lifted.
    known: bool = False
    #: They wish no mail for now.
    paused: bool = False

    @property
    def erased(self) -> bool:
        return any(one.stands() for one in self.hashed)

    def held(self, name: str) -> bool:
        return self.erased or any(one.stands_for(name) for one in self.records)

    def eligible(self, name: str) -> bool:
        return not self.held(name) and self.states.get(name) == "subscribed" and not self.paused

    def subscribe(self, name: str, consent: dt.datetime | None, claim: bool = False) -> bool:
        if self.held(name):
            return False
        if self.states.get(name) != "subscribed":
            left = [one.at for one in (*self.records, *self.hashed) if one.reason in YIELDING and one.is_for(name)]
            if left and (consent is None or consent < max(left)):
                return False
            self.states[name] = "subscribed" if consent or claim else "pending"
        self.known = True
        return True

    def suppress(self, reason: str, scope: str | None, now: dt.datetime, source: str) -> bool:
        if self.erased:
            return self._add(self.hashed, Record(reason, None, now, source))
        new = self._add(self.records, Record(reason, scope, now, source))
        if new:
            self.follow(self.records[-1])
        return new

    @staticmethod
    def _add(records: list[Record], new: Record) -> bool:
        for one in records:
            if (one.reason, one.scope) == (new.reason, new.scope) and not one.lifts:
                return False
        records.append(new)
        return True

    def follow(self, record: Record) -> None:
        """Who left is on no list that they left."""
        self.known = True
        if record.reason == "unsubscribe":
            self.states = {
                name: "unsubscribed" if record.is_for(name) else state for name, state in self.states.items()
            }

    def unsubscribe(self, scope: str | None, now: dt.datetime) -> bool:
        left = [one for one in self.records if one.reason == "unsubscribe"]
        if self.erased or any(one.stands_for(scope) if scope else one.scope is None and not one.lifts for one in left):
            return False
        return self.suppress("unsubscribe", scope, now, "one-click")

    def lift(self, name: str | None, by: LiftedBy, now: dt.datetime) -> int | None:
        """How many end; None where one of them may not."""
        held = [one for one in self.records if (one.stands_for(name) if name else one.stands())]
        of_hash = [one for one in self.hashed if one.stands()]
        if by is not LiftedBy.OPERATOR and {one.reason for one in (*held, *of_hash)} - YIELDING:
            return None
        for one in held:
            one.lifts.append((None if one.scope else name, now))
        for one in of_hash:
            one.lifts.append((None, now))
            if name:
                reason = "unsubscribe" if one.reason == "erased" else one.reason
                self.records.append(Record(reason, None, one.at, one.source, [(name, now)]))
                self.known = True
        return len(held) + len(of_hash)

    def erase(self, now: dt.datetime) -> bool:
        known, self.known = self.known, False
        there = {one.reason for one in self.hashed if one.stands()}
        lasting = {one.reason for one in self.records if one.stands()} - YIELDING
        self.hashed += [Record(reason, None, now, "letter") for reason in (lasting | {"erased"}) - there]
        self.states, self.records, self.paused = {}, [], False
        return known

    def left_by_file(self, rows: list[Subscriber], now: dt.datetime, source: str) -> None:
        """The rows of a file that say that somebody left: each is news, or it is known."""
        news: dict[tuple[str, str | None], dt.datetime] = {}
        for row in rows:
            assert row.left
            everywhere = row.left != "unsubscribe" if row.left_everywhere is None else row.left_everywhere
            scope = None if everywhere or self.erased else row.lists[0]
            said = (row.left.value, scope, row.left_at, source)
            under_hash = (row.left.value, None, row.left_at, source)
            here = [] if self.erased else self.records
            if not any(one.repeats(*said) for one in here) and not any(one.repeats(*under_hash) for one in self.hashed):
                news[row.left.value, scope] = max(news.get((row.left.value, scope), START - DAYS), row.left_at or now)
        for (reason, scope), at in news.items():
            record = Record(reason, scope, at, source)
            if self.erased:
                self.hashed.append(record)
            else:
                self.records.append(record)
                self.follow(record)


class Law(RuleBasedStateMachine):
    """The steps, taken on the database and on the model."""

    def __init__(self, store: SqlAudience, database: sa.Engine) -> None:
        super().__init__()
        self.store = store
        self.database = database
        self.hours = 0
        self.runs = 0
        self.model = {key: Known() for key in PEOPLE}
        self.erased: str | None = None
        self.records: dict[str, dict[tuple[object, ...], str]] = {}
        for name in LISTS[:2]:
            store.subscribe(Subscriber(FIRST, FIRST), name, consent=None, now=START)

    @property
    def now(self) -> dt.datetime:
        """Each step has an hour of its own."""
        self.hours += 1
        return START + dt.timedelta(hours=self.hours)

    @rule(key=people, name=lists, ago=times)
    def subscribe(self, key: str, name: str, ago: int | None) -> None:
        now = self.now
        at = None if ago is None else now - dt.timedelta(hours=ago)
        said = Consent(name, at, source="form") if at else None
        done = self.store.subscribe(Subscriber(key, key), name, consent=said, now=now)
        assert done is self.model[key].subscribe(name, at)

    @rule(key=people, name=lists)
    def confirm(self, key: str, name: str) -> None:
        """What the link in a confirmation mail does."""
        now = self.now
        done = self.store.confirm(Subscriber(key, key), name, consent=Consent(name, now), now=now)
        assert done is (self.model[key].lift(name, LiftedBy.CONFIRMATION, now) is not None)
        if done:
            assert self.model[key].subscribe(name, now)

    @rule(key=people, name=lists, ago=times)
    def add_again(self, key: str, name: str, ago: int | None) -> None:
        """What `subscribers add --reconsent` does: all of it, or nothing."""
        now = self.now
        at = now - dt.timedelta(hours=ago or 0)
        before = copy.deepcopy(self.model[key])
        ended = self.model[key].lift(name, LiftedBy.OPERATOR, now)
        row, said = Subscriber(key, key), Consent(name, at)
        if self.model[key].subscribe(name, at):
            assert self.store.resubscribe(row, name, consent=said, why="they wrote", now=now) == ended
        else:
            self.model[key] = before
            with pytest.raises(GuardRefused):
                self.store.resubscribe(row, name, consent=said, why="they wrote", now=now)

    @rule(key=people, scope=scopes, by=st.sampled_from(LiftedBy))
    def lift(self, key: str, scope: str | None, by: LiftedBy) -> None:
        self._lift(key, scope, by, self.now)

    @rule(key=people, name=lists, scope=st.sampled_from([*LISTS, None, "erase"]), ago=times, ways=st.integers(0, 7))
    def leave_by_mistake(self, key: str, name: str, scope: str | None, ago: int | None, ways: int) -> None:
        """Somebody leaves or is erased, an operator undoes it, for one list or all, and somebody brings a consent: from
        before they left, or since."""
        if scope == "erase":
            self.erase(key)
        else:
            self.unsubscribe(key, scope)
        self._lift(key, name if ways & 1 else None, LiftedBy.OPERATOR, self.now)
        if ways & 2:
            told = [Row(key, name, None)] * bool(ways & 4) + [Row(key, name, ago)]
            self.import_file(told, file="a.csv", claim=False, reconsent=False, dry_run=False)
        else:
            self.subscribe(key, name, ago)

    @rule(key=people, scope=scopes)
    def unsubscribe(self, key: str, scope: str | None) -> None:
        now = self.now
        done = self.store.unsubscribe(key, scope, source="one-click", now=now)
        assert done is self.model[key].unsubscribe(scope, now)

    @rule(those=st.lists(st.tuples(people, st.lists(lists, max_size=2)), max_size=4))
    def leave(self, those: list[tuple[str, list[str]]]) -> None:
        """What the links in a mail do, of several people at once; who is in no table has no number."""
        now = self.now
        ids = {key: self._number(key) for key, _ in those}
        departures = [Departure(ids[key], tuple(names), "one-click") for key, names in those]
        expected = [sum(self.model[key].unsubscribe(name, now) for name in names if ids[key]) for key, names in those]
        assert self.store.leave(departures, now=now) == [number > 0 for number in expected]

    @rule(key=people, pauses=st.booleans())
    def pause(self, key: str, pauses: bool) -> None:
        number = self._number(key)
        assert self.store.pause(number, START + 10_000 * DAYS if pauses else None) is bool(number)
        self.model[key].paused = pauses and bool(number)

    @rule(key=people, scope=scopes, reason=st.sampled_from(REPORTED))
    def suppress(self, key: str, scope: str | None, reason: SuppressionReason) -> None:
        now = self.now
        done = self.store.suppress(key, reason, scope, source="provider", now=now)
        assert done is self.model[key].suppress(reason, scope, now, "provider")

    @rule(keys=st.lists(people, max_size=5), scope=scopes, reason=st.sampled_from([*REPORTED, "unsubscribe"]))
    def suppress_a_file(self, keys: list[str], scope: str | None, reason: str) -> None:
        now = self.now
        rows = [(key, SuppressionReason(reason), "") for key in keys]
        done = self.store.suppress_many(rows, scope, source="file", now=now)
        assert done == sum(self.model[key].suppress(reason, scope, now, "file") for key in keys)

    @rule(key=people)
    def erase(self, key: str) -> None:
        now = self.now
        assert self.store.erase(key, source="letter", now=now) is self.model[key].erase(now)
        self.erased = key

    @rule(
        rows=st.lists(rows, max_size=6),
        file=st.sampled_from(FILES),
        claim=st.booleans(),
        reconsent=st.booleans(),
        dry_run=st.sampled_from([False, False, True]),
    )
    def import_file(self, rows: list[Row], file: str, claim: bool, reconsent: bool, dry_run: bool) -> None:
        """A file, with consents or without, with people who left; perhaps with the operator's word for some of it."""
        now = self.now
        terms = ImportTerms(
            "buzz",
            file,
            confirmed_by="an operator" if claim else "",
            reconsent="they wrote" if reconsent else "",
            named=file != "standard input",
        )
        given = [one.at(now) for one in rows]
        summary = self.store.import_rows(given, terms, now=now, dry_run=dry_run)
        counted = (summary.new, summary.updated, summary.unchanged, summary.suppressed, summary.duplicate)
        assert summary.rows == len(rows) == sum(counted)
        before = copy.deepcopy(self.model)
        assert summary.suppressed == self._model_import(given, terms, now)
        if dry_run:
            self.model = before

    @rule(key=people, name=lists, reason=reasons_to_leave, days=st.lists(times, min_size=2, max_size=2))
    def the_same_file_later(self, key: str, name: str, reason: SuppressionReason, days: list[int | None]) -> None:
        """A file says that somebody left; they come back; the file of that name says it again, or anew."""
        for left_ago in days:
            row = Row(key, name, None, reason, left_ago)
            self.import_file([row], file="a.csv", claim=False, reconsent=False, dry_run=False)
            if left_ago == days[0]:
                self.add_again(key, name, 0)

    @rule(name=lists)
    def freeze(self, name: str) -> None:
        """Every member of a run is somebody who may be mailed, and everyone who may be is in it."""
        self.runs += 1
        slot = (START + dt.timedelta(days=self.runs)).date()
        plan = RunPlan(
            RunName(name, str(slot)), slot, "", Selection((name,)), "", "", "disk", batch_size=2, deadline=self.now
        )
        with writing(self.database) as connection:
            frozen, _uid = freeze(connection, plan, now=self.now)
            of_run = sa.select(tables.batch.c.members).where(tables.batch.c.run_id == frozen.run_id)
            ids = [one for packed in connection.scalars(of_run) for one in unpack(packed)]
        members = [one.key for one in self.store.members(ids)]
        assert sorted(members) == [key for key in PEOPLE if self.model[key].eligible(name)]

    @invariant()
    def nobody_is_mailed_whom_a_suppression_holds(self) -> None:
        with self.database.connect() as connection:
            ids = {row.key: row.id for row in connection.execute(sa.select(tables.subscriber))}
        may_be_mailed = {name: {ids[key] for key in PEOPLE if self.model[key].eligible(name)} for name in LISTS}
        for name in LISTS:
            assert set(self.store.plan(Selection((name,))).members) == may_be_mailed[name]
        assert self.store.count(Selection(LISTS))["planned"] == len(set().union(*may_be_mailed.values()))

    @invariant()
    def everyone_is_in_the_state_that_they_said(self) -> None:
        on = tables.membership.join(tables.subscriber).join(tables.mailing_list)
        rows = sa.select(tables.subscriber.c.key, tables.mailing_list.c.name, tables.membership.c.state)
        with self.database.connect() as connection:
            found = [tuple(row) for row in connection.execute(rows.select_from(on))]
        expected = [(key, name, state) for key in PEOPLE for name, state in self.model[key].states.items()]
        assert sorted(one for one in found if one[0] != FIRST) == sorted(expected)

    @invariant()
    def what_stands_is_what_was_said_and_not_lifted(self) -> None:
        found = [
            (one.key, one.reason.value, one.list or "", one.at, sorted(each.list or "" for each in one.lifted_for))
            for one in self.store.suppressions()
        ]
        expected = [
            (under, one.reason, one.scope or "", one.at, sorted(name or "" for name, _ in one.lifts))
            for key, known in self.model.items()
            for under, records in ((key, known.records), (erased_key(ERASURE_KEY, key), known.hashed))
            for one in records
            if one.stands()
        ]
        assert sorted(found) == sorted(expected)

    @invariant()
    def no_record_is_changed_or_deleted_but_by_erasing_its_person(self) -> None:
        records = self._records()
        for table, before in self.records.items():
            gone = before.keys() - records[table].keys()
            assert {before[row] for row in gone} <= {self.erased}, table
        self.records, self.erased = records, None

    @invariant()
    def an_erased_person_is_nowhere(self) -> None:
        for key in PEOPLE:
            if self.model[key].erased:
                with self.database.connect() as connection:
                    known = sa.select(tables.subscriber.c.id).where(tables.subscriber.c.key == key)
                    assert connection.execute(known).all() == []

    def _number(self, key: str) -> int:
        """The person's number; nobody's where they are in no table."""
        with self.database.connect() as connection:
            number = sa.select(tables.subscriber.c.id).where(tables.subscriber.c.key == key)
            return connection.scalar(number) or 0

    def _lift(self, key: str, scope: str | None, by: LiftedBy, now: dt.datetime) -> bool:
        expected = self.model[key].lift(scope, by, now)
        if expected is None:
            with pytest.raises(GuardRefused):
                self.store.lift(key, scope, by=by, note="", now=now)
            return False
        assert self.store.lift(key, scope, by=by, note="", now=now) == expected
        return True

    def _model_import(self, rows: list[Subscriber], terms: ImportTerms, now: dt.datetime) -> int:
        """How many rows count as suppressed."""
        for key, known in self.model.items():
            known.left_by_file([one for one in rows if one.left and one.key == key], now, f"import of {terms.source}")
        staying = [one for one in rows if not one.left]
        done = {(one.key, one.lists[0]): False for one in staying}
        if terms.reconsent:
            for key, name in done:
                self.model[key].lift(name, LiftedBy.OPERATOR, now)
        for one in staying:
            consent = now if terms.reconsent else one.consent_at
            claim = bool(terms.confirmed_by) and not one.consent_at
            done[one.key, one.lists[0]] |= self.model[one.key].subscribe(one.lists[0], consent, claim)
        held = [one for one in rows if one.left and self.model[one.key].held(one.lists[0])]
        return len(held) + list(done.values()).count(False)

    def _records(self) -> dict[str, dict[tuple[object, ...], str]]:
        """The rows of the append-only tables, each with the key of the person it is about."""
        with self.database.connect() as connection:
            ids = {row.id: row.key for row in connection.execute(sa.select(tables.subscriber))}
            suppressions = {tuple(row): row.key for row in connection.execute(sa.select(tables.suppression))}
            of = {row[0]: key for row, key in suppressions.items()}
            lifts = {
                tuple(row): of[row.suppression_id] for row in connection.execute(sa.select(tables.suppression_lift))
            }
            said = {tuple(row): ids[row.subscriber_id] for row in connection.execute(sa.select(tables.consent))}
        return {"suppression": suppressions, "suppression_lift": lifts, "consent": said}


def test_suppression_is_law_in_any_order_of_events(database: sa.Engine) -> None:
    def begin() -> Law:
        empty_tables(database)
        return Law(SqlAudience(database, ERASURE_KEY), database)

    examples = 60 if database.dialect.name == "sqlite" else 6
    run_state_machine_as_test(begin, settings=settings(max_examples=examples, stateful_step_count=20))  # type: ignore[arg-type]  # a function that makes one will do
