"""Front matter, sound and broken."""

from __future__ import annotations

import pytest

from newsletter.errors import IssueError
from newsletter.issue.model import Issue
from newsletter.issue.parse import parse_issue

BODY = "Daily Buzz: 7 January 2026\nA\nText.\n"

TOML = """+++
subject = "Snow: what now?"
preheader = 'All the trains that run'
lists = ["daily-buzz", "staff", "staff"]
+++
"""
YAML = """---
subject: "Snow: what now?"
preheader: All the trains that run
lists:
  - daily-buzz
  - staff
---
"""


def read(front: str, source: str = "a.txt") -> Issue:
    return parse_issue((front + BODY).encode(), source=source)


@pytest.mark.parametrize("front", [TOML, YAML, "\n\ufeff\n" + TOML, YAML.replace("---\n", "--- \t\n")])
def test_front_matter_sets_subject_preheader_and_lists(front: str) -> None:
    issue = read(front)
    assert (issue.title, issue.subject) == ("Daily Buzz: 7 January 2026", "Snow: what now?")
    assert (issue.preheader, issue.lists) == ("All the trains that run", ("daily-buzz", "staff"))


def test_the_line_of_lists_is_known_and_makes_no_difference() -> None:
    assert [read(front).lists_line for front in (TOML, YAML, "\n\n" + TOML, "", "---\nsubject: x\n---\n")] == [
        4,
        4,
        6,
        0,
        0,
    ]
    assert read(TOML) == read("\n" + TOML)


def test_lines_are_counted_from_the_top_of_the_file() -> None:
    (story,) = read(TOML).stories()
    assert (story.line, story.paragraphs[0].line) == (7, 8)


def test_front_matter_stands_before_markdown_too() -> None:
    issue = parse_issue((YAML + "# Buzz 7 January 2026\n\n### A\n").encode(), source="a.md")
    assert (issue.subject, [story.line for story in issue.stories()]) == ("Snow: what now?", [10])


@pytest.mark.parametrize("front", ["", "+++\n+++\n", "---\n---\n", "---\n# only a comment\n---\n"])
def test_without_it_subject_and_preheader_come_from_the_text(front: str) -> None:
    issue = read(front)
    assert (issue.subject, issue.preheader, issue.lists) == ("Daily Buzz: 7 January 2026", "A", ())


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ('+++\nsubjet = "x"\n+++\n', 'a.txt:2: unknown key "subjet" in the front matter. Did you mean subject?'),
        (
            "---\n\npre-header: x\n---\n",
            'a.txt:3: unknown key "pre-header" in the front matter. Did you mean preheader?',
        ),
        ("---\nauthor: x\n---\n", 'a.txt:2: unknown key "author" in the front matter.'),
        ('+++\nsubject = "x"\n[extra]\na = 1\n+++\n', 'a.txt:3: unknown key "extra" in the front matter.'),
        ("---\n1: x\n---\n", 'a.txt:2: unknown key "1" in the front matter.'),
        ('+++\nsubject = "x"\npreheader = x\n+++\n', "a.txt:3:13: the front matter is not valid TOML: Invalid value"),
        ('+++\nsubject = "x\n+++\n', "a.txt:2:13: the front matter is not valid TOML: Illegal character '\\n'"),
        ('+++\nlists = ["x",\n+++\n', "a.txt:2: the front matter is not valid TOML: Invalid value"),
        (
            '+++\nsubject = "x"\nsubject = "y"\n+++\n',
            "a.txt:3:14: the front matter is not valid TOML: Cannot overwrite",
        ),
        ("---\nsubject: a: b\n---\n", "a.txt:2:11: the front matter is not valid YAML: mapping values are not"),
        ("---\nsubject: 'a\n---\n", "a.txt:3:1: the front matter is not valid YAML: found unexpected end"),
        (
            "---\nsubject: a\nsubject: b\n---\n",
            'a.txt:3:1: the front matter is not valid YAML: "subject" is given twice',
        ),
        ("---\n- a\n---\n", 'a.txt:2: the front matter is not valid YAML: expected lines such as "subject: …"'),
        (
            "---\na: &x b\nsubject: *x\n---\n",
            "a.txt:3:10: the front matter is not valid YAML: aliases are not accepted",
        ),
        ("---\nsubject: !!python/name:os.system\n---\n", "a.txt:2:10: the front matter is not valid YAML: could not"),
        ("---\nsubject: 2026-02-30\n---\n", "a.txt:1: the front matter is not valid YAML: a value that cannot be read"),
        ("---\n? [a, b]\n: c\n---\n", "a.txt:2:3: the front matter is not valid YAML: found unhashable key"),
        ("+++\nlists = " + "[" * 5000 + "\n+++\n", "a.txt:1: the front matter is not valid TOML: a value that cannot"),
        (
            "+++\nsubject = " + "9" * 5000 + "\n+++\n",
            "a.txt:1: the front matter is not valid TOML: a value that cannot",
        ),
        ("---\nlists: " + "[" * 5000 + "\n---\n", "a.txt:1: the front matter is not valid YAML: a value that cannot"),
        ("+++\n# " + "x" * 10_000 + "\n+++\n", "a.txt:1: the front matter is longer than 10,000 characters"),
        ("+++\nsubject = 2026\n+++\n", "a.txt:2: subject must be text, not a number"),
        ("---\npreheader: yes\n---\n", "a.txt:2: preheader must be text, not true or false"),
        ("---\nsubject: 2026-01-07\n---\n", "a.txt:2: subject must be text, not a date"),
        ("---\nsubject:\n---\n", "a.txt:2: subject must be text, not nothing"),
        ("---\nsubject: ' '\n---\n", "a.txt:2: subject is empty"),
        ('+++\nsubject = "a\\u0007b"\n+++\n', "a.txt:2: subject holds a control character"),
        ('+++\nlists = "daily-buzz"\n+++\n', "a.txt:2: lists must be a list of names, not text"),
        ("+++\n\nlists = []\n+++\n", "a.txt:3: lists must be a list of names, not an empty list"),
        ("+++\nlists = [1]\n+++\n", "a.txt:2: lists must be a list of names, not a list with something else in it"),
        (
            '+++\nsubject = "x"\n\n',
            "a.txt:1: the front matter that begins here is never closed: no further line is +++",
        ),
        ("\n---\nsubject: x\n+++\n", "a.txt:2: the front matter that begins here is never closed"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(front: str, message: str) -> None:
    with pytest.raises(IssueError) as caught:
        read(front)
    assert str(caught.value).startswith(message)
    assert caught.value.hint


def test_text_on_several_lines_becomes_one() -> None:
    assert read('+++\nsubject = """One\n  two\\tthree\\u2028four\n"""\n+++\n').subject == "One two three four"


def test_front_matter_alone_is_no_issue() -> None:
    with pytest.raises(IssueError, match=r"^a\.txt: there is only front matter, no title"):
        parse_issue(TOML.encode(), source="a.txt")
