"""deploy/ and the guides to it: what they call exists, what they promise holds, and nothing in them runs as root."""

from __future__ import annotations

import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from deploy_files import DEPLOY, DRAIN, ROOT, image_says, seconds

from newsletter.cli.app import app, globals_first
from newsletter.cli.exit_codes import ExitCode
from newsletter.settings.cron_line import parse_cron

UNITS = sorted((DEPLOY / "systemd").iterdir())
GUIDES = [ROOT / "docs/guide" / name for name in ("deployment.md", "git-flow.md", "many-machines.md")]

#: How a command line begins, and what ends it within a line of a shell.
_COMMAND = re.compile(
    r"(?:(?:ExecStart=\S*/|^ *|&& |then |\$ |sudo -iu newsletter |docker compose run (?:--[a-z-]+ )*|`)newsletter"
    r"|docker compose --file \S+ run (?:--[a-z-]+ )*scheduler) ([^`]+)"
)
_ENDS = re.compile(r" 2>| \|| >|;|$")
#: What stands for itself in a script.
_FILLED_IN = {'"$@"': "", '"$file"': "issues/2026-01-07.txt", '"$newest"': "issues/2026-01-07.txt", '"$by"': "Anna"}


def command_lines() -> Iterator[tuple[str, int, list[str]]]:
    """Every command line of `newsletter` in deploy/ and the guides: file, line, the words after the program's name."""
    for file in [*(one for one in DEPLOY.rglob("*") if one.is_file()), *GUIDES]:
        name = file.relative_to(ROOT).as_posix()
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            if file.suffix != ".md" and line.lstrip().startswith("#"):
                continue
            for shown in _COMMAND.findall(line):
                text = shown[: _ENDS.search(shown).start()]  # type: ignore[union-attr]  # `$` always matches
                for variable, value in _FILLED_IN.items():
                    text = text.replace(variable, value)
                yield name, number, shlex.split(text)
    entry, words = (yaml.safe_load(image_says(word)) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["newsletter"]
    yield "deploy/Dockerfile", 0, words


def parse(words: list[str]) -> None:
    """As the program does, without doing it. Raises typer.TyperException for what it would refuse."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("newsletter", globals_first(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


LINES = list(command_lines())


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0]}:{line[1]}")
def test_every_command_line_is_one_that_the_program_takes(line: tuple[str, int, list[str]]) -> None:
    parse(line[2])


def test_the_command_lines_were_found() -> None:
    found = {name: sum(one == name for one, *_ in LINES) for name, *_ in LINES}
    assert found.pop("docs/guide/deployment.md") > 15
    assert found.pop("docs/guide/many-machines.md") > 8
    assert found == {
        "deploy/Dockerfile": 1,
        "deploy/check-issues.yml": 2,
        "deploy/crontab": 2,
        "deploy/git/pull-and-approve": 1,
        "deploy/systemd/newsletter.service": 1,
        "deploy/systemd/newsletter-bounces.service": 1,
        "deploy/systemd/newsletter-once.service": 1,
        "deploy/systemd/newsletter-web.service": 1,
        "deploy/systemd/newsletter-worker.service": 1,
        "docs/guide/git-flow.md": 6,
    }
    with pytest.raises(typer.TyperException):
        parse(["run", "--twice"])


# systemd

#: The directives in use, by section: a misspelt one is ignored by systemd with no more than a line in its log.
KNOWN = {
    "Unit": "Description Wants After StartLimitIntervalSec",
    "Service": "Type User Group WorkingDirectory EnvironmentFile Environment ExecStart ExecReload ExecCondition"
    " KillMode TimeoutStartSec TimeoutStopSec SuccessExitStatus Restart RestartSec RestartPreventExitStatus UMask"
    " ProtectSystem ReadWritePaths ProtectHome PrivateTmp PrivateDevices ProtectClock ProtectHostname ProtectKernelLogs"
    " ProtectKernelModules ProtectKernelTunables ProtectControlGroups ProtectProc NoNewPrivileges"
    " CapabilityBoundingSet LockPersonality RestrictAddressFamilies RestrictNamespaces RestrictRealtime"
    " RestrictSUIDSGID RemoveIPC SystemCallArchitectures SystemCallFilter",
    "Timer": "OnCalendar AccuracySec OnBootSec OnUnitInactiveSec",
    "Path": "PathChanged",
    "Install": "WantedBy",
}


def unit(file: Path) -> dict[str, dict[str, str]]:
    """A unit file by sections; every directive in them at most once."""
    sections: dict[str, dict[str, str]] = {}
    for line in file.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            sections[heading[1]] = {}
            continue
        name, equals, value = line.partition("=")
        section = list(sections)[-1]
        assert equals, line
        assert name in KNOWN[section].split(), f"{file.name}: [{section}] {name}"
        assert name not in sections[section], f"{file.name}: {name} stands twice"
        sections[section][name] = value
    return sections


OURS = [file for file in UNITS if file.suffix == ".service" and "User=" in file.read_text("utf-8")]


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_a_unit_has_known_directives_and_what_starts_it_has_something_to_start(file: Path) -> None:
    sections = unit(file)
    assert sections["Unit"]["Description"].startswith("newsletter: ")
    if file.suffix == ".service":
        assert sections["Service"]["ExecStart"].startswith("/")
        restarts = sections["Service"].get("Restart") == "on-failure"
        assert restarts == ("Install" in sections)  # what runs always comes back, and comes with the machine
    else:
        assert file.with_suffix(".service") in UNITS
        assert "Install" in sections


def test_only_what_talks_to_systemd_itself_runs_as_root() -> None:
    assert {file.name for file in UNITS if file.suffix == ".service"} - {file.name for file in OURS} == {
        "newsletter-reload.service"
    }


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_a_service_writes_into_its_project_only_and_says_what_its_exit_codes_mean(file: Path) -> None:
    service = unit(file)["Service"]
    assert service["User"] == "newsletter"
    assert (service["ProtectSystem"], service["ReadWritePaths"]) == ("strict", service["WorkingDirectory"])
    assert (service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "")
    codes = {
        int(code) for key in ("SuccessExitStatus", "RestartPreventExitStatus") for code in service.get(key, "").split()
    }
    assert codes <= set(ExitCode)
    assert not codes & {ExitCode.OK, ExitCode.UNEXPECTED}
    assert ExitCode.TEMPORARY.value not in map(int, service.get("RestartPreventExitStatus", "").split())


@pytest.mark.parametrize("name", ["newsletter.service", "newsletter-once.service", "newsletter-worker.service"])
def test_a_send_has_the_time_to_drain(name: str) -> None:
    service = unit(DEPLOY / "systemd" / name)["Service"]
    assert service["KillMode"] == "mixed"  # SIGTERM is for the program alone
    assert seconds(service["TimeoutStopSec"]) > DRAIN


def test_the_daemon_is_told_to_read_its_settings_by_the_signal_that_it_hears() -> None:
    service = unit(DEPLOY / "systemd/newsletter.service")["Service"]
    assert (service["Type"], service["ExecReload"]) == ("simple", "/bin/kill -HUP $MAINPID")


def test_the_once_service_waits_for_its_send_and_fails_for_what_an_operator_must_mend() -> None:
    service = unit(DEPLOY / "systemd/newsletter-once.service")["Service"]
    assert (service["Type"], service["TimeoutStartSec"]) == ("oneshot", "infinity")
    fine = {int(code) for code in service["SuccessExitStatus"].split()}
    assert fine == {ExitCode.INCOMPLETE, ExitCode.TEMPORARY, ExitCode.INTERRUPTED}
    timer = unit(DEPLOY / "systemd/newsletter-once.timer")["Timer"]
    assert (timer["OnCalendar"], timer["AccuracySec"]) == ("minutely", "1s")


ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.parametrize("by", ["systemd-analyze" if ANALYZE else "own rules alone, for systemd-analyze is not here"])
def test_the_units_are_well_formed(by: str, tmp_path: Path) -> None:
    copies = []
    for file in UNITS:
        # the programs need not be installed on this machine
        text = re.sub(r"^(Exec\w+=)(/\S+)", rf"\1{sys.executable}", file.read_text("utf-8"), flags=re.MULTILINE)
        copies.append(tmp_path / file.name)
        copies[-1].write_text(text, "utf-8")
        assert unit(copies[-1])
    if ANALYZE and by == "systemd-analyze":
        done = subprocess.run([ANALYZE, "verify", "--man=no", *copies], capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "newsletter" in line]
        assert said == []


# cron, git


def test_every_line_of_the_crontab_is_one() -> None:
    lines = [line for line in (DEPLOY / "crontab").read_text("utf-8").splitlines() if line and line[0] != "#"]
    jobs = [line for line in lines if not re.fullmatch(r"[A-Z]+=\S*", line)]
    assert len(jobs) == 2
    for job in jobs:
        parse_cron(" ".join(job.split(maxsplit=5)[:5]))
        assert "%" not in job  # crontab(5): a line end
        assert job.endswith("2>&1 | logger -t newsletter")


def test_the_script_can_be_run_and_is_shell() -> None:
    script = DEPLOY / "git/pull-and-approve"
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["sh", "-n", script], check=True)


def test_the_workflow_may_read_only_and_puts_nothing_foreign_into_its_scripts() -> None:
    workflow = yaml.safe_load((DEPLOY / "check-issues.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    # YAML 1.1 reads `on` as a truth value
    assert set(workflow[True]["pull_request"]["paths"]) == {"issues/**", "templates/**", "config.toml"}
    [job] = workflow["jobs"].values()
    for step in job["steps"]:
        assert len({"run", "uses"} & set(step)) == 1
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
