"""What a template's author reads when something is wrong: what, in which file, line and column, and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from render_examples import ISSUE, PUBLICATION, failure, page, paragraph, render, renderer, story, write

from newsletter.errors import TemplateError
from newsletter.issue.model import Section
from newsletter.rendering import render as render_module
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

GOOD = {"issue.mjml.j2": page("<p>{{ subject }}</p>")}


@pytest.mark.parametrize(
    ("content", "place", "message", "hint"),
    [
        # undefined
        ("<p>{{ pubilcation.title }}</p>", "5", "'pubilcation' is undefined", "did you mean publication?"),
        ("a\n{% for s in sections %}\n{{ s.tittle }}\n{% endfor %}", "7", "'tittle' is undefined: a section", "docs/"),
        ("{{ issue.nothing }}", "5", "'nothing' is undefined: issue has nothing of that name", "docs/reference"),
        ("{{ holes.nmae }}", "5", "'nmae' is undefined: holes has nothing of that name", "docs/reference"),
        ("{{ subscriber.tier }}", "5", "'tier' is undefined: subscriber has nothing", 'fields = ["tier"]'),
        ("{{ subscriber['tier'] }}", "5", "'tier' is undefined: subscriber has nothing", 'fields = ["tier"]'),
        ("{% if sections[99].title %}{% endif %}", "5", "tuple object has no element 99", ""),
        # Jinja
        ("{% if true %}\n\n{% endfor %}", "7", "Encountered unknown tag 'endfor'", ""),
        ("{{ subject | nofilter }}", "5", "No filter named 'nofilter'.", ""),
        ("{{ subject + 1 }}", "5", 'can only concatenate str (not "int") to str', "docs/"),
        ("{{ 1 / 0 }}", "5", "ZeroDivisionError: division by zero", "docs/"),
        ("{{ sections[1].stories[1].link }}", "5", "prints None, which is no text", "docs/"),
        ("{{ publication.sections }}", "5", "prints a tuple, which is no text", "docs/"),
        ("{{ holes }}", "5", "prints a Holes, which is no text", "docs/"),
        ("{{ issue.stories }}", "5", "prints a method, which is no text", "docs/"),
        # out of the box
        ("{{ issue.__class__ }}", "5", "access to attribute '__class__' of 'Issue' object is unsafe.", "docs/"),
        ("{{ ''.__class__.__mro__ }}", "5", "access to attribute '__class__' of 'str' object is unsafe.", "docs/"),
        ("{{ '{0.__class__}'.format(issue) }}", "5", "access to attribute '__class__' of 'Issue'", "docs/"),
        ("{{ issue | attr('__init__') }}", "5", "access to attribute '__init__' of 'Issue' object is unsafe.", "docs/"),
        ("{{ holes._placeholder }}", "5", "access to attribute '_placeholder' of 'Holes' object is unsafe.", ""),
        ("{{ prose.__globals__ }}", "5", "'prose' is undefined", ""),
        ("{{ lipsum() }}", "5", "'lipsum' is undefined", ""),
        ("{{ [1, 2] | random }}", "5", "No filter named 'random'.", ""),
        ("{% include '../other/secret.txt' %}", "5", "includes '../other/secret.txt', which leads out", "own folder"),
        ("{% include '/etc/hostname' %}", "5", "includes '/etc/hostname', which does not exist", ""),
        ("a\n{% include 'nothing.j2' %}", "6", "includes 'nothing.j2', which does not exist", ""),
        ("{% include 'issue.mjml.j2' %}", "5", "includes or calls itself without end", ""),
        ("{% macro m() %}\n{{ m() }}\n{% endmacro %}{{ m() }}", "6", "includes or calls itself without end", ""),
        # MJML
        ("\n  <mj-image/>", "6:3", "<mj-image> inside <mj-text>", "close it first"),
        ("é {{ '<b>' | safe }}", "6:54", "a closing tag that does not match <b>", "mine/issue.mjml.j2:5:3"),
        ("é {{ '<br></br>' | safe }}", "5:3", "<br> holds nothing", "write <br/>"),
        ("x &foo;", "5:3", "an unknown entity &foo;", "write the character itself"),
        (
            "<p>{{ note[0].text }} <b></p>",
            "5:26",
            "a closing tag that does not match <b>",
            "close <b> first; it was opened at ",
        ),
        # CSS in attributes
        ("é <b style='color: #12345678'>x</b>", "5:20", "the inliner would drop 'color: #12345678'", ""),
        ('é <b style="x">x</b>', "5:13", "a style attribute that is no CSS", ""),
        # holes
        ("{{ holes.name | upper }}", "", "a placeholder was damaged", "as it is"),
        ("{{ holes.name | truncate(9, true, '', 0) }}", "", "a placeholder was damaged", "as it is"),
    ],
)
def test_a_mistake_in_a_template_is_named(content: str, place: str, message: str, hint: str, tmp_path: Path) -> None:
    error = failure(tmp_path, {"issue.mjml.j2": page(content)})
    assert error.message.startswith(message)
    assert str(error.place) == "mine/issue.mjml.j2" + (f":{place}" if place else "")
    assert hint in error.hint


def test_a_mistake_in_an_included_file_or_a_macro_is_named_there(tmp_path: Path) -> None:
    parts = {"issue.mjml.j2": page("{% include 'parts/a.mjml.j2' %}"), "parts/a.mjml.j2": "{# x #}\n<p>{{ x }}</p>\n"}
    assert str(failure(tmp_path, parts).place) == "mine/parts/a.mjml.j2:2"
    assert str(failure(tmp_path, parts | {"parts/a.mjml.j2": "<p>\n {% if %}"}).place) == "mine/parts/a.mjml.j2:2"
    assert str(failure(tmp_path, parts | {"parts/a.mjml.j2": "<p>\n é & x</p>"}).place) == "mine/parts/a.mjml.j2:2:4"
    assert str(failure(tmp_path, parts | {"parts/a.mjml.j2": b"<p>\n \xe9</p>"}).place) == "mine/parts/a.mjml.j2:2"
    macro = {
        "issue.mjml.j2": "{% from 'm.j2' import m %}" + page("{{ m('é') }}"),
        "m.j2": "{% macro m(x) %}\n{{ x }}<\n{% endmacro %}",
    }
    assert str(failure(tmp_path, macro).place) == "mine/m.j2:2:8"


def test_a_mistake_in_the_text_part_is_named(tmp_path: Path) -> None:
    error = failure(tmp_path, GOOD | {"issue.txt.j2": "a\n{{ subjcet }}"})
    assert (error.message, str(error.place)) == ("'subjcet' is undefined", "mine/issue.txt.j2:2")
    assert error.hint == "did you mean subject?"
    error = failure(tmp_path, GOOD | {"issue.txt.j2": "{{ holes.name | upper }}"})
    assert str(error.place) == "mine/issue.txt.j2"


def test_what_an_editor_wrote_is_found_where_the_template_prints_it(tmp_path: Path) -> None:
    """Nothing the issue files may hold does this; a template that prints unsafe text does."""
    issue = dataclasses.replace(ISSUE, subject="a \ud800 b")
    error = failure(tmp_path, GOOD, issue)
    assert (error.message, str(error.place)) == (
        "the character U+D800, which no page can hold",
        "mine/issue.mjml.j2:5:4",
    )


@pytest.mark.parametrize(
    ("css", "place", "message", "hint"),
    [
        (b"p { color: red }\n.x { color: #12345678 }", "2:6", "the inliner would drop 'color: #12345678'", "older CSS"),
        (b"p {\n  color red;\n}", "2", "CSS that is no declaration", "such as"),
        (b"\n\np { color: red", "3:1", "a block that is never closed", "add }"),
        (b"p { color: red }\n}\n", "2", "CSS that is no rule", "brace"),
        (b"\n @media (max-width: 480px) { p { color: red } }", "2:2", "the rule @media cannot be inlined", "head.css"),
        (b"a:hover { color: red }", "1:1", "the selector 'a:hover' cannot be inlined", "head.css"),
        (b"p\n{ color: red\n!important }", "2:3", "!important cannot be inlined", "head.css"),
        (b"p {}\n\n/* \xe9 */", "3", "byte 0xE9 is not UTF-8 text", "save the file in UTF-8"),
    ],
)
def test_a_mistake_in_inline_css_is_named(css: bytes, place: str, message: str, hint: str, tmp_path: Path) -> None:
    error = failure(tmp_path, GOOD | {"inline.css": css})
    assert error.message.startswith(message)
    assert str(error.place) == f"mine/inline.css:{place}"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("css", "place", "message"),
    [
        ("p { color: red }\n <style>p{}</style>", "2:12", "a closing tag in CSS"),
        ("@media (max-width: 480px) {\n p { color: red }\n", "1:1", "a block that is never closed"),
        ("@media (max-width: 480px) {\n p { color red }\n}", "2", "CSS that is no declaration"),
        ("p { color: red }}", "1", "CSS that is no rule"),
    ],
)
def test_a_mistake_in_head_css_is_named(css: str, place: str, message: str, tmp_path: Path) -> None:
    """A client that meets a brace too few drops all rules that follow."""
    error = failure(tmp_path, GOOD | {"head.css": css})
    assert error.message.startswith(message)
    assert str(error.place) == f"mine/head.css:{place}"


def test_a_style_that_mjml_makes_of_an_attribute_is_found_too(tmp_path: Path) -> None:
    files = {"issue.mjml.j2": page("x").replace('css-class="c"', 'css-class="c"\n color="rgb(1 2 3 / 50%)"')}
    error = failure(tmp_path, files)
    assert (error.message, str(error.place)) == (
        "the inliner would drop 'color: rgb(1 2 3 / 50%)'",
        "mine/issue.mjml.j2:5:9",
    )


@pytest.mark.parametrize(
    ("toml", "place", "message", "hint"),
    [
        ("description = \n", ":1:15", "not valid TOML: Invalid value", ""),
        ('description = "x"\n\nfield = ["tier"]', ":3", "unknown key 'field'", "did you mean fields?"),
        ("\n[fields]\ntier = 1", ":2", "`fields` must be a list", '["tier"]'),
        ('fields = ["Tier"]', ":1", "`fields` must be a list", '["tier"]'),
        ('fields = "tier"', ":1", "`fields` must be a list", '["tier"]'),
        ("description = 3", ":1", "`description` must be text", ""),
    ],
)
def test_a_mistake_in_template_toml_is_named(toml: str, place: str, message: str, hint: str, tmp_path: Path) -> None:
    error = failure(tmp_path, GOOD | {"template.toml": toml})
    assert error.message.startswith(message)
    assert str(error.place) == f"mine/template.toml{place}"
    assert hint in error.hint


@pytest.mark.parametrize("file", ["template.toml", "head.css", "issue.txt.j2", "issue.mjml.j2"])
def test_a_file_that_is_not_utf_8_is_named(file: str, tmp_path: Path) -> None:
    error = failure(tmp_path, GOOD | {file: b"a\nb \xff"})
    assert (error.message, str(error.place)) == ("byte 0xFF is not UTF-8 text", f"mine/{file}:2")


def test_an_unknown_template_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    write(write(tmp_path, GOOD, "evening"), GOOD, "morning")
    with pytest.raises(TemplateError) as error:
        find_template("mornign", [tmp_path, tmp_path / "nowhere"])
    assert error.value.message.startswith('no template "mornign": issue.mjml.j2 is in none of ')
    assert str(tmp_path / "mornign") in error.value.message
    assert error.value.hint == "did you mean morning? templates there are: evening, morning"
    with pytest.raises(TemplateError) as error:
        find_template("x", [])
    assert error.value.hint == "templates there are: none"


@pytest.mark.parametrize("name", ["../digest", "a/b", "", ".", "Digest", "-x", "/etc"])
def test_a_name_that_is_no_folder_name_finds_nothing(name: str, tmp_path: Path) -> None:
    write(tmp_path, GOOD, "digest")
    with pytest.raises(TemplateError, match="is no name for a template"):
        find_template(name, [tmp_path / "x"])


def test_a_template_without_its_text_part_is_incomplete(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "mine" / "issue.txt.j2").unlink()
    with pytest.raises(TemplateError, match=r"issue\.txt\.j2 is in none of"):
        find_template("mine", [tmp_path])


def test_more_holes_than_a_render_can_hold_is_an_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.rendering.holes._MOST_HOLES", 1)
    error = failure(tmp_path, {"issue.mjml.j2": page("{{ holes.name }}\n{{ holes.email }}")})
    assert error.message.startswith("the template asks for more than 1 different holes")
    assert str(error.place) == "mine/issue.mjml.j2:6"


def test_a_hole_that_the_mjml_library_would_leave_out_is_missed(tmp_path: Path) -> None:
    head = '<mj-attributes><mj-class name="unused" padding="{{ holes.view_url }}"/></mj-attributes>'
    error = failure(tmp_path, {"issue.mjml.j2": page("x", head)})
    assert (error.message, str(error.place)) == ("the MJML library lost 1 holes", "mine/issue.mjml.j2")


def test_a_panic_that_the_lint_did_not_foresee_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """Like the one of pyo3, which cannot be made from Python."""

    def panics(*_: object, **__: object) -> str:
        raise PanicException("index out of bounds")

    monkeypatch.setattr("mjml.mjml2html", panics)
    error = failure(tmp_path, GOOD)
    assert error.message == "the MJML library panicked: index out of bounds"
    assert str(error.place) == "mine/issue.mjml.j2"


def test_damage_by_the_inliner_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_module, "INLINERS", {"premailer": lambda html, _css: html[: len(html) // 2]})
    error = failure(tmp_path, GOOD)
    assert (error.message, str(error.place)) == ("the inlined page does not end with </html>", "mine/issue.mjml.j2")


def test_an_unknown_inliner_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no CSS inliner 'juice'") as error:
        renderer(write(tmp_path, GOOD), inliner="juice")
    assert error.value.hint == "there are: premailer, css-inline"


def test_paths_are_shown_as_a_user_types_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "templates", {"issue.mjml.j2": page("{{ x }}"), "inline.css": "p {"})
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "templates", Path("templates")):
        with pytest.raises(TemplateError) as error:
            Renderer(find_template("mine", [root]), PUBLICATION).render(ISSUE)
        assert str(error.value.place) == "templates/mine/issue.mjml.j2:5"


def test_a_quiet_issue_is_no_mistake(tmp_path: Path) -> None:
    """No sections, no note, no preheader: templates see empty values and no undefined ones."""
    bare = dataclasses.replace(ISSUE, sections=(), note=(), preheader="", subject="")
    content = "{{ preheader }}{% for s in sections %}{{ s.title }}{% endfor %}{{ note | length }} {{ word_count }}"
    assert "0 0" in render(tmp_path, {"issue.mjml.j2": page(content)}, bare)
    headed = dataclasses.replace(ISSUE, sections=(Section("", (story("", "x"),)),), note=(paragraph("y"),))
    assert "x" in render(tmp_path, {"issue.mjml.j2": page("{{ sections[0].stories[0].paragraphs[0].html }}")}, headed)
