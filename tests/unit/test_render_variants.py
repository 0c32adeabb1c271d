"""A template may branch on the subscriber fields it declares: one render per combination, and nothing else to see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from render_examples import ISSUE, failure, page, renderer, write

from newsletter.rendering import render as render_module
from newsletter.rendering.mjml import mjml_to_html

FILES = {
    "template.toml": 'fields = ["tier", "language", "tier"]',
    "issue.mjml.j2": page("<p>{{ subscriber.tier or 'none' }}/{{ subscriber['language'] or 'none' }}</p>"),
    "issue.txt.j2": "{% if subscriber.tier == 'gold' %}Thank you.{% endif %} {{ holes.email }}",
}


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes every pass through the MJML library."""
    passes: list[str] = []

    def counted(mjml: str) -> str:
        passes.append(mjml)
        return mjml_to_html(mjml)

    monkeypatch.setattr(render_module, "mjml_to_html", counted)
    return passes


def test_each_distinct_combination_is_rendered_once(tmp_path: Path, rendered: list[str]) -> None:
    chain = renderer(write(tmp_path, FILES))
    assert chain.fields == ("language", "tier")
    people = [
        {"tier": tier, "language": language, "city": str(n)}
        for n in range(50)
        for tier in ("gold", "")
        for language in ("en", "de")
    ]
    variants = {chain.variant_of(person) for person in people}
    assert variants == {(("language", language), ("tier", tier)) for tier in ("gold", "") for language in ("en", "de")}
    htmls = {chain.render(ISSUE, chain.variant_of(person)).html for person in people}
    assert len(htmls) == len(rendered) == 4
    chain.render(dataclasses.replace(ISSUE, subject="another"), chain.variant_of(people[0]))
    assert len(rendered) == 5


def test_a_variant_shows_in_both_parts_and_in_its_hash(tmp_path: Path) -> None:
    chain = renderer(write(tmp_path, FILES))
    gold, none = chain.render(ISSUE, (("language", "de"), ("tier", "gold"))), chain.render(ISSUE)
    assert "<p>gold/de</p>" in gold.html.template
    assert "<p>none/none</p>" in none.html.template
    assert "Thank you." in gold.text.template
    assert "Thank you." not in none.text.template
    assert gold.variant == (("language", "de"), ("tier", "gold"))
    assert none.variant == (("language", ""), ("tier", ""))
    assert gold.content_hash != none.content_hash
    assert chain.render(ISSUE, chain.variant_of({})) is none


def test_a_value_is_escaped_like_all_text(tmp_path: Path) -> None:
    chain = renderer(write(tmp_path, FILES))
    html = chain.render(ISSUE, chain.variant_of({"tier": "<script>{{ 7*7 }}&"})).html.template
    assert "<p>&lt;script&gt;{{ 7*7 }}&amp;/none</p>" in html


def test_fields_that_are_not_declared_cannot_be_reached(tmp_path: Path, rendered: list[str]) -> None:
    chain = renderer(write(tmp_path, FILES))
    secret = (("language", ""), ("secret", "x"), ("tier", ""))
    assert chain.render(ISSUE, secret) is chain.render(ISSUE)
    assert len(rendered) == 1
    for way in (
        "subscriber.city",
        "subscriber['city']",
        "subscriber.items()",
        "subscriber.get('tier')",
        "subscriber.keys",
    ):
        error = failure(tmp_path, FILES | {"issue.mjml.j2": page("{{ " + way + " }}")})
        assert "is undefined: subscriber has nothing of that name" in error.message
        assert str(error.place) == "mine/issue.mjml.j2:5"
    for way in ("subscriber._values", "subscriber.__dict__", "subscriber | attr('_values')", "holes._contexts"):
        assert "is unsafe" in failure(tmp_path, FILES | {"issue.mjml.j2": page("{{ " + way + " }}")}).message


def test_a_template_without_fields_has_one_variant(tmp_path: Path, rendered: list[str]) -> None:
    chain = renderer(write(tmp_path, {"issue.mjml.j2": page("x")}))
    assert chain.fields == ()
    assert chain.variant_of({"tier": "gold"}) == ()
    assert chain.render(ISSUE) is chain.render(ISSUE, ())
    assert len(rendered) == 1
