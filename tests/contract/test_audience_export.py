"""Exports: what a list looks like as CSV, and that an import of it makes the same list elsewhere."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import sqlalchemy as sa
from audience_tables import LATER, NOW, contents, import_text, many_people
from fresh_databases import ERASURE_KEY, make_tables, sqlite_engine

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent, LiftedBy, Selection, SuppressionReason
from newsletter.errors import OutputError
from newsletter.pipeline.export_subscribers import COLUMNS, export_subscribers
from newsletter.pipeline.output_files import private_file
from newsletter.store.audience import SqlAudience

ANNA = Subscriber(
    "anna@example.com",
    "Anna@example.com",
    name="=Anna, \"the\" 'Red'",
    tags=("vip", "press"),
    language="pl",
    timezone="Europe/Warsaw",
    attributes={"city": "Łódź", "+plus": "-1"},
)
BUZZ = Selection(("buzz",))


def exported(store: SqlAudience, selection: Selection = BUZZ, *, raw: bool = False) -> bytes:
    out = io.BytesIO()
    store_rows = export_subscribers(store, selection, out.write, raw=raw)
    assert store_rows == len(list(csv.reader(io.StringIO(out.getvalue().decode())))) - 1
    return out.getvalue()


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


@pytest.fixture
def elsewhere(tmp_path: Path) -> sa.Engine:
    """Another, empty database."""
    engine = sqlite_engine(tmp_path / "elsewhere")
    make_tables(engine)
    return engine


def test_a_row_says_everything_about_somebody_on_one_list(audience_store: SqlAudience) -> None:
    said = Consent("buzz", NOW, source="form", wording="Yes", ip="192.0.2.7")
    audience_store.subscribe(ANNA, "buzz", consent=said, now=LATER)
    audience_store.subscribe(ANNA, "weekly", consent=None, now=LATER)
    (row,) = rows(exported(audience_store, raw=True))
    assert row == {
        "email": "Anna@example.com",
        "name": "=Anna, \"the\" 'Red'",
        "list": "buzz",
        "state": "subscribed",
        "since": "2026-01-08T06:30:00Z",
        "scope": "",
        "tags": "press;vip",
        "timezone": "Europe/Warsaw",
        "language": "pl",
        "consent_at": "2026-01-07T06:30:00Z",
        "consent_source": "form",
        "consent_wording": "Yes",
        "consent_ip": "192.0.2.7",
        "attributes": '{"+plus": "-1", "city": "Łódź"}',
    }
    assert tuple(row) == COLUMNS


def test_an_idn_is_written_in_its_own_script_and_comes_back_as_the_same_person(audience_store: SqlAudience) -> None:
    import_text(audience_store, "email\nRui@BÜCHER.Example.com\n")
    [row] = rows(exported(audience_store))
    assert row["email"] == "Rui@bücher.example.com"
    assert import_text(audience_store, exported(audience_store), now=LATER).summary.unchanged == 1
    [person] = audience_store.people(BUZZ)
    assert person.address == "Rui@xn--bcher-kva.example.com"


def test_formulas_are_guarded_unless_asked_otherwise(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=None, now=NOW)
    assert rows(exported(audience_store))[0]["name"] == "'=Anna, \"the\" 'Red'"
    assert rows(exported(audience_store, raw=True))[0]["name"] == "=Anna, \"the\" 'Red'"


def test_an_export_imported_elsewhere_makes_the_same_list(audience_store: SqlAudience, elsewhere: sa.Engine) -> None:
    import_text(audience_store, many_people(700))
    audience_store.subscribe(ANNA, "buzz", consent=Consent("buzz", NOW, wording="Yes"), now=NOW)
    audience_store.subscribe(ANNA, "weekly", consent=None, now=NOW)
    there = SqlAudience(elsewhere, ERASURE_KEY)
    both = Selection(("buzz", "weekly"))
    data = exported(audience_store, both)
    sums = import_text(there, data, now=LATER).summary
    assert (sums.rows, sums.new) == (len(rows(data)), sums.rows)
    assert there.count(both) == audience_store.count(both)
    again = [{**row, "since": ""} for row in rows(exported(there, both))]
    assert again == [{**row, "since": ""} for row in rows(data)]
    before = contents(elsewhere)
    import_text(there, data, now=LATER)
    assert contents(elsewhere) == before


@pytest.mark.parametrize("reason", [one for one in SuppressionReason if one is not SuppressionReason.ERASED])
def test_nobody_who_is_kept_out_is_mailed_elsewhere(
    audience_store: SqlAudience, elsewhere: sa.Engine, reason: SuppressionReason
) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=Consent("buzz", NOW), now=NOW)
    audience_store.suppress(ANNA.key, SuppressionReason.UNSUBSCRIBE, "buzz", source="one-click", now=NOW)
    audience_store.suppress(ANNA.key, reason, None, source="provider", now=NOW)
    data = exported(audience_store)
    assert rows(data)[0]["state"] == {"unsubscribe": "unsubscribed"}.get(reason, reason)
    there = SqlAudience(elsewhere, ERASURE_KEY)
    import_text(there, data, now=LATER)
    assert there.count(BUZZ).get("planned", 0) == 0
    assert [one.reason for one in there.suppressions()] == [reason]


def standing(store: SqlAudience) -> list[tuple[str, str | None]]:
    return [(one.reason.value, one.list) for one in store.suppressions()]


@pytest.mark.parametrize("scope", ["weekly", None])
@pytest.mark.parametrize("reason", [one for one in SuppressionReason if one is not SuppressionReason.ERASED])
def test_an_export_keeps_nobody_out_of_more_or_less_than_before(
    audience_store: SqlAudience, elsewhere: sa.Engine, reason: SuppressionReason, scope: str | None
) -> None:
    both, there = Selection(("buzz", "weekly")), SqlAudience(elsewhere, ERASURE_KEY)
    for name in ("buzz", "weekly"):
        audience_store.subscribe(ANNA, name, consent=Consent(name, NOW), now=NOW)
    audience_store.suppress(ANNA.key, reason, scope, source="provider", now=NOW)
    data = exported(audience_store, both)
    for store in (audience_store, there):
        import_text(store, data, now=LATER)
        assert standing(store) == [(reason, scope)]
    assert there.count(both)["planned"] == audience_store.count(both)["planned"]


def test_what_was_lifted_for_a_list_is_lifted_elsewhere_too(audience_store: SqlAudience, elsewhere: sa.Engine) -> None:
    both, there = Selection(("buzz", "weekly")), SqlAudience(elsewhere, ERASURE_KEY)
    for name in ("buzz", "weekly"):
        audience_store.subscribe(ANNA, name, consent=Consent(name, NOW), now=NOW)
    audience_store.suppress(ANNA.key, SuppressionReason.COMPLAINT, None, source="provider", now=NOW)
    audience_store.lift(ANNA.key, "buzz", by=LiftedBy.OPERATOR, note="", now=NOW)
    data = exported(audience_store, both)
    for store, scope in ((audience_store, None), (there, "weekly")):
        import_text(store, data, now=LATER)
        assert standing(store) == [("complaint", scope)]
        assert store.count(BUZZ) == {"planned": 1}


def test_somebody_who_left_and_waits_again_carries_no_old_consent(audience_store: SqlAudience) -> None:
    audience_store.subscribe(ANNA, "buzz", consent=None, now=NOW)
    import_text(audience_store, "email,state,consent_at\nben@example.com,pending,2025-01-01\n")
    assert [(row["email"], row["state"], row["consent_at"]) for row in rows(exported(audience_store))] == [
        ("Anna@example.com", "pending", ""),
        ("ben@example.com", "pending", ""),
    ]


def test_a_file_is_written_whole_for_its_owner_alone_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "people.csv"
    with private_file(target) as write:
        write(b"all of it")
    assert target.read_bytes() == b"all of it"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TypeError), private_file(target) as write:
        write("half of it, and then no bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"all of it"
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]
    with pytest.raises(OutputError, match="there is no folder"), private_file(tmp_path / "no" / "x.csv"):
        pass
