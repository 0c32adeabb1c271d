"""A project whose public side is up: `newsletter web` in a process of its own, and a server that catches its mail."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from live_projects import LiveProject, eventually, smtp_server
from projects import _kept
from servers.smtp_server import SmtpServer


@dataclass
class PublicSite:
    """`url` has no slash at its end."""

    project: LiveProject
    server: SmtpServer
    url: str
    process: subprocess.Popen[str]

    def mails(self, address: str) -> list[EmailMessage]:
        """What the server took for this address, in order."""
        policy = email.policy.default
        taken = [one for one in list(self.server.taken) if one.address == address]
        return [email.message_from_bytes(one.message, policy=policy) for one in taken]

    def mail(self, address: str, number: int = 1) -> EmailMessage:
        """The mail of this number (from 1) to the address; waits for it."""
        eventually(lambda: len(self.mails(address)) >= number)
        return self.mails(address)[number - 1]


def link_to(mail: EmailMessage, path: str) -> str:
    """The link to a page below `path` in the HTML part."""
    html = mail.get_body(("html",))
    assert html is not None
    [link] = set(re.findall(rf'href="(https?://[^"]*{path}[^"]*)"', html.get_content()))
    return str(link)


@contextmanager
def public_site(folder: Path, *settings: tuple[str, str]) -> Iterator[PublicSite]:
    """The site, up. `settings`: what of config.toml is replaced by what."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with smtp_server() as server:
        project = LiveProject(folder, server.port)
        project.edit(project.config, "http://localhost:8000", f"http://127.0.0.1:{port}")
        for old, new in settings:
            project.edit(project.config, old, new)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "newsletter", "web", "--port", str(port), "--json"],
            cwd=project.folder,
            env=_kept(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), process.communicate()[1]
                yield PublicSite(project, server, f"http://127.0.0.1:{port}", process)
            finally:
                process.kill()
