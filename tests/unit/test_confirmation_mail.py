"""The mail that asks for a confirmation: what stands in it, and what cannot."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from render_examples import ISSUE, PUBLICATION, TEXT, page

from newsletter.audience.signups import SignUp, SignUpRequest
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.names import RunName
from newsletter.errors import TemplateError, UsageError
from newsletter.pipeline.confirmation_mail import ConfirmationMail, ConfirmationMails
from newsletter.rendering.holes import fill
from newsletter.rendering.letter import message_id
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded

SHIPPED = Path(__file__).parents[2] / "templates"
KEY = "k" * 40
ASKED = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
NOW = ASKED + dt.timedelta(minutes=1)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "config.toml").write_text(
        '[site]\nbase_url = "https://news.example.com"\npostal_address = "1 Example Street"\n'
        '[newsletters.daily-buzz]\ntitle = "Buzz & <Co>"\nfrom = "Buzz <buzz@news.example.com>"\n'
        '[newsletters.daily-buzz.schedule]\ntimezone = "Asia/Hong_Kong"\n'
    )
    return load_settings(tmp_path / "config.toml", {})


def signup(number: int = 7, *, source: str = "web", language: str = "", address: str = "anna@example.com") -> SignUp:
    request = SignUpRequest(
        "daily-buzz", "daily-buzz", address, address, name="<b>Buy pills</b>", language=language, source=source
    )
    return SignUp(number, request, ASKED, ASKED + dt.timedelta(days=7))


def mails(loaded: Loaded) -> ConfirmationMails:
    return ConfirmationMails(loaded, [SHIPPED], [KEY])


def text_of(mail: ConfirmationMail) -> str:
    return " ".join(fill(mail.rendered[mail.recipient.variant].text, mail.recipient.values).split())


def html_of(mail: ConfirmationMail) -> str:
    return fill(mail.rendered[mail.recipient.variant].html, mail.recipient.values)


def test_it_has_one_sentence_one_link_when_it_was_asked_for_and_who_sends_it(loaded: Loaded) -> None:
    mail = mails(loaded).mail(signup(), now=NOW)
    link = LinkMaker("https://news.example.com", "daily-buzz", [KEY]).confirm_url(7)
    assert set(re.findall(r"https?://[^\s\"<]+", text_of(mail))) == {link}
    assert set(re.findall(r'href="([^"]+)"', html_of(mail))) == {link}
    assert html_of(mail).count(link) == 3  # the button, and the link in full
    for text in (text_of(mail), re.sub(r"<[^>]*>", "", html_of(mail))):
        for said in ("anna@example.com", "Wednesday, 7 January 2026 at 06:30 UTC", "1 Example Street", "ignore this"):
            assert said in text
    assert "Buzz &amp; &lt;Co&gt;" in html_of(mail)
    assert "<Co>" not in html_of(mail)
    token = link.rpartition("/")[2]
    assert LinkMaker("", "daily-buzz", [KEY]).subscriber_id(Purpose.CONFIRM, token) == 7


def test_nothing_that_a_stranger_typed_stands_in_it_but_the_address(loaded: Loaded) -> None:
    mail = mails(loaded).mail(signup(), now=NOW)
    assert "pills" not in text_of(mail) + html_of(mail) + repr(mail.batch)
    assert mail.recipient.name == ""


def test_who_was_on_a_file_is_not_told_that_they_asked(loaded: Loaded) -> None:
    made = mails(loaded)
    typed, imported = made.mail(signup(), now=NOW), made.mail(signup(source="import:leads.csv"), now=NOW)
    assert "Somebody asked for" in text_of(typed)
    assert "Your address stands on a list" in text_of(imported)
    assert "leads.csv" not in text_of(imported) + html_of(imported)


@pytest.mark.parametrize(
    ("language", "subject", "html_language"),
    [
        ("de", "Bitte bestätigen: Buzz & <Co>", "de"),
        ("de-AT", "Bitte bestätigen: Buzz & <Co>", "de"),
        ("xx", "Please confirm: Buzz & <Co>", "en"),
    ],
)
def test_it_is_in_the_language_of_the_request(loaded: Loaded, language: str, subject: str, html_language: str) -> None:
    mail = mails(loaded).mail(signup(language=language), now=NOW)
    assert mail.rendered[mail.recipient.variant].subject == subject
    assert f'lang="{html_language}"' in html_of(mail)
    if html_language == "de":
        assert "Mittwoch, 7. Januar 2026 um 06:30 Uhr UTC" in text_of(mail)


def test_it_is_rendered_once_and_each_message_has_an_identity_of_its_own(loaded: Loaded) -> None:
    made = mails(loaded)
    first, second = made.mail(signup(1), now=NOW), made.mail(signup(2), now=NOW + dt.timedelta(hours=1))
    assert first.rendered[first.recipient.variant] is second.rendered[second.recipient.variant]
    ids = {first.recipient.message_id, second.recipient.message_id}
    ids |= {message_id(str(RunName("daily-buzz", "2026-01-07")), str(number), "news.example.com") for number in (1, 2)}
    assert len(ids) == 4
    # the same request has the same, however often it is tried
    assert made.mail(signup(1), now=NOW + dt.timedelta(days=1)).recipient.message_id == first.recipient.message_id
    assert first.batch.letterhead.transactional
    assert first.batch.letterhead.date.utcoffset() == dt.timedelta(hours=8)
    # what comes back about it is about an address: it belongs to no run, and its number is no subscriber's
    assert first.batch.run == ""
    assert first.recipient.return_token == ""


def test_an_address_of_another_script_is_shown_in_it(loaded: Loaded) -> None:
    mail = mails(loaded).mail(signup(address="anna@xn--bcher-kva.example"), now=NOW)
    assert "anna@bücher.example" in text_of(mail)
    assert mail.recipient.address == "anna@xn--bcher-kva.example"


def test_a_newsletter_that_is_gone_has_none(loaded: Loaded) -> None:
    gone = SignUp(1, SignUpRequest("weekly", "weekly", "a@example.com", "a@example.com"), ASKED, NOW)
    with pytest.raises(UsageError, match="no newsletter `weekly`"):
        mails(loaded).mail(gone, now=NOW)


@pytest.mark.parametrize("hole", ["confirm_url", "asked_at"])
def test_an_issue_cannot_have_its_holes(tmp_path: Path, hole: str) -> None:
    """Nothing fills them there, and that is said when the issue is checked, not when it is sent."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "issue.mjml.j2").write_text(page(f"<p>{{{{ holes.{hole} }}}}</p>"))
    (folder / "issue.txt.j2").write_text(TEXT)
    with pytest.raises(TemplateError, match=f"'{hole}' is undefined"):
        Renderer(find_template("plain", [tmp_path]), PUBLICATION).render(ISSUE)
