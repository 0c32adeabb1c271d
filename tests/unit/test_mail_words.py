"""The words of the mail around its stories: in the newsletter's language, from catalogues that a project may change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from render_examples import ISSUE, PUBLICATION, SHIPPED, failure, page, write

from newsletter.preflight.model import Examined, Level
from newsletter.preflight.registry import examine
from newsletter.rendering.model import RenderedIssue
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template


def digest(language: str, *roots: Path, edition: str = "") -> RenderedIssue:
    publication = dataclasses.replace(PUBLICATION, language=language)
    issue = dataclasses.replace(ISSUE, edition=edition)
    return Renderer(find_template("digest", [*roots, SHIPPED]), publication).render(issue)


def test_a_german_mail_has_no_english_word_of_the_template() -> None:
    mail = digest("de", edition="abend")
    html, text = mail.html.template, mail.text.template
    for said in (
        "Mittwoch, 7. Januar 2026 · Ausgabe „Abend“",
        "1 Min. Lesezeit",
        "2 Meldungen",
        "Weiterlesen auf example.com",
        "Sie erhalten diese Mail, weil {email}",
        "Einstellungen",
        "Abbestellen",
    ):
        assert said in html, said
        assert said in text, said
    assert "Im\u00a0Browser\u00a0lesen" in html
    assert "Im Browser lesen: {view_url}" in text
    assert "IN DIESER AUSGABE" in text
    assert "weil {email}\nDaily Buzz abonniert hat." in text
    english = ("min read", "Read on", "View", "In this issue", "You get", "Preferences", "Unsubscribe", "stories")
    assert [word for word in english if word in html or word in text] == []
    assert '<html lang="de" dir="ltr"' in html
    assert [
        one
        for one in examine(
            Examined(ISSUE, digest("de"), dataclasses.replace(PUBLICATION, language="de", base_url="https://x.example"))
        )
        if one.level is Level.ERROR
    ] == []


def test_where_no_catalogue_is_found_the_words_are_english_and_lang_is_that_of_the_stories() -> None:
    mail = digest("fi")
    assert '<html lang="fi" dir="ltr"' in mail.html.template
    assert "Wednesday, 7 January 2026" in mail.text.template
    assert '<html lang="ar" dir="rtl"' in digest("ar").html.template
    assert "In dieser Ausgabe" in digest("de-AT").html.template, "the catalogue of the language serves its regions"


def test_a_project_may_change_one_text_and_the_hash_changes_with_it(tmp_path: Path) -> None:
    own = tmp_path / "languages" / "en.toml"
    own.parent.mkdir()
    own.write_text('[mail]\nunsubscribe = "Leave <now> & here"\n')
    mail = digest("en", tmp_path)
    assert ">Leave &lt;now&gt; &amp; here</a>" in mail.html.template
    assert "Leave <now> & here: {unsubscribe_url}" in mail.text.template
    assert ">Preferences</a>" in mail.html.template, "the others stay"
    hashes = {mail.content_hash, digest("en").content_hash, digest("de").content_hash}
    assert len(hashes) == 3

    own.write_text('[page]\nskip = "Straight to the text"\n')
    assert digest("en", tmp_path).content_hash == digest("en").content_hash, "the words of pages are no content"


def test_a_text_of_another_variant_or_of_none_counts_as_content_too(tmp_path: Path) -> None:
    """As a change to one variant's branch does: all of them share what was approved."""
    own = tmp_path / "languages" / "en.toml"
    own.parent.mkdir()
    own.write_text('[mail]\nedition = "the {edition} one"\n')
    assert digest("en", tmp_path).html == digest("en").html
    assert digest("en", tmp_path).content_hash != digest("en").content_hash


@pytest.mark.parametrize(
    "use", ["{{ words('mail.no_such_key') }}", "{{ words('mail.edition') }}", "{{ words }}", "{{ words.txts }}"]
)
def test_a_mistake_with_words_is_told_with_the_templates_line(use: str, tmp_path: Path) -> None:
    write(tmp_path, {"issue.mjml.j2": page(use)})
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "en.toml").write_text('[mail]\nedition = "{edition} edition"\n')
    error = failure(tmp_path, {"issue.mjml.j2": page(use)})
    assert error.place is not None
    assert (str(error.place.path), error.place.line) == ("mine/issue.mjml.j2", 5)


def test_a_template_cannot_change_the_words_of_the_next_one(tmp_path: Path) -> None:
    error = failure(tmp_path, {"issue.mjml.j2": page("{% do words.texts.update({'mail.x': 'y'}) %}")})
    assert "mappingproxy" in str(error) or "update" in str(error)
