"""What a command does not need, it does not load: that is most of the time that a short command takes.

Times are for benchmarks/startup.py; here stands what they come from.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer
from typer.core import TyperGroup

from newsletter.cli.announced import Announced
from newsletter.cli.app import app

ROOT = Path(__file__).parents[2]
#: Runs the command of its arguments, and prints what was loaded at the end of it.
LOADED = """
import contextlib, io, sys
from newsletter.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(*sys.modules)
"""
#: What `check` of an issue in plain text goes without; `--help` does, too.
NOT_FOR_CHECK = {
    "alembic", "apprise", "apscheduler", "cryptography", "css_inline", "dns", "email_validator", "fastapi", "flufl",
    "holidays", "httpx", "markdown_it", "multipart", "nh3", "prometheus_client", "psycopg", "requests", "rich",
    "sendgrid", "sqlalchemy", "starlette", "structlog", "uvicorn", "yaml",
    *(f"newsletter.{room}" for room in ("access", "alerts", "audience", "doctor", "events", "logs", "metrics",
                                        "providers", "schedule", "store", "web")),
}  # fmt: skip
#: What `--help` goes without beside that.
NOT_FOR_HELP = {"cssutils", "jinja2", "lxml", "mjml", "premailer", "pydantic", "tinycss2"}


def loaded(*arguments: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_help_loads_no_room_but_its_own_and_no_library_but_typer() -> None:
    modules = loaded("--help")
    assert "typer" in modules
    assert modules & (NOT_FOR_HELP | NOT_FOR_CHECK) == set()
    rooms = {name.split(".")[1] for name in modules if name.startswith("newsletter.")}
    assert rooms == {"cli", "errors"}
    # of the commands none
    assert "newsletter.cli.checking" not in modules


def test_check_loads_what_reads_renders_and_checks_an_issue_and_no_more() -> None:
    modules = loaded("check", "2026-01-07")
    assert {"premailer", "mjml", "newsletter.preflight.registry"} <= modules
    assert modules & NOT_FOR_CHECK == set()


def announced() -> dict[str, Announced]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {name: one for name, one in group.commands.items() if isinstance(one, Announced)}


def test_what_the_help_announces_is_what_each_command_says_of_itself() -> None:
    commands = announced()
    assert len(commands) > 20
    for name, one in commands.items():
        command = one.made()
        assert not command.hidden
        # the whole first paragraph: how much of it is shown depends on the terminal
        for width in (20, 55, 200):
            assert one.get_short_help_str(width) == command.get_short_help_str(width), name
