"""Preflight of what the editor wrote: subject, date, structure, wording, earlier issues."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preflight_examples import (
    MORNING,
    breach,
    clean,
    examined_of,
    issue_of,
    with_line,
    with_paragraph,
)

from newsletter.issue.model import Paragraph, Section, Story
from newsletter.preflight.comparing import folded, letters, shingles
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.registry import CHECKS
from newsletter.preflight.wording import placeholders

INFO, WARN, ERROR = Level


def test_the_example_has_nothing_to_be_said_about_it() -> None:
    """Without this, every finding below could come from the example itself."""
    found = [finding for check in CHECKS for finding in check.findings(examined_of())]
    assert [finding for finding in found if finding.level is not INFO] == []


def test_an_empty_subject_is_an_error() -> None:
    breach("subject-empty", examined_of(subject=" \u00a0"), ERROR, "empty", line=1)
    clean("subject-empty", examined_of(), examined_of(subject="今日のニュース"), examined_of(subject="☀"))


def test_a_long_subject_is_counted_in_characters_and_finds_its_line_in_the_front_matter() -> None:
    long = "Über die Brücke: " + "ö" * 54
    issue = issue_of(f'+++\nsubject = "{long}"\n+++\n{MORNING}')
    breach("subject-length", examined_of(issue), WARN, "71 characters", line=2)
    clean("subject-length", examined_of(subject="ö" * 70))


def test_a_subject_that_shouts_is_a_warning() -> None:
    breach("subject-shouting", examined_of(subject="BRIDGE OPENS AT LAST"), WARN, "capitals", line=1)
    breach("subject-shouting", examined_of(subject="Bridge Opens!!"), WARN, "!!", line=1)
    clean(
        "subject-shouting",
        examined_of(),
        examined_of(subject="NATO, EU, UN"),
        examined_of(subject="今日の速報！"),
    )


def test_a_subject_with_a_line_break_is_an_error() -> None:
    breach(
        "subject-characters", examined_of(subject="Bridge\r\nBcc: all@example.com"), ERROR, "U+000D", "U+000A", line=1
    )
    clean("subject-characters", examined_of(subject="Brücke – “offen” 🌉\u00a0!"))


def test_preheaders_are_there_short_and_not_the_subject_again() -> None:
    breach("preheader-empty", examined_of(preheader="  "), WARN)
    breach("preheader-length", examined_of(preheader="b" * 91), WARN, "91 characters")
    breach("preheader-repeats", examined_of(preheader="daily buzz – 7 January, 2026"), WARN, line=1)
    clean("preheader-empty", examined_of())
    clean("preheader-length", examined_of(preheader="b" * 90))
    clean("preheader-repeats", examined_of(), examined_of(subject="", preheader=""))


@pytest.mark.parametrize(
    "title",
    ["Daily Buzz: 6 January 2026", "Daily Buzz, January 6, 2026", "Daily Buzz 2026-01-06"],
)
def test_another_date_in_the_title_is_an_error_at_the_titles_line(title: str) -> None:
    issue = issue_of("\n" + MORNING.replace("Daily Buzz: 7 January 2026", title))
    breach("date-mismatch", examined_of(issue), ERROR, "the title says 2026-01-06, the issue is for 2026-01-07", line=2)


def test_a_title_without_a_date_is_worth_knowing_and_no_mismatch() -> None:
    undated = examined_of(issue_of(MORNING.replace(": 7 January 2026", "")))
    breach("title-undated", undated, INFO, line=1)
    clean("date-mismatch", undated, examined_of())
    clean("title-undated", examined_of())


def test_a_wrong_weekday_in_the_title_is_a_warning() -> None:
    def titled(title: str) -> Examined:
        return examined_of(issue_of(MORNING.replace("Daily Buzz: 7 January 2026", title)))

    breach(
        "title-weekday",
        titled("Buzz, Thursday, 7 January 2026"),
        WARN,
        "says Thursday, 2026-01-07 is a Wednesday",
        line=1,
    )
    clean("title-weekday", titled("Buzz, Wed 7 January 2026"), titled("Sunday Best"), titled("Monitor: 7 January 2026"))


def test_a_title_alone_is_an_empty_issue() -> None:
    issue = dataclasses.replace(issue_of(), sections=())
    breach("issue-empty", examined_of(issue), ERROR, "nothing to read", line=1)
    clean("issue-empty", examined_of())


def test_an_empty_section_is_named_with_its_line() -> None:
    breach("empty-section", examined_of(issue_of(MORNING + "In Case You Missed It...\n")), WARN, "In Case You", line=11)
    clean("empty-section", examined_of())


def test_the_second_of_two_equal_headlines_is_named() -> None:
    again = MORNING + "Ferry line keeps its “night” service\nIt also said that fares will rise by a tenth in May.\n"
    breach(
        "headline-repeated", examined_of(issue_of(again.replace("its “night”", "its night"))), WARN, "line 6", line=11
    )
    clean("headline-repeated", examined_of())


def test_a_headline_that_was_read_as_a_section_is_compared_with_the_headlines() -> None:
    section_first = MORNING + "Ferry Returns\nBoats Again\nThey run.\nFerry Returns\nIt is back.\n"
    breach(
        "headline-repeated", examined_of(issue_of(section_first)), WARN, "a section of this issue (line 11)", line=14
    )
    section_last = MORNING + "Ferry Returns\nIt is back.\nFerry Returns\nBoats Again\nThey run.\n"
    breach(
        "headline-repeated", examined_of(issue_of(section_last)), WARN, "a headline of this issue (line 11)", line=13
    )


def test_a_section_that_stands_twice_is_named() -> None:
    breach(
        "section-repeated",
        examined_of(issue_of(MORNING + "Top News\nTrams Return\nThey run again.\n")),
        WARN,
        "line 2",
        line=11,
    )
    clean("section-repeated", examined_of())


@pytest.mark.parametrize(
    "line",
    [
        "The bridge over the harbour, which took nine years to build, will be closed to lorries during the first week",
        "The bridge took nine years to build. It will be closed to lorries in the first week",
    ],
)
def test_a_headline_that_reads_like_a_paragraph_is_a_warning(line: str) -> None:
    issue = issue_of(MORNING.replace("Ferry Line Keeps Its Night Service", line))
    breach("headline-like-paragraph", examined_of(issue), WARN, line[:40], line=6)


def test_ordinary_headlines_do_not_read_like_paragraphs() -> None:
    for headline in (
        "U.S. Senate Votes on St. Lawrence Seaway",
        "“We Won.” How a Small Team Beat the Odds",
        "Why 3.5 Is Not Enough",
    ):
        issue = issue_of(MORNING.replace("Ferry Line Keeps Its Night Service", headline))
        assert headline in {story.headline for story in issue.stories()}
        clean("headline-like-paragraph", examined_of(issue))


def test_a_title_case_line_above_a_paragraph_may_be_a_headline() -> None:
    text = MORNING.replace(
        "half of what the tunnel takes now.\n",
        "half of what the tunnel takes now.\n{}\nThe trams come back to the old town after sixty years.\n",
    )
    breach(
        "paragraph-like-headline",
        examined_of(issue_of(text.format("Trams to Return to the Old Town."))),
        WARN,
        "Trams to Return",
        line=6,
    )
    breach(
        "paragraph-like-headline",
        examined_of(issue_of(text.format("Reserve Bank of India Buys an iPhone Yet."))),
        WARN,
        line=6,
    )
    for line in ("It was a good day for the town.", "Deutsche Bank.", "Trams Return To The town."):
        clean("paragraph-like-headline", examined_of(issue_of(text.format(line))))
    clean("paragraph-like-headline", examined_of())


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("The minister said TK people had come.", "TK"),
        ("The minister (TKTK) said so.", "TKTK"),
        ("TODO: ask the port.", "TODO"),
        ("TODO", "TODO"),
        ("The port [TODO: ask them] said so.", "[TODO: ask them]"),
        ("FIXME (who said so?)", "FIXME"),
        ("XXX – a figure from the port.", "XXX"),
        ("The report is out (link tk) today.", "(link tk)"),
        ("The report is out [ADD LINK] today.", "[ADD LINK]"),
        ("Xxx to come.", "Xxx to come"),
        ("Lorem ipsum dolor sit amet.", "Lorem ipsum"),
        ("Dear [Name], good morning.", "[Name]"),
        ("Good morning, [first name].", "[first name]"),
        ("Figures: [insert figures here].", "[insert figures here]"),
        ("Good morning, {{ subscriber.name }}.", "{{ subscriber.name }}"),
        ("Good morning, {% if name %}you.", "{% if name %}"),
        ("Good morning, *|FNAME|*.", "*|FNAME|*"),
        ("Good morning, {first_name}.", "{first_name}"),
        ("A stray }} stands here.", "}}"),
    ],
)
def test_placeholder_text_is_an_error_with_its_line(line: str, mark: str) -> None:
    breach("placeholder-text", examined_of(with_line(line)), ERROR, f'"{mark}"', line=6)


def test_a_mark_that_names_hold_too_is_a_warning_in_the_midst_of_a_text() -> None:
    headline = MORNING.replace("Ferry Line Keeps Its Night Service", "TODO App Maker Sold to XXX Holdings")
    breach("placeholder-text", examined_of(issue_of(headline)), WARN, '"TODO"', '"XXX"', line=6)
    breach("placeholder-text", examined_of(with_line("It was Super Bowl XXX, they said.")), WARN, '"XXX"', line=6)


@pytest.mark.parametrize(
    "line",
    [
        "They [add] that the [ADD] law of the town of Tk (see TKs) is old.",
        "TK Maxx opened a shop in the ATK building, near the TKs' club.",
        "Todo el mundo habla de ello, se lo digo yo a ustedes.",
        "Members of staff [sic] told [the president] so on the MXXX line.",
        "See https://example.com/TK/TODO/xxx/%7B%7Bid%7D%7D for the exxxtra part of it.",
        "See [link](https://example.com/), which another check is about.",
        "The set {1, 2} is not a name, and neither is {x} in a formula.",
    ],
)
def test_ordinary_words_are_no_placeholders(line: str) -> None:
    clean("placeholder-text", examined_of(with_line(line)))


def test_a_placeholder_in_the_subject_points_at_the_front_matter() -> None:
    issue = issue_of(f'+++\nsubject = "Bridge opens, TK more"\n+++\n{MORNING}')
    breach("placeholder-text", examined_of(issue), ERROR, '"TK"', line=2)


def markdown(body: str) -> Examined:
    """A Markdown issue with this from line 7 on."""
    return examined_of(issue_of(f"# Daily Buzz: 7 January 2026\n\n## Top News\n\n### A Story\n\n{body}\n", suffix="md"))


@pytest.mark.parametrize(
    ("body", "said", "line"),
    [
        ("| port | boats |\n|---|:--:|\n| north | 3 |", "a table", 7),
        ("port | boats\n--- | ---\nnorth | 3", "a table", 7),
        ("The bridge opens\nin ~~May~~ June.", '"~~May~~"', 8),
        ("### The ~~Old~~ New Bridge\n\nIt is open.", '"~~Old~~"', 7),
        ("Still open:\n\n- the port\n- [ ] ask the port", '"ask the port"', 10),
    ],
)
def test_markdown_of_other_programs_is_named_with_its_line(body: str, said: str, line: int) -> None:
    breach("markdown-unsupported", markdown(body), WARN, said, line=line)


def test_what_is_no_table_no_task_and_not_struck_out_is_left_alone() -> None:
    clean(
        "markdown-unsupported",
        markdown("Write `~~word~~` or `|---|` for it.\n\n    - [x](https://example.com/) is ~~ not struck ~~ out"),
        markdown("```\n| a | b |\n|---|---|\n```\n\nA | B, and a rule:\n\n---\n\n- [sic] stays"),
        examined_of(with_line("A text file knows no ~~struck~~ words and no |---| tables, so they are its own.")),
    )


@given(st.text(alphabet=st.characters(exclude_characters="[]{}%*|<"), max_size=80))
def test_text_without_the_marks_is_never_a_placeholder(text: str) -> None:
    bare = "".join(char for char in text if char.casefold() not in "tkxodfimelrsunph")
    assert placeholders(bare) == []


def test_garbled_characters_are_named_with_their_line() -> None:
    for garbled in (
        "It’s nine.".encode().decode("cp1252"),
        "Café is open.".encode().decode("latin-1"),
        "The \ufffd is lost.",
    ):
        breach("text-garbled", examined_of(with_line(garbled)), WARN, "garbled", line=6)
    override = with_paragraph(Paragraph("A \u202etxet is turned", "A text is turned", 91))
    breach("text-garbled", examined_of(override), WARN, "direction", line=91)
    clean(
        "text-garbled", examined_of(with_line("São Paulo, Ângela and “Ålesund” are – as ever – spelt right: Ãé, £5."))
    )


def test_a_word_too_long_for_a_phone_is_named() -> None:
    breach("word-long", examined_of(with_line(f"It is called {'donau' * 9} now.")), WARN, "45 characters", line=6)
    breach(
        "word-long",
        examined_of(with_paragraph(Paragraph("\u00a0".join(["word"] * 20), "word", 91))),
        WARN,
        "no-break",
        line=91,
    )


def test_words_that_can_break_are_not_too_long() -> None:
    lines = [
        "well-known-" * 9 + "word is fine.",
        "川の橋が開通した" * 12 + "。",
        "path/to/something/" * 5 + " is fine.",
        "ภาษาไทย" * 12 + ".",
    ]
    clean("word-long", *(examined_of(with_line(line)) for line in lines))


def test_a_run_of_exclamation_marks_is_worth_knowing() -> None:
    breach(
        "exclamation-run",
        examined_of(with_line("The bridge is open at last, and what a view it is!!! Go there.")),
        INFO,
        "!!!",
        line=6,
    )
    clean("exclamation-run", examined_of(with_line("The bridge is open at last! Really?!")))


YESTERDAY = dt.date(2026, 1, 6)


def yesterdays(text: str) -> Examined:
    """The morning's issue, with this one the day before."""
    return examined_of(earlier=[issue_of(text.replace("7 January", "6 January"), YESTERDAY)])


def test_yesterdays_issue_saved_under_todays_name_is_an_error() -> None:
    copied = MORNING.replace("harbour opened", "Harbour — opened")
    breach("body-same", yesterdays(copied), ERROR, "2026-01-06")
    clean("body-similar", yesterdays(copied))
    clean("body-same", yesterdays(MORNING.replace("nine years", "ten years")), examined_of())


def test_an_issue_that_is_mostly_yesterdays_is_a_warning_with_the_share() -> None:
    breach(
        "body-similar",
        yesterdays(MORNING.replace("Prices at the spring auction rose", "Prices at the auction fell")),
        WARN,
        "% of the text was in 2026-01-06",
    )
    half = MORNING.partition("Top Business")[0]
    breach(
        "body-similar",
        yesterdays(half + "Corporate\nTrams Return\n" + "They run again in the old town. " * 40),
        WARN,
        "%",
    )


def test_another_days_news_is_not_similar() -> None:
    other = "Daily Buzz: 6 January 2026\nTop News\nTrams Return to the Old Town\n" + (
        "The trams come back to the old town after sixty years, the council said on Monday, at the old fares.\n"
        "The new bridge over the harbour opens on Tuesday.\n"
    )
    clean("body-similar", yesterdays(other))
    clean("headline-earlier", yesterdays(other))
    clean("paragraph-repeated", yesterdays(other), examined_of())


def test_the_issue_itself_among_the_earlier_ones_is_passed_over() -> None:
    clean("body-same", examined_of(earlier=[issue_of()]))


def test_only_the_last_seven_issues_count() -> None:
    days = [
        issue_of("Buzz\nTop News\nQuiet Day\nNothing.\n", DAY) for DAY in (dt.date(2026, 1, n) for n in range(1, 7))
    ]
    days += [
        issue_of("Buzz\nTop News\nQuiet Day\nNothing.\n", dt.date(2025, 12, 31)),
        issue_of(MORNING, dt.date(2025, 12, 30)),
    ]
    assert len(days) == 8
    clean("body-same", examined_of(earlier=days))
    breach("body-same", examined_of(earlier=days[1:]), ERROR, "2025-12-30")


def test_a_headline_of_an_earlier_issue_is_named_with_its_day() -> None:
    earlier = "Daily Buzz: 6 January 2026\nTop News\nTEA TRADERS see record prices\nThe auction begins today.\n"
    breach("headline-earlier", yesterdays(earlier), WARN, "was a headline of 2026-01-06", line=9)


def test_a_paragraph_that_stood_before_is_named_where_it_stands_now() -> None:
    paragraph = MORNING.splitlines()[6]
    earlier = f"Daily Buzz: 6 January 2026\nTop News\nFerries\n{paragraph}\n"
    breach("paragraph-repeated", yesterdays(earlier), WARN, "was in 2026-01-06", line=7)
    breach(
        "paragraph-repeated", examined_of(issue_of(MORNING + f"Boats Again\n{paragraph}\n")), WARN, "line 7", line=12
    )


def test_short_paragraphs_may_stand_every_day() -> None:
    greeting = Section(
        "Corporate", (Story("Weather Today", (Paragraph("Have a good day.", "Have a good day.", 12),), line=11),)
    )
    today = dataclasses.replace(issue_of(), sections=(*issue_of().sections, greeting))
    before = dataclasses.replace(issue_of("Buzz\nTop News\nA Day\nNothing.\n", YESTERDAY), sections=(greeting,))
    clean("paragraph-repeated", examined_of(today, earlier=[before]))


@given(st.text(max_size=200))
def test_comparing_ignores_case_spaces_and_punctuation_of_any_text(text: str) -> None:
    spread = f"  “{text}” \n"
    assert folded(spread) == folded(text)
    assert folded(folded(text)) == folded(text)
    assert letters(text).replace(" ", "") == letters(text)
    assert shingles(text) == shingles(spread)
