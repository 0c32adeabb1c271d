"""The catalogues: every language says the same things, with the same values, and a project may say some otherwise."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from newsletter.errors import TemplateError
from newsletter.rendering.words import FALLBACK, Words, catalogues, values_of, words_of

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
LANGUAGES = sorted(path.stem for path in (TEMPLATES / "languages").glob("*.toml"))


def texts(language: str) -> dict[str, str]:
    document = tomllib.loads((TEMPLATES / "languages" / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{table}.{key}": text for table, entries in document.items() for key, text in entries.items()}


def test_there_is_more_than_one_language() -> None:
    assert {"en", "de"} <= set(LANGUAGES)
    assert set(catalogues([TEMPLATES])) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalogue_has_the_same_keys_in_the_same_order_with_the_same_values(language: str) -> None:
    english, other = texts(FALLBACK), texts(language)
    assert list(other) == list(english)
    assert {key: values_of(text) for key, text in other.items()} == {
        key: values_of(text) for key, text in english.items()
    }
    assert all(text.strip() == text and text for text in other.values())


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {FALLBACK}))
def test_a_translation_translates(language: str) -> None:
    english, other = texts(FALLBACK), texts(language)
    sentences = {key for key, text in english.items() if len(re.sub(r"\{\w+\}", "", text).split()) > 3}
    assert {key for key in sentences if other[key] == english[key]} == set()


def test_every_word_that_a_template_or_the_program_asks_for_is_there() -> None:
    known = texts(FALLBACK)
    asked: dict[str, str] = {}
    for file in [*TEMPLATES.rglob("*.j2"), *(ROOT / "newsletter").rglob("*.py")]:
        for key in re.findall(
            r'\bwords(?:_of\([^()]*\)|\([^()]*\))?\(\s*"([a-z_]+\.[a-z_0-9]+)"', file.read_text("utf-8")
        ):
            asked[key] = file.name
    assert len(asked) > 10
    assert {key: file for key, file in asked.items() if key not in known} == {}


def test_a_project_says_some_of_it_otherwise_and_adds_a_language(tmp_path: Path) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "de.toml").write_text('[unsubscribe]\nbutton = "Tschüss"\n', encoding="utf-8")
    (tmp_path / "languages" / "pt-BR.toml").write_text('[unsubscribe]\nbutton = "Sair"\n', encoding="utf-8")
    roots = [tmp_path, TEMPLATES]
    assert words_of("de", roots)("unsubscribe.button") == "Tschüss"
    assert words_of("de", roots)("unsubscribe.done", newsletter="X") == "X ist abbestellt"
    portuguese = words_of("pt-BR", roots)
    assert (portuguese.language, portuguese("unsubscribe.button")) == ("pt-BR", "Sair")
    assert portuguese("page.skip") == "To the content"
    assert words_of("pt", roots).language == FALLBACK
    assert words_of("de-AT", roots).language == "de"
    assert words_of("../../etc/passwd", roots).language == FALLBACK


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        ('[unsubscribe]\ndone = "Bye {newsleter}"\n', r"unsubscribe\.done has \{newsleter\}, which is no value"),
        ("[page]\n[unsubscribe\n", r"en\.toml:2.*not valid TOML"),
        ('[page]\nskip = "x"\n\n[unsubscribe]\nbuton = "x"\n', r"en\.toml:5: nothing asks for unsubscribe\.buton"),
        ("[unsubscribe]\ndone = 3\n", r"unsubscribe\.done is no text"),
        ('done = "x"\n', r"done is no table"),
    ],
)
def test_a_catalogue_that_is_wrong_is_told_when_it_is_read(tmp_path: Path, catalogue: str, said: str) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "en.toml").write_text(catalogue, encoding="utf-8")
    with pytest.raises(TemplateError) as caught:
        words_of("en", [tmp_path, TEMPLATES])
    assert re.search(said, str(caught.value))


def test_own_words_for_own_pages_stand_in_a_table_of_their_own_in_english_first(tmp_path: Path) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "de.toml").write_text('[club]\nhello = "Hallo"\n', encoding="utf-8")
    with pytest.raises(TemplateError, match=r"nothing asks for club\.hello"):
        words_of("de", [tmp_path, TEMPLATES])
    (tmp_path / "languages" / "en.toml").write_text('[club]\nhello = "Hello"\n', encoding="utf-8")
    assert words_of("de", [tmp_path, TEMPLATES])("club.hello") == "Hallo"


def test_values_are_put_in_as_they_are_and_braces_in_them_mean_nothing() -> None:
    words = Words("en", {"a.b": "{one} and {two}"})
    assert words("a.b", one="{two}", two="{one}") == "{two} and {one}"
