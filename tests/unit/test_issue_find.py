"""Naming an issue, finding its file, and those before it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import IssueError, UsageError, shown
from newsletter.issue.blank import PLACEHOLDER, blank_issue
from newsletter.issue.find import IssueRef, earlier_issues, expected_file, issue_file, parse_ref, read_issue
from newsletter.issue.parse import parse_issue
from newsletter.issue.slots import DIRECTIVES, slot_of, slot_path, slots_in
from newsletter.settings.addresses import ISSUE_DIRECTIVES, check_issue_path

PATTERN = "{date:%Y-%m-%d}.txt"
TODAY = dt.date(2026, 1, 6)
JANUARY_7 = dt.date(2026, 1, 7)
TEXT = "Buzz: 7 January 2026\nTop\nA\nText.\n"


def ref(text: str) -> IssueRef:
    return parse_ref(text, TODAY)


class TestNaming:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("today", IssueRef(TODAY)),
            ("Tomorrow ", IssueRef(JANUARY_7)),
            ("today.evening", IssueRef(TODAY, "evening")),
            ("2026-01-07", IssueRef(JANUARY_7)),
            ("2026-01-07.evening-2", IssueRef(JANUARY_7, "evening-2")),
            ("2026-01-07.txt", IssueRef(None, "", Path("2026-01-07.txt"))),
            ("draft.MD", IssueRef(None, "", Path("draft.MD"))),
            ("drafts/snow", IssueRef(None, "", Path("drafts/snow"))),
            ("2026-01-07./../x", IssueRef(None, "", Path("2026-01-07./../x"))),
        ],
    )
    def test_what_is_understood(self, text: str, expected: IssueRef) -> None:
        assert ref(text) == expected

    def test_a_file_that_is_here_is_a_path_whatever_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "draft").write_text(TEXT)
        assert ref("draft") == IssueRef(None, "", Path("draft"))

    @pytest.mark.parametrize(
        "text",
        ["", "  ", "yesterday", "2026-1-7", "2026-01-07.", "2026-01-07.Evening", "2026-01-07.a_b", "2026-01-07.a.b",
         "２026-01-07", "x" * 5_000, "a\0b"],
    )  # fmt: skip
    def test_anything_else_is_refused_with_what_is_accepted(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            ref(text)
        for word in ("today", "tomorrow", "2026-01-07", "2026-01-07.evening", "path"):
            assert word in caught.value.hint

    def test_a_day_that_does_not_exist(self) -> None:
        with pytest.raises(UsageError, match="there is no 2026-02-30 in the calendar"):
            ref("2026-02-30")

    def test_a_reference_is_shown_as_it_is_typed(self) -> None:
        assert [str(ref(text)) for text in ("today", "2026-01-07.evening", "a/b.txt")] == [
            "2026-01-06",
            "2026-01-07.evening",
            str(Path("a/b.txt")),
        ]


PATTERNS = [
    "{date:%Y-%m-%d}.txt",
    "{date:%Y-%m-%d}.md",
    "{date}.txt",
    "{date:%Y-%m-%d}-{edition}.txt",
    "{date:%Y-%m-%d}{edition}.txt",
    "{edition}/{date:%d%b%Y}.txt",
    "{date:%Y}/{date:%m-%d}.txt",
    "{date:%Y/%m/%d}.txt",
    "buzz[1]+{date:%Y%m%d}.{edition}.txt",
    "issues {date:%Y-%j}",
]


class TestPatterns:
    @pytest.mark.parametrize("pattern", PATTERNS)
    @given(st.dates(min_value=dt.date(1000, 1, 1)), st.sampled_from(["", "evening", "2"]))
    def test_a_files_name_gives_back_its_slot(self, pattern: str, date: dt.date, edition: str) -> None:
        assert slot_of(slot_path(pattern, (date, edition)), pattern) == (date, edition)

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_files_are_found_by_their_pattern(self, pattern: str, tmp_path: Path) -> None:
        slots = [(JANUARY_7, ""), (JANUARY_7, "evening"), (TODAY, "")]
        for slot in slots:
            path = tmp_path / slot_path(pattern, slot)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(TEXT)
        (tmp_path / "notes.txt").write_text("no issue")
        (tmp_path / "2026-02-30.txt").write_text("no day")
        assert sorted(slot for slot, _ in slots_in(tmp_path, pattern)) == sorted(slots)

    def test_an_edition_stands_before_the_suffix_and_without_one_its_separator_goes(self) -> None:
        assert slot_path("{date:%Y-%m-%d}.txt", (JANUARY_7, "evening")) == PurePath("2026-01-07.evening.txt")
        assert slot_path("{date:%Y-%m-%d}-{edition}.txt", (JANUARY_7, "")) == PurePath("2026-01-07.txt")

    def test_what_is_no_slot(self) -> None:
        for name in ("2026-02-30.txt", "2026-01-07.Evening.txt", "2026-01-07.csv", "2026-01-07", "a/2026-01-07.txt"):
            assert slot_of(PurePath(name), PATTERN) is None

    @pytest.mark.parametrize(
        "pattern", ["{day}.txt", "{date:%Y-%q}.txt", "{date", "{}.txt", "{date:%Y}{edition}{edition}"]
    )
    def test_a_pattern_that_names_nothing_is_an_error(self, pattern: str, tmp_path: Path) -> None:
        (tmp_path / "2026-01-07.txt").write_text(TEXT)
        with pytest.raises(IssueError, match="cannot name issue files"):
            earlier_issues(tmp_path, pattern, parse_issue(TEXT.encode(), source="a.txt"))


class TestFinding:
    def test_the_file_of_a_day(self, tmp_path: Path) -> None:
        path = tmp_path / "2026-01-07.txt"
        path.write_text(TEXT)
        assert (
            issue_file(tmp_path, PATTERN, ref("tomorrow")) == path == expected_file(tmp_path, PATTERN, ref("tomorrow"))
        )

    def test_markdown_is_found_too(self, tmp_path: Path) -> None:
        path = tmp_path / "2026-01-07.evening.md"
        path.write_text("# Buzz\n\n### A\n")
        issue = read_issue(tmp_path, PATTERN, ref("2026-01-07.evening"))
        assert (issue.slot, issue.title, issue.source) == ("2026-01-07.evening", "Buzz", shown(path))

    def test_two_files_for_one_slot_are_an_error(self, tmp_path: Path) -> None:
        for suffix in ("txt", "md"):
            (tmp_path / f"2026-01-07.{suffix}").write_text(TEXT)
        with pytest.raises(IssueError, match=r"there are two files for 2026-01-07: .*\.txt and .*\.md"):
            issue_file(tmp_path, PATTERN, ref("2026-01-07"))

    def test_a_missing_issue_names_what_was_expected_the_nearest_and_how_to_begin(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = Path("issues")
        folder.mkdir()
        for name in ("2025-12-01.txt", "2026-01-05.txt", "2026-03-01.txt"):
            (folder / name).write_text(TEXT)
        with pytest.raises(IssueError) as caught:
            read_issue(folder, PATTERN, ref("2026-01-07.evening"))
        assert str(caught.value) == (
            "issues/2026-01-07.evening.txt: there is no such issue file, nor one that ends in .md"
        )
        assert "The nearest issue is issues/2026-01-05.txt." in caught.value.hint
        assert "newsletter new 2026-01-07.evening" in caught.value.hint

    def test_without_any_issue_or_folder_the_error_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(IssueError) as caught:
            read_issue(tmp_path / "none", PATTERN, ref("today"))
        assert "There is no issue in" in caught.value.hint
        assert "newsletter new 2026-01-06" in caught.value.hint

    def test_errors_name_the_file_as_it_is_typed_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "issues").mkdir()
        (tmp_path / "issues" / "2026-01-07.txt").write_bytes(b"Buzz\n\xff\n")
        for folder in (Path("issues"), tmp_path / "issues"):
            with pytest.raises(IssueError, match=r"^issues/2026-01-07\.txt:2: byte 0xFF is not UTF-8 text"):
                read_issue(folder, PATTERN, ref("2026-01-07"))
        assert shown(Path("/")) == "/"


class TestPaths:
    def test_a_path_is_of_the_slot_its_name_says(self, tmp_path: Path) -> None:
        folder = tmp_path / "issues"
        for where in (folder, tmp_path / "drafts"):
            where.mkdir()
            path = where / "2026-01-09.evening.txt"
            path.write_text(TEXT)
            issue = read_issue(folder, PATTERN, ref(str(path)))
            assert (issue.slot, issue.title_date) == ("2026-01-09.evening", JANUARY_7)

    def test_a_path_of_another_name_is_of_its_titles_date(self, tmp_path: Path) -> None:
        (tmp_path / "draft.txt").write_text(TEXT)
        assert read_issue(tmp_path, PATTERN, ref(str(tmp_path / "draft.txt"))).slot == "2026-01-07"
        (tmp_path / "draft.txt").write_text("Buzz\nA\nText.\n")
        with pytest.raises(IssueError, match=r"draft\.txt:1: no date"):
            read_issue(tmp_path, PATTERN, ref(str(tmp_path / "draft.txt")))

    def test_a_bare_file_name_is_looked_for_here_and_then_in_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "issues"
        folder.mkdir()
        (folder / "draft.txt").write_text(TEXT)
        assert issue_file(folder, PATTERN, ref("draft.txt")) == folder / "draft.txt"
        (tmp_path / "draft.txt").write_text(TEXT)
        assert issue_file(folder, PATTERN, ref("draft.txt")) == Path("draft.txt")

    def test_a_missing_path(self, tmp_path: Path) -> None:
        with pytest.raises(IssueError, match=r"none\.txt: there is no such issue file$"):
            read_issue(tmp_path, PATTERN, ref(str(tmp_path / "none.txt")))

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(IssueError, match="this is a folder, not an issue file"):
            read_issue(tmp_path, PATTERN, ref(str(tmp_path)))

    def test_a_broken_link(self, tmp_path: Path) -> None:
        (tmp_path / "2026-01-07.txt").symlink_to(tmp_path / "gone.txt")
        with pytest.raises(IssueError, match="the issue file cannot be read: No such file"):
            read_issue(tmp_path, PATTERN, ref("2026-01-07"))

    def test_a_file_that_loops_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "2026-01-07.txt").symlink_to(tmp_path / "2026-01-07.txt")
        with pytest.raises(IssueError, match="the issue file cannot be read"):
            read_issue(tmp_path, PATTERN, ref("2026-01-07"))

    def test_a_file_of_terabytes_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "2026-01-07.txt"
        path.touch()
        os.truncate(path, 2**40)  # sparse: it takes no room on the disk, and would take all memory
        with pytest.raises(IssueError, match="larger than 2,000,000 bytes"):
            read_issue(tmp_path, PATTERN, ref("2026-01-07"))


class TestEarlier:
    def test_the_latest_come_first_and_what_cannot_be_read_is_passed_over(self, tmp_path: Path) -> None:
        names = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-05.evening", "2026-01-05", "2026-01-07.noon",
                 "2026-01-07.zebra", "2026-01-08"]  # fmt: skip
        for name in names:
            (tmp_path / f"{name}.txt").write_text(TEXT)
        (tmp_path / "2026-01-04.txt").write_bytes(b"\xff")
        (tmp_path / "2026-01-03.md").write_text("# two files for one day\n\n### A\n")
        (tmp_path / "2026-01-06.txt").mkdir()
        now = parse_issue(TEXT.encode(), source="a.txt", date=JANUARY_7, edition="west")
        found = [issue.slot for issue in earlier_issues(tmp_path, PATTERN, now)]
        assert found == ["2026-01-07.noon", "2026-01-05.evening", "2026-01-05", "2026-01-02", "2026-01-01"]
        assert [issue.slot for issue in earlier_issues(tmp_path, PATTERN, now, limit=2)] == found[:2]

    def test_listed_sections_hold_for_them_too(self, tmp_path: Path) -> None:
        (tmp_path / "2026-01-01.txt").write_text("Buzz\nTop\nText.\n")
        now = parse_issue(TEXT.encode(), source="a.txt")
        (issue,) = earlier_issues(tmp_path, PATTERN, now, ("Top",))
        assert issue.sections[0].title == "Top"

    def test_no_folder_no_issues(self, tmp_path: Path) -> None:
        assert earlier_issues(tmp_path / "none", PATTERN, parse_issue(TEXT.encode(), source="a.txt")) == ()


class TestBlank:
    @pytest.mark.parametrize(
        "sections", [(), ("Top News",), ("Top News", "Economy & Markets", "In Case You Missed It...")]
    )
    def test_a_blank_issue_parses_and_each_story_is_marked_to_come(self, sections: tuple[str, ...]) -> None:
        text = blank_issue("Daily  Buzz", JANUARY_7, sections)
        for listed in ((), sections):
            issue = parse_issue(text.encode(), source="2026-01-07.txt", sections=listed)
            assert (issue.title, issue.title_date) == ("Daily Buzz: 7 January 2026", JANUARY_7)
            assert [section.title for section in issue.sections] == list(sections or [""])
            for story in issue.stories():
                assert PLACEHOLDER in story.headline.split()
                assert all(paragraph.text.startswith(PLACEHOLDER) for paragraph in story.paragraphs)
            assert len(list(issue.stories())) == max(1, len(sections))


class TestThePatternsThatSettingsAccept:
    """`settings` may not import `issue`, so each has its own list; here they are held together."""

    def test_are_written_with_the_directives_that_can_be_read_back(self) -> None:
        assert DIRECTIVES.keys() == ISSUE_DIRECTIVES

    def test_with_any_one_letter_are_those_that_name_issues(self) -> None:
        accepted, named = set(), set()
        for letter in (chr(code) for code in range(33, 127) if chr(code) not in "{}/\\"):
            pattern = f"{{date:%Y-%m-%d}}_{{date:%{letter}}}.txt"
            with contextlib.suppress(ValueError):
                accepted.add(check_issue_path(pattern))
            with contextlib.suppress(IssueError):
                if slot_of(slot_path(pattern, (JANUARY_7, "")), pattern) == (JANUARY_7, ""):
                    named.add(pattern)
        assert accepted == named
        assert len(named) == len(DIRECTIVES)

    @given(
        st.lists(
            st.sampled_from(["{date}", "{date:%Y}", "{date:%m-%d}", "{date:%j}", "{date:%d %b %y}", "{date:%A}",
                             "{date:%V}", "{edition}", ".{edition}", "{edition}/", "{{", "}}", "issue", "/", "-", "é",
                             "%"]),
            max_size=5,
        ).flatmap(lambda parts: st.permutations(["{date}", *parts])),
        st.sampled_from([".txt", ".md"]),
    )  # fmt: skip
    def test_name_issues_and_are_read_back(self, parts: list[str], suffix: str) -> None:
        try:
            pattern = check_issue_path("".join(parts) + suffix)
        except ValueError:
            return
        assert slot_of(slot_path(pattern, (JANUARY_7, "")), pattern) == (JANUARY_7, "")


def test_a_year_that_stands_twice_must_be_the_same_year() -> None:
    pattern = "{date:%Y}/{date:%Y-%m-%d}.txt"
    assert slot_of(PurePath("2026/2026-01-07.evening.txt"), pattern) == (JANUARY_7, "evening")
    assert slot_of(PurePath("2025/2026-01-07.txt"), pattern) is None


def test_a_pipe_in_place_of_an_issue_is_refused_at_once_and_passed_over_among_the_earlier(tmp_path: Path) -> None:
    """Opened like a file it would be waited for without end."""
    os.mkfifo(tmp_path / "2026-01-07.txt")
    with pytest.raises(IssueError, match="a pipe or a device") as caught:
        read_issue(tmp_path, "{date:%Y-%m-%d}.txt", IssueRef(dt.date(2026, 1, 7)))
    assert caught.value.hint
    today = parse_issue(b"Buzz\nA Day\nNothing.\n", source="x", date=dt.date(2026, 1, 8))
    assert earlier_issues(tmp_path, "{date:%Y-%m-%d}.txt", today) == ()


def test_a_device_in_place_of_an_issue_is_refused() -> None:
    with pytest.raises(IssueError, match="a pipe or a device"):
        read_issue(Path(), "{date:%Y-%m-%d}.txt", IssueRef(None, "", Path("/dev/zero")))
