"""Lists in numbers and people page by page, on both databases."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent, ImportTerms, ListStats, Person, Selection, SuppressionReason
from newsletter.store import listing
from newsletter.store.audience import SqlAudience

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAILY = Selection(lists=("daily",))


def before(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


def join(store: SqlAudience, name: str, list_name: str = "daily", *, days: float = 100, agreed: bool = True) -> str:
    """Puts somebody on a list so many days ago; their key."""
    row = Subscriber(f"{name}@example.com", f"{name}@example.com", tags=("press",), attributes={"n": name})
    said = Consent(list_name, before(days), "form") if agreed else None
    assert store.subscribe(row, list_name, consent=said, now=before(days))
    return row.key


def daily(store: SqlAudience) -> ListStats:
    [found] = [one for one in store.stats(now=NOW) if one.list == "daily"]
    return found


def test_there_are_no_numbers_without_lists(audience_store: SqlAudience) -> None:
    assert audience_store.lists() == []
    assert audience_store.stats(now=NOW) == []


def test_everyone_on_a_list_counts_once(audience_store: SqlAudience) -> None:
    store = audience_store
    for name in ("ana", "ben", "cid", "dan"):
        join(store, name)
    join(store, "silent", agreed=False)
    join(store, "silent too", agreed=False)
    store.unsubscribe("ben@example.com", "daily", source="link", now=before(50))
    store.suppress("ben@example.com", SuppressionReason.HARD_BOUNCE, None, source="smtp", now=before(49))
    store.suppress("cid@example.com", SuppressionReason.COMPLAINT, None, source="provider", now=before(50))
    store.suppress("cid@example.com", SuppressionReason.MANUAL, "daily", source="cli", now=before(49))
    store.suppress("silent@example.com", SuppressionReason.HARD_BOUNCE, "daily", source="smtp", now=before(50))
    assert daily(store) == ListStats("daily", 2, 1, 1, 2, 0, 0)
    assert store.count(DAILY) == {"planned": 2, "suppressed": 3, "pending": 1}


def test_lists_are_told_apart_and_stand_by_name(audience_store: SqlAudience) -> None:
    store = audience_store
    join(store, "ana", "weekly")
    join(store, "ana")
    join(store, "ben", days=3)
    store.suppress("ana@example.com", SuppressionReason.MANUAL, "weekly", source="cli", now=before(1))
    assert store.lists() == ["daily", "weekly"]
    assert [(one.list, one.subscribed, one.suppressed, one.growth) for one in store.stats(now=NOW)] == [
        ("daily", 2, 0, 1),
        ("weekly", 0, 1, -1),
    ]


def test_growth_is_those_who_came_less_those_who_went_within_30_days(audience_store: SqlAudience) -> None:
    store = audience_store
    join(store, "long here")
    join(store, "came", days=29)
    join(store, "came and went", days=20)
    join(store, "went")
    join(store, "went long ago")
    join(store, "bounced")
    join(store, "never asked", agreed=False)
    store.unsubscribe("went long ago@example.com", "daily", source="link", now=before(31))
    for name in ("came and went", "went", "never asked"):
        store.unsubscribe(f"{name}@example.com", "daily", source="link", now=before(2))
    store.suppress("bounced@example.com", SuppressionReason.HARD_BOUNCE, None, source="smtp", now=before(1))
    found = daily(store)
    assert (found.joined_30_days, found.left_30_days, found.growth) == (2, 3, -1)


def test_who_is_brought_by_a_file_joined_with_it_whenever_they_consented(audience_store: SqlAudience) -> None:
    store = audience_store
    rows = [Subscriber(key, key, consent_at=before(900)) for key in ("ana@example.com", "ben@example.com")]
    store.import_rows(rows, ImportTerms("daily", "old.csv"), now=before(5))
    assert {one.since for person in store.people(DAILY) for one in person.memberships} == {before(5)}
    assert (daily(store).joined_30_days, daily(store).growth) == (2, 2)
    store.unsubscribe("ben@example.com", "daily", source="link", now=before(2))
    assert (daily(store).joined_30_days, daily(store).left_30_days) == (2, 1)


def keys(people: list[Person]) -> list[str]:
    return [one.key.partition("@")[0] for one in people]


@pytest.mark.parametrize("few", [0, 2_000])
def test_pages_of_any_size_give_everyone_once_by_key(
    audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """With `few` as 0 a list is read along all people, else as a whole: the people are the same."""
    for name, small in (("_FIRST_PAGE", 2), ("_PAGE", 3), ("_FEW", few)):
        monkeypatch.setattr(listing, name, small)
    names = sorted("abcdefghijk")
    for name in reversed(names):
        join(audience_store, name)
    join(audience_store, "c", "weekly")
    join(audience_store, "zoe", "weekly")
    both = Selection(lists=("daily", "weekly"))
    assert keys(list(audience_store.people(DAILY))) == names
    assert keys(list(audience_store.people(both))) == [*names, "zoe"]
    for limit in range(13):
        assert keys(list(audience_store.people(DAILY, limit=limit))) == names[:limit]
    found, after = [], ""
    while page := list(audience_store.people(both, after=after, limit=4)):
        found += keys(page)
        after = page[-1].key
    assert found == [*names, "zoe"]


def test_a_person_on_a_page_is_the_same_as_alone(audience_store: SqlAudience) -> None:
    join(audience_store, "ana", "weekly")
    join(audience_store, "ana", days=3)
    join(audience_store, "ben")
    audience_store.unsubscribe("ana@example.com", "weekly", source="link", now=NOW)
    listed = list(audience_store.people(Selection(lists=("daily", "weekly"))))
    assert listed == [audience_store.person(one.key) for one in listed]
    assert keys(listed) == ["ana", "ben"]


def test_a_page_asks_as_often_for_fifty_people_as_for_one(database: sa.Engine, audience_store: SqlAudience) -> None:
    for number in range(50):
        join(audience_store, f"p{number:02}")
    asked: list[str] = []
    sa.event.listen(database, "before_cursor_execute", lambda *call: asked.append(call[2]))

    def statements(limit: int) -> int:
        asked.clear()
        assert len(list(audience_store.people(DAILY, limit=limit))) == limit
        return len(asked)

    assert statements(1) == statements(50)
