"""What the archive keeps of an issue: nothing of anybody, and where its images come from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.pipeline.prepare import Prepared, prepare
from newsletter.pipeline.publish_issue import image_origins, origin_of, published
from newsletter.pipeline.request import request_issue
from newsletter.project_files import Shipped, copy_project, shipped
from newsletter.settings.load import load_settings

READER = "your address"


def prepared(folder: Path, **edits: str) -> Prepared:
    """The shipped project's issue; `edits` replace lines of its configuration."""
    copy_project(folder)
    config = folder / "config.toml"
    text = config.read_text("utf-8")
    for old, new in edits.items():
        key = f"\n{old} = "
        assert key in text
        start = text.index(key) + 1
        text = text[:start] + f"{old} = {new}" + text[text.index("\n", start) :]
    config.write_text(text, "utf-8")
    loaded = load_settings(config, {})
    request = request_issue(loaded, None, "2026-01-07", dt.datetime(2026, 1, 7, tzinfo=dt.UTC))
    roots = (loaded.resolve("templates"), shipped(Shipped.TEMPLATES))
    return prepare(request, roots, lambda _: [{"tier": "gold"}])


def test_every_hole_holds_what_is_true_of_everybody(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "p")
    issue = published(ready, reader=READER)
    subscribe = "http://localhost:8000/subscribe/daily-buzz"
    assert f"because {READER} is subscribed" in issue.html
    assert f"because {READER}" in issue.text
    assert issue.html.count(f'href="{subscribe}"') == 2
    assert "/preferences/" not in issue.html + issue.text
    assert "/unsubscribe/" not in issue.html + issue.text
    assert 'href="http://localhost:8000/archive/daily-buzz/2026-01-07"' in issue.html
    assert (str(issue.run), issue.title) == ("daily-buzz/2026-01-07", ready.issue.title)
    assert issue.content_hash == ready.rendered.content_hash
    assert issue.html.endswith("</html>\n") or issue.html.endswith("</html>")


def test_where_nobody_may_subscribe_the_links_lead_to_the_sites_start(tmp_path: Path) -> None:
    issue = published(prepared(tmp_path / "p", public="false"), reader=READER)
    assert 'href="http://localhost:8000/"' in issue.html
    assert "/subscribe/" not in issue.html + issue.text


def test_links_are_those_of_the_editor_and_nothing_counts(tmp_path: Path) -> None:
    plain = published(prepared(tmp_path / "a"), reader=READER)
    tracked = prepared(
        tmp_path / "b", clicks="true", opens="true", per_person="true", utm='{ source = "x", medium = "email" }'
    )
    assert "/c/daily-buzz/" in tracked.rendered.html.template  # what is sent does count
    issue = published(tracked, reader=READER)
    assert issue.html == plain.html
    assert issue.text == plain.text
    assert "utm_" not in issue.html


@pytest.mark.parametrize("edit", [{"public": "false"}, {"archive": "false"}])
def test_without_an_archive_no_mail_leads_there(tmp_path: Path, edit: dict[str, str]) -> None:
    with_it, without = prepared(tmp_path / "a"), prepared(tmp_path / "b", **edit)
    assert "{view_url}" in with_it.rendered.html.template
    assert "View online" in with_it.rendered.text.template
    for part in (without.rendered.html.template, without.rendered.text.template):
        assert "view_url" not in part
        assert "View" not in part
        assert not re.search(r"·[\s\xa0]*</(?:span></)?div>", part)  # nothing is separated from nothing
    assert without.failing() == with_it.failing()


def test_it_is_the_mail_of_somebody_with_no_fields(tmp_path: Path) -> None:
    ready = prepared(tmp_path / "p")
    other = dataclasses.replace(ready, rendered=ready.renderer.render(ready.issue))
    assert published(other, reader=READER) == published(ready, reader=READER)


def test_images_are_found_wherever_a_browser_would() -> None:
    html = """<style>.a{background:url('https://css.example/a.png')} .b{background:url(https://css.example/b.png)}</style>
    <img src="https://one.example/a.png">
    <img src="HTTPS://One.Example/b.png" srcset="https://two.example/c 1x, d.png 2x">
    <td background="http://three.example:8080/x"><div style="background:url(&quot;https://four.example/y&quot;)">
    <img src="https://bücher.example/z"><img src="data:image/png;base64,AAAA"><img src="/relative"><img src="cid:x">
    <a href="https://not.example/"></a><iframe src="https://frame.example/"></iframe>"""
    assert image_origins(html) == (
        "http://three.example:8080",
        "https://css.example",
        "https://four.example",
        "https://one.example",
        "https://two.example",
        "https://xn--bcher-kva.example",
    )


@given(st.text())
def test_no_address_smuggles_anything_into_a_header(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example{text}", f"https://{text}@b.example:{text}/"):
        origin = origin_of(url)
        assert not set(origin) & set(" ;,'\"\r\n\t")
        assert origin.isascii()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://user:secret@images.example.com:444/a", "https://images.example.com:444"),
        ("https://[2001:db8::1]/a", "https://[2001:db8::1]"),
        ("https://a.example; script-src *", ""),
        ("https://a.example:99999/", ""),
        ("https://", ""),
        ("https://[::1", ""),
        ("ftp://a.example/", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
