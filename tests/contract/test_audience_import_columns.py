"""A file that is read and packed a column at a time leaves in the database what its rows leave one by one."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from audience_tables import LATER, NOW, contents, import_text
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from newsletter.audience.csv_file import SubscriberCsv
from newsletter.audience.model import Subscriber, SubscriberColumns
from newsletter.audience.people import ImportSummary, ImportTerms, SuppressionReason
from newsletter.store import import_packing, import_staging
from newsletter.store.audience import SqlAudience

_CELLS = {
    "email": (
        *("ana@example.com", "Ana@Example.com", " ANA@EXAMPLE.COM ", "bo@example.com", "cy@example.com", "bad"),
        *("dee@bücher.example", "dee@xn--bcher-kva.example", "Info@example.com", "gone@example.com", "'=e@example.com"),
    ),
    "name": ("", "Ana", " Bo  Li ", "花"),
    "list": ("", "daily", "daily;weekly", "weekly;weekly"),
    "tags": ("", "vip", "press; vip"),
    "timezone": ("", "Europe/Lisbon", "Mars"),
    "consent_at": ("", "2025-01-02", "2025-06-02T07:00:00+02:00", "1990-01-01", "yes"),
    "consent_source": ("", "form"),
    "consent_ip": ("", "192.0.2.1"),
    "state": ("", "subscribed", "pending", "unsubscribed", "bounced", "who knows"),
    "city": ("", "Porto", "Faro"),
}


@st.composite
def lists_of_people(draw: st.DrawFn) -> str:
    header = ["email", *draw(st.lists(st.sampled_from([*_CELLS][1:]), unique=True))]
    cells = st.tuples(*(st.sampled_from(_CELLS[name]) for name in header))
    rows = draw(st.lists(cells, max_size=10))
    return "".join(",".join(row) + "\n" for row in [header, *rows])


def one_by_one(store: SqlAudience, text: str, terms: ImportTerms) -> ImportSummary:
    """The same, where no two rows are read or packed together."""
    csv = SubscriberCsv(io.BytesIO(text.encode()), terms.source, own_list=terms.into, now=LATER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_packing, "_TOGETHER", 1)
        rows = (row for row in csv.rows() if isinstance(row, Subscriber))
        return store.import_rows(rows, terms, now=LATER)


@given(st.lists(lists_of_people(), min_size=1, max_size=3), st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_files_leave_the_same_read_in_columns_and_row_by_row(
    database: sa.Engine, texts: list[str], erased: bool
) -> None:
    store = SqlAudience(database, ERASURE_KEY)
    found = []
    for quick in (True, False):
        empty_tables(database)
        store.suppress("cy@example.com", SuppressionReason.COMPLAINT, None, source="test", now=NOW)
        if erased:
            store.erase("gone@example.com", source="test", now=NOW)
        for text in [*texts, texts[0]]:
            if quick:
                sums = import_text(store, text, now=LATER).summary
                found.append((sums.rows - sums.invalid, sums.new, sums.updated, sums.unchanged, sums.suppressed))
            else:
                sums = one_by_one(store, text, ImportTerms("buzz", "people.csv", named=True))
                expected = (sums.rows, sums.new, sums.updated, sums.unchanged, sums.suppressed)
                assert expected == found.pop(0)
        if quick:
            kept = contents(database, ids=False)
    assert contents(database, ids=False) == kept


@pytest.mark.parametrize("in_columns", [True, False])
def test_rows_that_name_many_lists_are_staged_a_few_thousand_at_a_time(
    audience_store: SqlAudience, in_columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 rows of the table that they are staged in, of which a few thousand are in memory."""
    names = tuple(f"list {number}" for number in range(1_000))
    row = Subscriber("r@example.com", "r@example.com", lists=names)

    def rows() -> Iterator[Subscriber | SubscriberColumns]:
        for _ in range(100):
            yield import_packing.in_columns([row]) if in_columns else row

    loaded: list[int] = []
    monkeypatch.setattr(import_staging, "load", lambda _connection, _table, some, *_: loaded.append(len(some)))
    audience_store.import_rows(rows(), ImportTerms("buzz", "wide.csv"), now=NOW, dry_run=True)
    assert sum(loaded) >= 100_000
    assert max(loaded) <= import_staging._CHUNK + len(names)
