"""Heading or paragraph?"""

from __future__ import annotations

import pytest

from newsletter.issue.headings import ends_like_sentence, is_heading, section_key


@pytest.mark.parametrize(
    "text",
    [
        "China Bans Exports to Japan",
        "Economy & Markets",
        "prices rise by 3 percent",
        "In Case You Missed It...",
        "He Hasn't Ruled It Out …",
        "And so it goes on...”",
        "Can a Tram Be Too Quiet?",
        "“Can a Tram Be Too Quiet?”",
        "What Now for the iPhone?",
        "Happy New Year!",
        "BREAKING NEWS!",
        "Tariffs Hit the U.S.",
        "Tariffs Hit the ‘U.S.’",
        "Shops Open at 9 a.m.",
        "Marlow Buys Fernwick Inc.",
        "Who Is Charles de la Tour?",
        "中国禁止出口",
        "Section:",
        "x" * 120,
    ],
)
def test_these_are_headings(text: str) -> None:
    assert is_heading(text)


@pytest.mark.parametrize(
    "text",
    [
        "China banned exports.",
        'He said: "No."',
        "He said: “No.”",
        "(It rained.)",
        "It rained [again].",
        "Is it over?",
        "What a day!",
        "What are rates for?",
        "Tariffs hit the U.S.",
        "They open at 9 a.m.",
        "Tariffs Hit the Continent.",
        "中国禁止出口。",
        "中国禁止出口？」",
        "真的！",
        "क्या हुआ।",
        "Is that all ...?",
        "A Title-Case Line That Is " + "Very " * 20 + "Long?",
        "x" * 121,
    ],
)
def test_these_are_paragraphs(text: str) -> None:
    assert not is_heading(text)


def test_a_long_line_is_no_sentence_by_its_length_alone() -> None:
    assert not ends_like_sentence("x" * 500)
    assert ends_like_sentence("x" * 500 + ".")


def test_a_line_of_closing_marks_only_is_a_heading() -> None:
    assert is_heading('"')
    assert is_heading("…")


def test_section_keys() -> None:
    assert section_key(" Top\u00a0 News … ") == section_key("TOP NEWS.") == "top news"
    assert section_key("Straße") == section_key("STRASSE")
    assert section_key("...") == ""
