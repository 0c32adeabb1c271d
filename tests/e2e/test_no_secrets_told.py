"""Secrets and addresses stay where they belong, whatever goes wrong: logs, output, database, journal, tracebacks."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from live_projects import LiveProject, last_line, smtp_server
from projects import SLOT, Ended
from servers.sendgrid_server import SAYINGS, SendgridServer, error
from servers.smtp_server import Moment, Reaction, Script

PASSWORD = "canary-smtp-password"
API_KEY = "SG.canary-api-key"
SIGNING = "canary-signing-key-0123456789-0123456789"
CANARIES = (PASSWORD, API_KEY, SIGNING, "canary")
SECRETS = {"SMTP_PASSWORD": PASSWORD, "SENDGRID_API_KEY": API_KEY, "NEWSLETTER_SECRET_KEY": SIGNING}


def nothing_is_told(project: LiveProject, *ended: Ended) -> None:
    """No canary in anything the program wrote; no subscriber's address in the log."""
    for one in ended:
        for canary in CANARIES:
            assert canary not in one.out + one.err, one
    for file in project.folder.rglob("*"):
        if file.is_file() and file.name != "config.toml":
            content = file.read_bytes()
            for canary in CANARIES:
                assert canary.encode() not in content, (file, canary)


def log_of(ended: Ended) -> str:
    return "\n".join(line for line in ended.err.splitlines() if line.startswith("{"))


def repeats_the_password(moment: Moment) -> Reaction | None:
    """A server that says aloud what it was told."""
    return Reaction(f"535 5.7.8 {PASSWORD} is wrong\r\n".encode()) if moment.step == "AUTH" else None


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_a_login_that_fails_at_smtp(tmp_path: Path, verbose: tuple[str, ...]) -> None:
    with smtp_server(Script(logins={"buzz": "other"}, react=repeats_the_password)) as server:
        project = LiveProject(tmp_path / "project", server.port)
        project.edit(project.config, 'username = ""', 'username = "buzz"')
        sent = project.run("send", SLOT, "--confirm", "12", *verbose, **SECRETS)
        assert sent.code == 6, sent
        tried = project.run("providers", "test", *verbose, **SECRETS)
        assert tried.code == 5
        tested = project.run("test", SLOT, "--to", "editor@example.com", *verbose, **SECRETS)
        status = project.run("status", "--json", **SECRETS)
        assert last_line(status)["state"] == "paused"
        nothing_is_told(project, sent, tried, tested, status)
        assert "@" not in log_of(sent).replace("<address>", "")


@pytest.mark.parametrize("how", ["401", "400-from", "500-after", "reset-after", "nonsense", "echo"])
def test_calls_that_fail_at_sendgrid(tmp_path: Path, how: str) -> None:
    server = SendgridServer().start()
    try:
        project = LiveProject(tmp_path / "project", 1)
        project.edit(project.config, 'provider = "smtp"', 'provider = "sendgrid"')
        project.edit(project.config, "https://api.sendgrid.com", server.url)
        server.answer_next(error(401, f"Bearer {API_KEY} is revoked") if how == "echo" else SAYINGS[how]())
        sent = project.call("send", SLOT, "--confirm", "12", "-v", **SECRETS)
        assert sent.code == 6, sent
        nothing_is_told(project, sent, project.call("status", **SECRETS))
        assert '"event": "run_began"' in sent.err
        assert "@" not in log_of(sent).replace("<address>", "")
    finally:
        server.close()


def test_a_crash_of_the_program_itself(tmp_path: Path) -> None:
    """A traceback of every thread, as faulthandler writes it, in the middle of a send."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project = LiveProject(tmp_path / "project", silent.getsockname()[1])
        project.edit(project.config, 'username = ""', 'username = "buzz"')
        (tmp_path / "crash").mkdir()
        (tmp_path / "crash" / "sitecustomize.py").write_text(
            "import faulthandler\nfaulthandler.enable()\nfaulthandler.dump_traceback_later(8, exit=True)\n"
        )
        path = os.pathsep.join(filter(None, [str(tmp_path / "crash"), os.environ.get("PYTHONPATH", "")]))
        ended = project.run("send", SLOT, "--confirm", "12", "-v", PYTHONPATH=path, **SECRETS)
        assert ended.code == 1
        assert "most recent call first" in ended.err
        nothing_is_told(project, ended)


def test_a_program_that_dies_leaves_no_core_file(tmp_path: Path) -> None:
    """Its memory holds keys and addresses, so none of it may come to lie on a disk, whatever the machine allows."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project = LiveProject(tmp_path / "project", silent.getsockname()[1])
        project.edit(project.config, 'username = ""', 'username = "buzz"')
        (tmp_path / "crash").mkdir()
        (tmp_path / "crash" / "sitecustomize.py").write_text(
            "import os, resource, threading\n"
            "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
            "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
            "timer = threading.Timer(8, os.abort)\n"
            "timer.daemon = True\n"
            "timer.start()\n"
        )
        path = os.pathsep.join(filter(None, [str(tmp_path / "crash"), os.environ.get("PYTHONPATH", "")]))
        before = set(project.folder.iterdir())
        ended = project.run("send", SLOT, "--confirm", "12", PYTHONPATH=path, **SECRETS)
        assert ended.code == -signal.SIGABRT, ended
        assert not [file for file in set(project.folder.iterdir()) - before if file.name.startswith("core")]
        nothing_is_told(project, ended)
