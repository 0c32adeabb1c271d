"""Issues by pull request: what docs/guide/git-flow.md promises of the check, and of the approval by merge."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SOON = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)
STORY = "Top News\nA harbour opens\nThe harbour opened today, after four years of work.\n"


@dataclass(frozen=True)
class Repositories:
    """An editor's checkout, the repository between, and the server's checkout."""

    editor: Path
    server: Path
    environment: dict[str, str]

    def sh(self, folder: Path, *command: str | Path, expect: int = 0, **more: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env={**self.environment, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def merge(self, file: str, text: str) -> None:
        """A change arrives on the branch that the server follows."""
        (self.editor / file).write_text(text, "utf-8")
        self.sh(self.editor, "git", "add", "--all")
        self.sh(self.editor, "git", "commit", "--quiet", "--message", file)
        self.sh(self.editor, "git", "push", "--quiet", "origin", "main")

    def pull(self, expect: int = 0) -> str:
        """The server takes what was merged."""
        return self.sh(self.server, DEPLOY / "git/pull-and-approve", expect=expect, PROJECT=str(self.server))

    def why_not(self) -> str:
        """Why the next issue does not go out, as the server sees it; '' where it does."""
        said = self.sh(self.server, "newsletter", "schedule", "list", "--count", "6", "--json")
        [slot] = [one for one in json.loads(said.splitlines()[0]) if one["date"] == SOON.isoformat()]
        return "" if slot["state"] == "ready" else slot["why"]


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/newsletter"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m newsletter "$@"\n')
    command.chmod(0o755)
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in
           (("NAME", "Anna"), ("EMAIL", "anna@example.com"))}  # fmt: skip
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("NEWSLETTER", "GIT_"))},
        **who,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(DEPLOY.parent),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    made = Repositories(tmp_path / "editor", tmp_path / "server", environment)
    made.sh(tmp_path, "git", "init", "--quiet", "--bare", "--initial-branch=main", "between")
    made.sh(tmp_path, "git", "init", "--quiet", "--initial-branch=main", "editor")
    made.sh(made.editor, "git", "remote", "add", "origin", str(tmp_path / "between"))
    made.sh(made.editor, "newsletter", "init")
    text = (made.editor / "config.toml").read_text("utf-8")
    for old, new in (
        ("enabled = false", "enabled = true"),
        ("require_approval = false", "require_approval = true"),
        ('days = ["mon", "tue", "wed", "thu", "fri"]', ""),
        ('provider = "disk"', 'provider = "smtp"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    made.merge("config.toml", text)
    made.sh(tmp_path, "git", "clone", "--quiet", "between", "server")
    return made


def issue(text: str = STORY) -> str:
    return f"Daily Buzz: {SOON.day} {SOON:%B %Y}\n{text}"


def test_a_merge_is_an_approval_and_nothing_else_is(repositories: Repositories) -> None:
    here, name = repositories, f"issues/{SOON}.txt"
    assert here.pull() == ""  # the sample issue is long past
    here.merge(name, issue())
    said = here.pull()
    assert f"approved  Daily Buzz: {SOON.day}" in said
    assert here.why_not() == ""
    assert here.pull() == ""  # nothing new

    # a file that nobody merged
    (here.server / name).write_text(issue(STORY + "Nobody saw this line before it went out.\n"), "utf-8")
    assert "approved" in here.why_not()
    here.merge("templates/digest/note.txt", "a further commit")
    assert "not merged" in here.pull(expect=5)
    assert "approved" in here.why_not()
    here.sh(here.server, "git", "checkout", "--quiet", ".")
    assert "approved" in here.pull()
    assert here.why_not() == ""

    # the mail changes with the settings
    text = (here.editor / "config.toml").read_text("utf-8")
    here.merge("config.toml", text.replace("1 Example Street", "2 Example Street"))
    here.sh(here.server, "git", "pull", "--quiet")
    assert "approved" in here.why_not()
    assert "approved" in here.pull()
    assert here.why_not() == ""


def test_an_issue_that_fails_its_checks_is_not_approved_until_another_merge_mends_it(
    repositories: Repositories,
) -> None:
    here, name = repositories, f"issues/{SOON}.txt"
    here.merge(name, f"Daily Buzz: 1 January 2020\n{STORY}")
    here.pull(expect=3)
    assert here.why_not() != ""
    assert here.pull() == ""  # said once
    here.merge(name, issue())
    assert "approved" in here.pull()


def test_a_program_that_is_not_there_approves_nothing_and_is_asked_again(repositories: Repositories) -> None:
    here = repositories
    here.merge(f"issues/{SOON}.txt", issue())
    command = Path(here.environment["PATH"].split(":")[0]) / "newsletter"
    kept = command.read_text()
    command.write_text("#!/bin/sh\nexit 75\n")
    here.pull(expect=75)
    command.write_text(kept)
    assert "approved" in here.pull()


@pytest.mark.parametrize(("text", "code"), [(STORY, 0), (STORY + "An Empty Section...\n", 1), (None, 0)])
def test_the_workflow_checks_the_issues_of_a_pull_request(
    repositories: Repositories, tmp_path: Path, text: str | None, code: int
) -> None:
    here = repositories
    config = (here.editor / "config.toml").read_text("utf-8")
    here.merge("config.toml", config.replace("http://localhost:8000", "https://news.example.com"))
    base = here.sh(here.editor, "git", "rev-parse", "HEAD").strip()
    if text is None:
        here.merge("config.toml", config.replace("http://localhost:8000", "https://www.example.com"))
    else:
        here.merge(f"issues/{SOON}.txt", issue(text))
    [job] = yaml.safe_load((DEPLOY / "check-issues.yml").read_text("utf-8"))["jobs"].values()
    scripts = [step["run"] for step in job["steps"] if "newsletter" in step.get("run", "")]
    variables = {"BASE": base, "RUNNER_TEMP": str(tmp_path)} | {
        name: value for name, value in job["env"].items() if name != "BASE"
    }
    checked, newest = scripts
    # as GitHub runs them: bash -e
    said = here.sh(here.editor, "bash", "-e", "-c", checked, expect=code, **variables)
    assert (f"issues/{SOON}.txt" in said) == (text is not None)
    assert "subject" in here.sh(here.editor, "bash", "-e", "-c", newest, **variables)
