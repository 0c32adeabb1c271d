"""Whom an issue goes to, from the subscriber files through the database: what `send --dry-run` goes by."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables, make_tables, sqlite_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from newsletter import wiring
from newsletter.audience.model import Excluded, Exclusion
from newsletter.audience.people import Selection, SuppressionReason
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunPlan
from newsletter.errors import AudienceError, IssueError, UsageError
from newsletter.pipeline.issue_audience import IssueAudience, audience_of, lists_of, refuse_unknown_lists
from newsletter.pipeline.left_out_rows import LeftOutRows
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.subscriber_files import sync_before_sending
from newsletter.pipeline.sync_subscribers import subscriber_files
from newsletter.project_files import copy_project
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, writing
from newsletter.store.freezing import freeze

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
YES = "2025-11-03"
DAILY, BOTH = Selection(("daily",)), Selection(("daily", "evening"))


@dataclasses.dataclass
class Files:
    """A project whose folder of subscribers holds what a test writes, and its database."""

    request: IssueRequest
    engine: sa.Engine
    store: SqlAudience

    @property
    def folder(self) -> Path:
        return self.request.loaded.folder / "subscribers"

    def write(self, text: str, name: str = "daily.csv") -> None:
        (self.folder / name).write_text(text, "utf-8")

    def audience(self, selection: Selection = DAILY) -> IssueAudience:
        """As a dry run has it. Its rows are read at once, since their file is closed here."""
        with closing(LeftOutRows(selection.lists)) as rows:
            sync_before_sending(self.store, self.request.loaded, rows, now=NOW)
            found = audience_of(self.request, selection, self.store, rows)
            kept = list(rows)
        again = LeftOutRows(selection.lists)
        for row in kept:
            again.add(row)
        self.opened.append(again)
        return dataclasses.replace(found, rows=again)

    opened: list[LeftOutRows] = dataclasses.field(default_factory=list)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    copy_project(tmp_path)
    (tmp_path / "subscribers" / "daily-buzz.csv").unlink()
    engine = sqlite_engine(tmp_path)
    make_tables(engine)
    request = wiring.request(wiring.settings(tmp_path / "config.toml"), None, "2026-01-07")
    made = Files(request, engine, SqlAudience(engine, ERASURE_KEY))
    yield made
    for rows in made.opened:
        rows.close()
    engine.dispose()


def addresses(audience: IssueAudience) -> list[str]:
    return [member.address for member in audience.members()]


def test_someone_on_two_lists_counts_once_and_is_no_duplicate(files: Files) -> None:
    files.write(f"email,list,consent_at\nana@example.com,daily,{YES}\nANA@example.com,evening,{YES}\n")
    audience = files.audience(BOTH)
    assert addresses(audience) == ["ana@example.com"]
    assert audience.left_out() == {}


def test_a_second_row_on_the_same_list_is_a_duplicate_named_by_its_line(files: Files) -> None:
    files.write(f"email,consent_at\nana@example.com,{YES}\nbo@example.com,{YES}\nANA@Example.com,{YES}\n")
    audience = files.audience()
    assert audience.planned == 2
    assert list(audience.excluded()) == [
        Excluded(
            "ANA@example.com",
            Exclusion.DUPLICATE,
            "stands on the list before",
            "subscribers/daily.csv:4",
            ("daily",),
        )
    ]


def test_consent_in_any_row_is_consent(files: Files) -> None:
    files.write(f"email,list,consent_at\nana@example.com,daily,\nana@example.com,evening,{YES}\n")
    assert addresses(files.audience(BOTH)) == ["ana@example.com"]
    assert files.audience(DAILY).left_out() == {Exclusion.PENDING: 1}


def test_other_lists_do_not_count_their_bad_rows_included(files: Files) -> None:
    files.write(f"email,list,consent_at\nana@example.com,evening,{YES}\nnobody,evening,\nana@example.com,evening,\n")
    audience = files.audience()
    assert (audience.planned, audience.left_out(), list(audience.excluded())) == (0, {}, [])


def test_everyone_else_carries_one_reason_people_before_rows(files: Files) -> None:
    rows = f"ana@example.com,{YES}\nbo@example.com,\ncid@example.com,{YES}\nnobody,{YES}\nana@example.com,\n"
    files.write(f"email,consent_at\n{rows}")
    files.audience()
    files.store.suppress("ana@example.com", SuppressionReason.COMPLAINT, None, source="provider", now=NOW)
    cid = files.store.person("cid@example.com")
    assert cid is not None
    assert cid.id is not None
    files.store.pause(cid.id, dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
    audience = files.audience()
    assert audience.left_out() == dict.fromkeys(Exclusion, 1)
    assert [(one.reason, one.place) for one in audience.excluded()] == [
        ("suppressed", "list daily"),
        ("pending", "list daily"),
        ("paused", "list daily"),
        ("invalid", "subscribers/daily.csv:5"),
        ("duplicate", "subscribers/daily.csv:6"),
    ]
    shown = audience.shown(members=5, excluded=3)
    assert (shown.planned, shown.everyone, len(shown.members), len(shown.excluded)) == (0, 5, 0, 3)


def test_a_list_that_is_not_the_newsletters_is_an_error_of_the_issue(files: Files) -> None:
    issue = wiring.prepared(files.request).issue
    with pytest.raises(IssueError, match="none of the newsletter's lists") as caught:
        lists_of(files.request, dataclasses.replace(issue, lists=("weekly",), lists_line=3))
    assert str(caught.value.place) == f"{issue.source}:3"
    assert lists_of(files.request, issue) == Selection(lists=("daily-buzz",))


def test_a_list_that_nobody_was_ever_on_is_an_error_of_the_settings_with_the_name_that_was_meant(files: Files) -> None:
    def refuse(*lists: str) -> None:
        selection = Selection(lists)
        with closing(LeftOutRows(lists)) as rows:
            sync_before_sending(files.store, files.request.loaded, rows, now=NOW)
            refuse_unknown_lists(files.request, selection, files.store, rows)

    files.write("email,list\nana@example.com,weekly\nnobody,spoilt\n", "all.csv")
    files.write("email\n", "empty.csv")
    refuse("weekly", "spoilt", "empty")
    (files.folder / "all.csv").unlink()
    refuse("weekly")
    for name, says in (("weakly", "Did you mean `weekly`?"), ("x", "--list x. Lists there are: empty, weekly")):
        with pytest.raises(AudienceError, match=f"nobody was ever on the list '{name}'") as caught:
            refuse("weekly", name)
        assert says in caught.value.hint
        config = (files.folder.parent / "config.toml").read_text("utf-8").splitlines()
        assert caught.value.place
        assert config[(caught.value.place.line or 0) - 1].startswith("lists = ")


def test_a_folder_of_subscribers_is_needed_only_where_it_was_asked_for(files: Files) -> None:
    files.folder.rmdir()
    loaded = files.request.loaded
    with pytest.raises(AudienceError, match="the folder is missing") as caught:
        subscriber_files(loaded)
    assert str(caught.value.place) == "subscribers"
    assert "[paths]" in caught.value.hint
    files.folder.write_text("a file in its place")
    with pytest.raises(AudienceError, match="the folder cannot be read"):
        subscriber_files(loaded)
    files.folder.unlink()
    unset = {key: value for key, value in loaded.origins.items() if key != "paths.subscribers"}
    assert subscriber_files(dataclasses.replace(loaded, origins=unset)) == []


def test_the_member_at_an_address_is_found_or_the_reason_is_told(files: Files) -> None:
    files.write(
        f"email,consent_at\nana@example.com,{YES}\nbo@example.com,\nno one@example.com,{YES}\ncy@example.com,{YES}\n"
    )
    audience = files.audience()
    first = audience.member_at(None)
    other = audience.member_at(" CY@example.com")
    assert first
    assert first == next(audience.members())
    assert other
    assert other.address == "cy@example.com"
    for address, why in (
        ("bo@example.com", r"pending: no consent is recorded \(list daily\)"),
        ("no one@example.com", r"invalid: .* \(subscribers/daily.csv:4\)"),
        ("eve@example.com", "is on none of its lists"),
        ("eve", "is on none of its lists"),
    ):
        with pytest.raises(UsageError, match=why):
            audience.member_at(address)
    assert files.audience(Selection(("nobody's",))).member_at(None) is None


def test_looking_at_an_audience_plans_no_run(files: Files) -> None:
    files.write(f"email,consent_at\nana@example.com,{YES}\n")
    assert files.audience().previous is None
    with reading(files.engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.run)) == 0
    date = NOW.date()
    plan = RunPlan(RunName(files.request.name, str(date)), date, "", DAILY, "", "", "disk", batch_size=10, deadline=NOW)
    with writing(files.engine) as connection:
        freeze(connection, plan, now=NOW)
    assert files.audience().previous == 1


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "bad"]),
            st.sampled_from(["daily", "evening", "other", "daily;evening"]),
            st.sampled_from(["", YES]),
        ),
        max_size=12,
    )
)
def test_nobody_without_consent_is_mailed_nobody_twice_and_every_row_comes_to_something(
    files: Files, people: list[tuple[str, str, str]]
) -> None:
    empty_tables(files.engine)
    files.write("email,list,consent_at\n" + "".join(",".join(person) + "\n" for person in people))
    audience = files.audience(BOTH)
    wanted = [(email.casefold(), name.split(";"), when) for email, name, when in people if name != "other"]
    asked = {email for email, _, when in wanted if when and email != "bad"}
    keys = [member.key for member in audience.members()]
    assert len(keys) == len(set(keys))
    assert set(keys) == asked
    left_out = audience.left_out()
    assert left_out.get(Exclusion.INVALID, 0) == sum(email == "bad" for email, *_ in wanted)
    seen: set[tuple[str, str]] = set()
    repeated = 0
    for email, names, _ in wanted:
        if email != "bad":
            repeated += all((email, name) in seen for name in names)
            seen.update((email, name) for name in names)
    assert left_out.get(Exclusion.DUPLICATE, 0) == repeated
    assert left_out.get(Exclusion.PENDING, 0) == len({email for email, *_ in wanted if email != "bad"} - asked)
