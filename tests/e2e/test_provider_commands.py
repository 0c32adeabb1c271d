"""`providers list` and `providers test`, and a provider that another package brings."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from live_projects import RUN, SHIPPED, LiveProject, smtp_server
from projects import SLOT, Project
from servers.smtp_server import Script

#: A package with a provider that writes its calls to a file, as a user would install it.
PACKAGE = """
import json

from newsletter.delivery.model import Accepted, Limits, Receipt


class Pigeon:
    limits = Limits(recipients_per_call=5)

    def __init__(self, name, options):
        self.name, self._options = name, options
        if options.get("broken"):
            raise RuntimeError(f"no pigeon takes {options['api_key']}")

    def submit(self, batch, rendered):
        with open(self._options["file"], "a") as file:
            for one in batch.recipients:
                file.write(json.dumps({"to": one.address, "key": self._options["api_key"]}) + "\\n")
        return Receipt({one.id: Accepted() for one in batch.recipients})

    def check(self):
        return "the pigeons are fed"

    def close(self):
        pass


def not_a_provider(name, options):
    return object()
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment with that package installed: a folder of modules and the distribution's metadata."""
    site = tmp_path / "site"
    info = site / "pigeons-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "pigeons.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[newsletter.providers]\npigeon = pigeons:Pigeon\nstone = pigeons:not_a_provider\n"
    )
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")])),
        "PIGEON_KEY": "coo-canary",
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.edit(project.config, 'provider = "disk"', 'provider = "loft"')
    with project.config.open("a") as file:
        file.write(
            '\n[providers.loft]\nkind = "pigeon"\nrate = "500/s"\n[providers.loft.options]\nfile = "sent.ndjson"\n'
        )
        file.write('api_key = { env = "PIGEON_KEY" }\n')
    return project


def test_a_provider_of_another_package_takes_the_mail(project: Project, installed: dict[str, str]) -> None:
    assert project.run("providers", "test", **installed).out == "✓ loft: the pigeons are fed\n"
    ended = project.run("send", SLOT, "--confirm", "12", "--json", **installed)
    assert ended.code == 0, ended.err
    sent = [json.loads(line) for line in (project.folder / "sent.ndjson").read_text().splitlines()]
    assert len({one["to"] for one in sent}) == len(sent) == SHIPPED
    assert {one["key"] for one in sent} == {"coo-canary"}
    shown = project.run("config", "show", **installed)
    assert "providers.loft.options" in shown.out
    assert '{ env = "PIGEON_KEY" } (set)' in shown.out
    assert "coo-canary" not in shown.out + ended.out + ended.err
    rows = {one["name"]: one for one in project.run("providers", "list", "--json", **installed).json}
    assert rows["loft"] == {
        "name": "loft",
        "kind": "pigeon",
        "where": "",
        "rate": "500/s",
        "newsletters": ["daily-buzz"],
    }


def test_without_the_package_the_kind_is_unknown(project: Project) -> None:
    ended = project.run("check", SLOT)
    assert ended.code == 3
    assert 'expected one of "disk", "smtp", "sendgrid"' in ended.err


def test_what_is_wrong_with_it_is_told_without_its_secrets(project: Project, installed: dict[str, str]) -> None:
    project.edit(project.config, 'file = "sent.ndjson"', "broken = true")
    ended = project.run("send", SLOT, "--confirm", "12", **installed)
    assert ended.code == 3
    assert "`pigeon` failed: RuntimeError: no pigeon takes …" in ended.err
    assert "coo-canary" not in ended.out + ended.err
    project.edit(project.config, 'kind = "pigeon"', 'kind = "stone"')
    assert "gives no mail provider" in project.run("send", SLOT, "--confirm", "12", **installed).err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('api_key = "coo-canary"', "a secret does not stand in the settings"),
        ('api_key = { env = "A", file = "b" }', "is no reference to a secret"),
        ('[providers.loft]\nhost = "x"', "stands here twice"),
    ],
)
def test_its_options_are_looked_at(project: Project, installed: dict[str, str], line: str, message: str) -> None:
    project.edit(project.config, 'api_key = { env = "PIGEON_KEY" }', line)
    ended = project.run("check", SLOT, **installed)
    assert ended.code == 3
    assert message in ended.err
    assert "coo-canary" not in ended.err


def test_a_login_is_tried_without_sending(tmp_path: Path) -> None:
    with smtp_server(Script(logins={"buzz": "right"})) as server:
        project = LiveProject(tmp_path / "project", server.port)
        project.edit(project.config, 'username = ""', 'username = "buzz"')
        good = project.call("providers", "test", "--json", SMTP_PASSWORD="right")
        assert (good.code, good.json["provider"], good.json["ok"]) == (0, "smtp", True), good
        wrong = project.call("providers", "test", "smtp", SMTP_PASSWORD="wrong-canary")
        assert wrong.code == 5, wrong
        assert "refuses us" in wrong.err
        assert "wrong-canary" not in wrong.err
        assert project.call("providers", "test", "smpt").code == 2
        assert project.call("providers", "test", "disk").code == 5
        assert server.taken == []
        assert project.call("status", RUN).code == 4
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    away = LiveProject(tmp_path / "away", free)
    assert away.call("providers", "test").code == 75


def test_list_says_who_uses_which(tmp_path: Path) -> None:
    project = LiveProject(tmp_path / "project", 2525)
    shown = project.call("providers", "list").out
    assert "localhost:2525 (none)  (used by daily-buzz)" in shown
    assert "https://api.sendgrid.com  (not used)" in shown
