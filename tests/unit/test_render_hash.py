"""Where a template's files come from, and that the same input gives the same bytes and the same hash, and no other."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from render_examples import ISSUE, PUBLICATION, SHIPPED, page, paragraph, renderer, story, write

from newsletter.issue.model import Issue, Section
from newsletter.issue.parse import parse_issue
from newsletter.rendering import render as render_module
from newsletter.rendering.holes import fresh_nonce
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

FILES = {
    "issue.mjml.j2": page("{# c #}<p>{{ subject }}</p>{% if subscriber.tier == 'gold' %}<p>gold</p>{% endif %}"),
    "issue.txt.j2": "{{ subject }} {{ holes.email }}\n",
    "inline.css": "p { color: #345678 }",
    "head.css": "@media (x) { p { color: red } }",
    "template.toml": 'fields = ["tier"]',
}


def content_hash(root: Path, issue: Issue = ISSUE, *more: Path) -> str:
    return renderer(root, *more).render(issue).content_hash


def test_each_file_is_looked_up_in_the_project_first_and_then_in_the_package(tmp_path: Path) -> None:
    project, package = tmp_path / "project", tmp_path / "package"
    write(package, FILES | {"parts/a.mjml.j2": "<p>package part</p>", "parts/b.mjml.j2": "<p>package b</p>"})
    both = "{% include 'parts/a.mjml.j2' %}{% include 'parts/b.mjml.j2' %}"
    (package / "mine" / "issue.mjml.j2").write_text(page(both))
    (project / "mine" / "parts").mkdir(parents=True)
    template = find_template("mine", [project, package])
    assert template.fields == ("tier",)
    html = Renderer(template, PUBLICATION).render(ISSUE).html.template
    assert "package part" in html
    assert "#345678" in html

    (project / "mine" / "inline.css").write_text("p { color: #9abcde }")
    (project / "mine" / "parts" / "a.mjml.j2").write_text("<p>project part</p>")
    html = renderer(project, package).render(ISSUE).html.template
    assert "project part" in html
    assert "package b" in html
    assert "#9abcde" in html
    assert "#345678" not in html
    assert "@media (x)" in html

    (project / "mine" / "template.toml").write_text("fields = []")
    assert find_template("mine", [project, package]).fields == ()


def test_a_template_may_include_what_templates_share_and_build_on_another(tmp_path: Path) -> None:
    root = write(tmp_path, {"issue.mjml.j2": page("{% include 'shared/footer.mjml.j2' %}")})
    (root / "shared").mkdir()
    (root / "shared" / "footer.mjml.j2").write_text("<p>{{ publication.title }}</p>")
    assert "<p>Daily Buzz</p>" in renderer(root).render(ISSUE).html.template
    write(root, {"issue.mjml.j2": "{% extends 'digest/issue.mjml.j2' %}"}, "second")
    assert "Ferries &amp; Trains" in renderer(root, SHIPPED, name="second").render(ISSUE).html.template


def test_files_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(tmp_path: Path) -> None:
    plain = renderer(write(tmp_path / "a", FILES)).render(ISSUE)
    windows = {name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for name, text in FILES.items()}
    marked = renderer(write(tmp_path / "b", windows)).render(ISSUE)
    assert marked.html.template == plain.html.template
    assert marked.text.template == plain.text.template


def test_the_same_input_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    """Another process, another hash seed, another folder and another time zone."""
    source = "Daily Buzz: 7 January 2026\nTop News\nFerries Run\nThey run every hour of the day, and at night.\n"
    code = f"""
import sys, datetime as dt
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from render_examples import *
from newsletter.issue.parse import parse_issue
issue = parse_issue({source.encode()!r}, source="x.txt", date=dt.date(2026, 1, 7))
for inliner in ("premailer", "css-inline"):
    done = renderer(SHIPPED, name="digest", inliner=inliner).render(issue)
    print(done.content_hash, repr(done.html), repr(done.text))
"""
    outputs = set()
    for seed in ("0", "1", "4711"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "TZ": "Asia/Hong_Kong" if seed == "1" else "UTC",
            "LC_ALL": "C",
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 2


def test_a_second_renderer_gives_the_same(tmp_path: Path) -> None:
    root = write(tmp_path, FILES)
    first, second = renderer(root).render(ISSUE), renderer(root).render(ISSUE)
    assert first == second
    assert first is not second


def edited(root: Path, file: str, change: Callable[[str], str]) -> None:
    path = root / "mine" / file
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("issue.mjml.j2", lambda text: text.replace("{# c #}", "{# another comment #}")),
        ("issue.mjml.j2", lambda text: text.replace("gold</p>", "GOLD</p>")),
        ("issue.txt.j2", lambda text: text + "\n"),
        ("inline.css", lambda text: text + "/* */"),
        ("head.css", lambda text: text + " "),
        ("template.toml", lambda _: 'fields = ["tier", "language"]'),
        ("picture.png", lambda _: "a new file"),
    ],
)
def test_the_hash_changes_with_any_file_of_the_template(
    file: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    """Also with a comment, and with a branch that only another variant takes: all variants share what was approved."""
    root = write(tmp_path, FILES | {"picture.png": b"\x89PNG\xff"})
    before = content_hash(root)
    assert content_hash(root) == before
    edited(root, file, change) if file != "picture.png" else (root / "mine" / file).write_bytes(b"\x89PNG\xfe")
    assert content_hash(root) != before


@pytest.mark.parametrize(
    "mention",
    [
        "{% include 'shared/a.j2' %}",
        "{% import 'shared/a.j2' as a %}",
        "{% from 'shared/a.j2' import m %}",
        "{% include ['nothing.j2', 'shared/a.j2'] %}",
        "{% include 'shared/' ~ 'a' ~ '.j2' %}",
        "{% include 'parts/x.j2' %}",
    ],
)
def test_the_hash_changes_with_any_file_that_is_brought_in(mention: str, tmp_path: Path) -> None:
    root = write(tmp_path, FILES | {"issue.txt.j2": mention, "parts/x.j2": "{% include 'shared/a.j2' %}"})
    (root / "shared").mkdir()
    (root / "shared" / "a.j2").write_text("{% macro m() %}{% endmacro %}{# one #}")
    (root / "shared" / "b.txt").write_text("not brought in")
    (root / "other").mkdir()
    before = content_hash(root)
    (root / "shared" / "b.txt").write_text("still not brought in")
    assert content_hash(root) == before
    (root / "shared" / "a.j2").write_text("{% macro m() %}{% endmacro %}{# two #}")
    assert content_hash(root) != before


def test_the_hash_does_not_change_with_files_that_are_not_the_templates(tmp_path: Path) -> None:
    root = write(tmp_path, FILES)
    before = content_hash(root)
    write(root, FILES | {"issue.txt.j2": "another"}, "other")
    (root / "mine" / ".issue.mjml.j2.swp").write_text("an editor's")
    assert content_hash(root) == before
    assert content_hash(root, ISSUE, root) == before, "nor with where it is looked for"


def test_the_hash_changes_with_the_issue_and_the_publication(tmp_path: Path) -> None:
    root = write(tmp_path, FILES)
    template = find_template("mine", [root])
    publications = [PUBLICATION, dataclasses.replace(PUBLICATION, postal_address="2 Example Street")]
    publications += [dataclasses.replace(PUBLICATION, sections=("Corporate", "Top News"))]
    issues = [
        ISSUE,
        dataclasses.replace(ISSUE, subject="x"),
        dataclasses.replace(ISSUE, preheader="x"),
        dataclasses.replace(ISSUE, edition="evening"),
        dataclasses.replace(ISSUE, lists=("x",)),
        dataclasses.replace(ISSUE, note=(paragraph("Good evening."),)),
        dataclasses.replace(ISSUE, sections=(*ISSUE.sections, Section("Empty"))),
        dataclasses.replace(ISSUE, sections=(Section("Top News", (story("Ferries & Trains"),)),)),
    ]
    hashes = [Renderer(template, PUBLICATION).render(issue).content_hash for issue in issues]
    hashes += [Renderer(template, publication).render(ISSUE).content_hash for publication in publications[1:]]
    hashes += [Renderer(template, PUBLICATION, inliner="css-inline").render(ISSUE).content_hash]
    assert len(set(hashes)) == len(hashes)
    assert all(len(one) == 64 and int(one, 16) for one in hashes)


def test_the_hash_and_the_bytes_do_not_change_with_blank_lines_of_the_issue_file(tmp_path: Path) -> None:
    lines = ["Daily Buzz: 7 January 2026", "Top News", "Ferries Run", "They run every hour of the day, and at night."]
    root = write(tmp_path, FILES)
    first, second = (
        parse_issue(end.join(lines).encode(), source=name) for end, name in (("\n", "a.txt"), ("\r\n\r\n", "b.txt"))
    )
    assert first.sections[0].line != second.sections[0].line
    assert renderer(root).render(first) == renderer(root).render(second)


def test_placeholders_keep_clear_of_everything_that_is_taken_in(tmp_path: Path) -> None:
    """An editor may paste the source of an earlier mail, also into a file that templates share."""
    root = write(tmp_path, FILES | {"issue.txt.j2": "{% include 'shared/a.j2' %}{{ holes.email }}"})
    (root / "shared").mkdir()
    seen: list[str] = []

    def noting(seed: bytes, *texts: str) -> str:
        seen.extend(texts)
        return fresh_nonce(seed, *texts)

    (root / "shared" / "a.j2").write_text("pasted into a shared file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render_module, "fresh_nonce", noting)
        issue = dataclasses.replace(ISSUE, subject="pasted into the subject")
        Renderer(find_template("mine", [root]), dataclasses.replace(PUBLICATION, title="pasted into the title")).render(
            issue, (("tier", "pasted into a field"),)
        )
    for text in ("a shared file", "the subject", "the title", "a field"):
        assert any(f"pasted into {text}" in one for one in seen)
    assert any("#345678" in one for one in seen)
