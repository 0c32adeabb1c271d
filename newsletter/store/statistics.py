"""The lists in numbers."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from newsletter.audience.model import ConsentState
from newsletter.audience.people import ListStats
from newsletter.store.person_rows import seconds
from newsletter.store.selecting import kept_out
from newsletter.store.tables import consent, mailing_list, membership

GROWTH_WINDOW = dt.timedelta(days=30)


def lists(connection: sa.Connection) -> Sequence[str]:
    """The names of all lists, sorted."""
    return sorted(connection.scalars(sa.select(mailing_list.c.name)))


def stats(connection: sa.Connection, *, now: dt.datetime) -> Sequence[ListStats]:
    """Each list in numbers, by name. Everyone on a list counts once: who left it as unsubscribed; of the others, whom
    another suppression keeps out as suppressed; the rest by state.

    Somebody joined who became subscribed within 30 days, and left who unsubscribed or was suppressed within 30 days
    and had consented before; who did both within that time counts as both.
    """
    since = seconds(now - GROWTH_WINDOW)
    states, recent = _by_state(connection, since)
    suppressed, recently_suppressed = _by_suppression(connection, since)
    gone, came_and_went = _recently_gone(connection, since)
    named = connection.execute(sa.select(mailing_list.c.name, mailing_list.c.id)).all()
    return [
        ListStats(
            list=name,
            subscribed=states[one, ConsentState.SUBSCRIBED] - suppressed[one, ConsentState.SUBSCRIBED],
            pending=states[one, ConsentState.PENDING] - suppressed[one, ConsentState.PENDING],
            unsubscribed=states[one, ConsentState.UNSUBSCRIBED],
            suppressed=suppressed[one, ConsentState.SUBSCRIBED] + suppressed[one, ConsentState.PENDING],
            joined_30_days=recent[one] + came_and_went[one],
            left_30_days=gone[one] + recently_suppressed[one],
        )
        for name, one in sorted((row.name, row.id) for row in named)
    ]


def _by_state(connection: sa.Connection, since: int) -> tuple[Counter[tuple[int, str]], Counter[int]]:
    """How many are in each state, by list and state; and how many became subscribed lately, by list.

    Grouped by list alone, in whose order the rows are kept: nothing is sorted.
    """
    new = sa.and_(_is(ConsentState.SUBSCRIBED), membership.c.since >= since)
    counted = [sa.func.sum(sa.case((condition, 1), else_=0)) for condition in (*map(_is, ConsentState), new)]
    grouped = sa.select(membership.c.list_id, *counted).group_by(membership.c.list_id)
    states: Counter[tuple[int, str]] = Counter()
    recent: Counter[int] = Counter()
    for one, *numbers, lately in connection.execute(grouped):
        states.update({(one, state): number for state, number in zip(ConsentState, numbers, strict=True)})
        recent[one] = lately
    return states, recent


def _is(state: ConsentState) -> sa.ColumnElement[bool]:
    return membership.c.state == state


def _by_suppression(connection: sa.Connection, since: int) -> tuple[Counter[tuple[int, str]], Counter[int]]:
    """How many of those who did not leave a suppression keeps out, by list and state; and how many subscribed ones
    lately, by list."""
    kept = kept_out()
    lately = sa.func.sum(sa.case((kept.c.first >= since, 1), else_=0))
    grouped = sa.select(kept.c.list_id, kept.c.state, sa.func.count(), lately)
    states: Counter[tuple[int, str]] = Counter()
    recent: Counter[int] = Counter()
    for one, state, number, new in connection.execute(grouped.group_by(kept.c.list_id, kept.c.state)):
        states[one, state] = number
        if state == ConsentState.SUBSCRIBED:
            recent[one] = new
    return states, recent


def _recently_gone(connection: sa.Connection, since: int) -> tuple[Counter[int], Counter[int]]:
    """How many left lately who had consented, and how many of them had joined lately, too; by list."""
    # not when they consented, which an import may have told years later: as with those who stay
    first = sa.func.min(consent.c.recorded_at).label("first")
    gone = (
        sa.select(membership.c.list_id, first)
        .join(
            consent,
            sa.and_(consent.c.subscriber_id == membership.c.subscriber_id, consent.c.list_id == membership.c.list_id),
        )
        .where(membership.c.state == ConsentState.UNSUBSCRIBED, membership.c.since >= since)
        .group_by(membership.c.list_id, membership.c.subscriber_id)
        .subquery()
    )
    lately = sa.func.sum(sa.case((gone.c.first >= since, 1), else_=0))
    rows = connection.execute(sa.select(gone.c.list_id, sa.func.count(), lately).group_by(gone.c.list_id)).all()
    return Counter({one: number for one, number, _ in rows}), Counter({one: new for one, _, new in rows})
