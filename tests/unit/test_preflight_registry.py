"""The registry of checks: documented, tried, ordered, and not brought down by one of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from preflight_examples import DATE, MORNING, PUBLICATION, SECTIONS, examined_of, issue_of

from newsletter.errors import IssueError
from newsletter.issue.find import IssueRef, read_issue
from newsletter.preflight.check import Check, Found, Rule, check
from newsletter.preflight.model import Examined, Finding, Level
from newsletter.preflight.registry import CHECKS, RULES, examine
from newsletter.preflight.verdict import failing, in_order, worst_level
from newsletter.rendering.model import Publication
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

ROOT = Path(__file__).parents[2]
INFO, WARN, ERROR = Level


def test_the_documentation_lists_every_rule_as_it_is_and_no_other() -> None:
    text = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| (.+) \| (.+) \|$", text, flags=re.MULTILINE)
    assert documented == [(rule.id, ", ".join(rule.levels), rule.meaning, rule.remedy) for rule in RULES]


def test_ids_are_unique_and_levels_stand_from_worst_to_least() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert [level.rank for level in rule.levels] == sorted({level.rank for level in rule.levels}, reverse=True)
        assert rule.meaning.endswith((".", ")"))
        assert rule.remedy


def test_every_check_is_tried_with_an_issue_that_breaks_it_and_one_that_does_not() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_preflight_*.py"))
    ids = {one.rule.id for one in CHECKS}
    assert set(re.findall(r'\bbreach\(\s*"([a-z-]+)"', sources)) == ids
    assert set(re.findall(r'\bclean\(\s*"([a-z-]+)"', sources)) == ids


def test_a_level_that_is_not_documented_is_refused() -> None:
    rule = Rule("some-rule", ERROR, "It means something.", "Do something.", lesser=(INFO,))
    assert rule.finding("x", level=INFO).level is INFO
    with pytest.raises(ValueError, match="error or info, not warn"):
        rule.finding("x", level=WARN)


def breaking(examined: Examined) -> Iterator[Found]:
    yield Found("found before it broke")
    raise KeyError(examined.issue.title)


BREAKING = check("breaking", ERROR, WARN, means="It breaks.", do="Nothing.")(breaking)


def test_a_check_that_breaks_hides_no_other_and_is_not_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """What it would have found is not known, so it counts as the worst it can find."""
    with caplog.at_level(logging.ERROR):
        found = examine(examined_of(subject=""), [BREAKING, *CHECKS])
    [broken] = [finding for finding in found if finding.id == "breaking"]
    assert broken.level is ERROR
    assert "KeyError: 'Daily Buzz: 7 January 2026'" in broken.message
    assert "test_preflight_registry.py:" in broken.message
    assert "subject-empty" in {finding.id for finding in found}
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_check_called_by_itself_lets_its_exception_through() -> None:
    with pytest.raises(KeyError):
        BREAKING.findings(examined_of())


def test_the_order_is_the_worst_first_then_by_line_with_lineless_findings_last() -> None:
    def saying(name: str, *found: Found) -> Check:
        return check(name, ERROR, WARN, INFO, means="It says.", do="Nothing.")(lambda examined: found)

    checks = [
        saying("b", Found("1", 9, WARN), Found("2", None, ERROR), Found("3", 4, INFO)),
        saying("a", Found("4", 2, WARN), Found("5", 0, WARN), Found("6", 7, ERROR), Found("6", 7, ERROR)),
    ]
    assert [(one.level, one.line, one.message) for one in examine(examined_of(), checks)] == [
        (ERROR, 7, "6"),
        (ERROR, None, "2"),
        (WARN, 2, "4"),
        (WARN, 9, "1"),
        (WARN, None, "5"),
        (INFO, 4, "3"),
    ]


FINDINGS = st.lists(
    st.builds(
        Finding,
        id=st.sampled_from(["a", "b"]),
        level=st.sampled_from(Level),
        message=st.sampled_from(["x", "y"]),
        line=st.none() | st.integers(1, 9),
    )
)


@given(FINDINGS, st.sampled_from(Level))
def test_an_issue_fails_exactly_where_its_worst_finding_reaches_the_level(found: list[Finding], level: Level) -> None:
    ordered = in_order(found)
    assert set(ordered) == set(found)
    worst = worst_level(ordered)
    assert worst is (ordered[0].level if ordered else None)
    assert bool(failing(ordered, level)) == (worst is not None and worst.rank >= level.rank)
    assert [one for one in ordered if one in failing(ordered, level)] == list(failing(ordered, level))


@given(st.text(max_size=300) | st.text('[](){}<>!?.:/%#&*|"’ \nahtpswxTK\u00a0\u4e2d', max_size=300), st.booleans())
def test_no_issue_that_can_be_read_breaks_a_check(text: str, markdown: bool) -> None:
    line = "".join(char for char in text if char.isprintable() or char == "\n")
    try:
        if markdown:
            issue = issue_of(f"# Daily Buzz: 7 January 2026\n\n## Top News\n\n### A Story\n\n{line}\n", suffix="md")
        else:
            issue = issue_of(f"{MORNING}{line}\nThe end of it stands here.\n")
    except IssueError:
        reject()
    examined = examined_of(issue)
    for one in CHECKS:
        one.findings(examined)


@pytest.fixture(scope="module")
def shipped() -> Examined:
    """The sample issue in the digest template, as both ship, with the settings of a new project."""
    publication = Publication(
        name="daily-buzz",
        title="Daily Buzz",
        site_name="Daily Buzz",
        base_url="http://localhost:8000",
        language="en",
        postal_address=PUBLICATION.postal_address,
        sender=PUBLICATION.sender,
    )
    issue = read_issue(ROOT / "issues", "{date:%Y-%m-%d}.txt", IssueRef(DATE), (*SECTIONS, "Economy & Markets"))
    return Examined(
        issue, Renderer(find_template("digest", [ROOT / "templates"]), publication).render(issue), publication
    )


def test_the_sample_that_ships_has_the_two_warnings_it_is_meant_to_have(shipped: Examined) -> None:
    found = [finding for one in CHECKS for finding in one.findings(shipped)]
    warnings = {finding.id: finding for finding in found if finding.level is not INFO}
    assert warnings.keys() == {"empty-section", "base-url-insecure"}
    assert {finding.level for finding in warnings.values()} == {WARN}
    line = warnings["empty-section"].line
    assert line is not None
    assert shipped.issue.source_lines[line - 1].startswith("In Case You Missed It")


def test_what_is_only_worth_knowing_about_the_sample_is_a_handful_of_lines(shipped: Examined) -> None:
    infos = [finding for finding in examine(shipped) if finding.level is INFO]
    assert {finding.id for finding in infos} <= {"client-quiet", "client-partly", "client-style-block"}
