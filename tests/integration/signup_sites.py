"""A site where people subscribe, and the SMTP server that its confirmation mails go to."""

from __future__ import annotations

import email
import email.policy
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from public_site import CONFIG, KEY, PublicSite
from servers.smtp_server import Script, SmtpServer

from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import audience_store

_SMTP = """
[newsletters.daily-buzz.delivery]
provider = "smtp"
[newsletters.weekly.delivery]
provider = "smtp"
[providers.smtp]
kind = "smtp"
host = "127.0.0.1"
port = {port}
timeout = "5s"
final_timeout = "5s"
"""


class SignUpSite(PublicSite):
    """`mails` are those that the server took, in order."""

    def __init__(self, folder: Path, server: SmtpServer, *, signup: str = "", config: str = CONFIG) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, _config(server, signup, config))
        self.server = server

    def asks(self, address: str, newsletter: str = "daily-buzz", **fields: str) -> int:
        """Posts the form; the answer's status."""
        return self.post(f"/subscribe/{newsletter}", {"email": address, **fields}).status_code

    @property
    def mails(self) -> list[EmailMessage]:
        """Those that arrived so far, parsed."""
        return [message(one.message) for one in list(self.server.taken)]

    def mail(self, number: int = 1) -> EmailMessage:
        """The mail of this number, from 1; waits for it."""
        eventually(lambda: len(self.server.taken) >= number)
        return self.mails[number - 1]


def _config(server: SmtpServer, signup: str, config: str) -> str:
    return f"{config}{_SMTP.format(port=server.port)}\n[web.signup]\n{signup}\n"


def signup_project(folder: Path, server: SmtpServer, *, signup: str = "", config: str = CONFIG) -> Loaded:
    """The same site, not up: its settings, and a database with tables."""
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text(KEY)
    text = _config(server, signup, config).replace('{ env = "KEY" }', '{ file = "key" }')
    (folder / "config.toml").write_text(text, "utf-8")
    loaded = load_settings(folder / "config.toml", {})
    audience_store(loaded)
    return loaded


@contextmanager
def signup_site(
    folder: Path, *, signup: str = "", config: str = CONFIG, script: Script | None = None
) -> Iterator[SignUpSite]:
    """The site, up, with these lines under [web.signup]."""
    with SmtpServer(script) as server, SignUpSite(folder, server, signup=signup, config=config) as site:
        yield site


def message(raw: bytes) -> EmailMessage:
    """A mail as a mail client reads it."""
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """One of its parts."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def link_in(mail: EmailMessage) -> str:
    """The path of its confirmation link, which stands in both parts, and is the only one there."""
    [in_text] = set(re.findall(r"http://127\.0\.0\.1:8000(/\S+)", text_of(mail)))
    assert set(re.findall(r'href="http://127\.0\.0\.1:8000([^"]+)"', text_of(mail, "html"))) == {in_text}
    return str(in_text)


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until it is."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it has not come true"
        time.sleep(0.01)
