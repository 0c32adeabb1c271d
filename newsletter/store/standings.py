"""Everyone on some lists, in one standing each, the lists read from end to end.

The law is that of `eligible`, which is asked of a few people who are named. Here the states of a list come as texts of
ids, some thousand a time, and those whom something else keeps out are taken from them: a row of its own for each of a
million people takes twice the time, and so does a join with everything else in the database.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import ConsentState
from newsletter.audience.people import Selection
from newsletter.store.selecting import ELIGIBLE, PAUSED, PENDING, SUPPRESSED, Unindexed, fits, kept_out, list_ids
from newsletter.store.suppressions import standing_suppression
from newsletter.store.tables import membership, subscriber

#: How many of a list are looked at together.
_PEOPLE_A_TIME = 10_000
_EVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Barred:
    """The ids of those who get nothing whatever their states say, ascending: whom a suppression keeps from a list, by
    the list, and who wish no mail yet. 8 bytes a person."""

    kept: Mapping[int, array[int]]
    pausing: array[int]


def everyone(
    connection: sa.Connection, selection: Selection, now: int, *, zoned: bool = False
) -> Iterator[dict[tuple[int, str], list[int]]]:
    """{(standing at `now`, time zone): ids, ascending} of everyone selected, once each, some thousand people a time;
    the ids of those who come later are larger. `now` in seconds. Unless `zoned`, all time zones are ''.

    Whatever else is written meanwhile, everyone is seen in one standing, and the sum is right: a person's states come
    in one statement, after what keeps people out. Who is kept out since then is left out when they are claimed.
    """
    lists = list_ids(connection, selection)
    barred = _Barred(_kept(connection, lists), _pausing(connection, now))
    states = _states(selection, lists, zoned=zoned)
    after = 0
    while after < _EVER:
        upto = _end(connection, lists, after)
        yield _standings(connection.execute(states, {"after": after, "upto": upto}).all(), barred, after, upto)
        after = upto


def numbers(connection: sa.Connection, selection: Selection, now: int) -> Counter[int]:
    """How many are in each standing at `now` (in seconds), in a transaction that sees one state of the database."""
    lists = list_ids(connection, selection)
    if len(lists) == 1:
        return _numbers_of_list(connection, selection, lists[0], now)
    counts: Counter[int] = Counter()  # who is on several is counted once
    for some in everyone(connection, selection, now):
        for (standing, _), ids in some.items():
            counts[standing] += len(ids)
    return counts


def _numbers_of_list(connection: sa.Connection, selection: Selection, of_list: int, now: int) -> Counter[int]:
    """On one list everybody has one row: whom something else keeps out is counted by itself, and they are few. In a
    third of the time that it takes to go through everybody."""
    kept, person, conditions = kept_out([of_list]), membership.c.subscriber_id, fits(selection)
    on_it: sa.FromClause = membership
    of_them: sa.FromClause = kept
    if conditions:
        on_it = on_it.join(subscriber, subscriber.c.id == person)
        of_them = of_them.join(subscriber, subscriber.c.id == kept.c.subscriber_id)
    of_subscribed = sa.func.count().filter(membership.c.state == ConsentState.SUBSCRIBED)
    left = sa.func.count().filter(membership.c.state == ConsentState.UNSUBSCRIBED)
    found = sa.select(sa.func.count(), of_subscribed, left).select_from(on_it)
    everybody, subscribed, gone = connection.execute(found.where(membership.c.list_id == of_list, *conditions)).one()
    kept_subscribed = sa.func.count().filter(kept.c.state == ConsentState.SUBSCRIBED)
    these = sa.select(sa.func.count(), kept_subscribed).select_from(of_them).where(*conditions)
    held, held_subscribed = connection.execute(these).one()
    waiting = (
        sa.select(sa.func.count())
        .select_from(subscriber.join(membership, person == Unindexed(subscriber.c.id)))
        .where(subscriber.c.paused_until > now, Unindexed(membership.c.list_id) == of_list, *conditions)
        .where(membership.c.state == ConsentState.SUBSCRIBED)
        .where(~standing_suppression(subscriber.c.key, membership.c.list_id))
    )
    pausing = connection.scalars(waiting).one()
    counts = Counter({SUPPRESSED: gone + held, PAUSED: pausing, ELIGIBLE: subscribed - held_subscribed - pausing})
    counts[PENDING] = everybody - counts.total()
    return counts


def _end(connection: sa.Connection, lists: Sequence[int], after: int) -> int:
    """The id up to which some thousand people behind `after` are on the lists; `_EVER` where there are fewer."""
    nth = (
        sa.select(membership.c.subscriber_id)
        .where(membership.c.list_id == sa.bindparam("list"), membership.c.subscriber_id > sa.bindparam("after"))
        .order_by(membership.c.subscriber_id)
        .offset(_PEOPLE_A_TIME - 1)
        .limit(1)
    )
    found = (connection.scalar(nth, {"list": one, "after": after}) for one in lists)
    return min((one for one in found if one is not None), default=_EVER)


def _states(selection: Selection, lists: Sequence[int], *, zoned: bool) -> sa.Select[*tuple[Any, ...]]:
    """(list, time zone, ids of those who subscribe, who left, of all others) of those between two ids; the ids of each
    are one text, or NULL."""
    of = membership.c.state
    person, zone = membership.c.subscriber_id, subscriber.c.timezone if zoned else sa.literal("")
    rows: sa.FromClause = membership
    conditions = fits(selection)
    if conditions or zoned:
        # the range is said of both: PostgreSQL would read the whole of the other table each time
        rows = rows.join(subscriber, sa.and_(subscriber.c.id == person, *_within(subscriber.c.id)))
    subscribed, left = of == ConsentState.SUBSCRIBED, of == ConsentState.UNSUBSCRIBED
    # not grouped by state: nothing need be sorted then
    texts = [_as_text(person).filter(state) for state in (subscribed, left, ~sa.or_(subscribed, left))]
    grouped = (membership.c.list_id, zone) if zoned else (membership.c.list_id,)
    return (
        sa.select(membership.c.list_id, zone, *texts)
        .select_from(rows)
        .where(membership.c.list_id.in_(lists), *_within(person), *conditions)
        .group_by(*grouped)
    )


def _within(person: sa.Column[int]) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return person > sa.bindparam("after"), person <= sa.bindparam("upto")


def _standings(
    rows: Sequence[sa.Row[*tuple[Any, ...]]], barred: _Barred, after: int, upto: int
) -> dict[tuple[int, str], list[int]]:
    """What `everyone` yields of these rows, of people between these ids."""
    found: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    pausing = _between(barred.pausing, after, upto)
    kept = {one: _between(ids, after, upto) for one, ids in barred.kept.items()}
    for one, zone, *texts in rows:
        subscribed, left, other = (_ids(text) for text in texts)
        found[SUPPRESSED, zone] += left
        for standing, ids in ((PENDING, other), (ELIGIBLE, subscribed)):
            stay = _without(found[SUPPRESSED, zone], ids, kept.get(one))
            found[standing, zone] += _without(found[PAUSED, zone], stay, pausing) if standing == ELIGIBLE else stay
    if len({one for one, *_ in rows}) > 1:
        return _best(found)
    return {where: sorted(ids) for where, ids in found.items() if ids}


def _without(taken: list[int], ids: list[int], those: set[int] | None) -> list[int]:
    """These ids but `those`, which go to `taken`."""
    if not those:
        return ids
    taken += [one for one in ids if one in those]
    return [one for one in ids if one not in those]


def _best(found: Mapping[tuple[int, str], list[int]]) -> dict[tuple[int, str], list[int]]:
    """Of several standings on several lists the largest counts."""
    of_person: dict[int, tuple[int, str]] = {}
    for where in sorted(found):
        of_person |= dict.fromkeys(found[where], where)
    best: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for person in sorted(of_person):
        best[of_person[person]].append(person)
    return best


def _between(ids: array[int], after: int, upto: int) -> set[int]:
    return set(ids[bisect_right(ids, after) : bisect_right(ids, upto)])


def _kept(connection: sa.Connection, lists: Sequence[int]) -> dict[int, array[int]]:
    kept = kept_out(lists)
    found: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
    for one, ids in _groups(connection, kept.c.list_id, kept.c.subscriber_id, sa.true()):
        found[one].extend(ids)
    return found


def _pausing(connection: sa.Connection, now: int) -> array[int]:
    found = array("q")
    for _, ids in _groups(connection, sa.literal(0), subscriber.c.id, subscriber.c.paused_until > now):
        found.extend(ids)
    return found


def _groups(
    connection: sa.Connection,
    kind: sa.ColumnElement[int],
    person: sa.ColumnElement[int],
    condition: sa.ColumnElement[bool],
) -> Iterator[tuple[int, list[int]]]:
    """(kind, ids) of people, some thousand a time; the ids of each kind ascend throughout."""
    group = person.op("/")(sa.literal_column(str(_PEOPLE_A_TIME)))  # both databases cut, and do not round
    wanted = sa.select(kind, _as_text(person)).where(condition).group_by(kind, group).order_by(kind, group)
    for found, text in connection.execute(wanted, execution_options={"yield_per": 20}):
        yield found, sorted(_ids(text))


def _as_text(person: sa.ColumnElement[int]) -> sa.FunctionElement[str]:
    return sa.func.aggregate_strings(sa.cast(person, sa.Text), ",")


def _ids(text: str | None) -> list[int]:
    numbers: list[int] = json.loads(f"[{text or ''}]")  # in half the time of `split` and `int`
    return numbers
