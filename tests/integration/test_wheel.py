"""The wheel is whole: built from a source distribution, installed into a clean environment, used outside a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from newsletter.project_files import Shipped, files_of

ROOT = Path(__file__).parents[2]

# All in one worker: the wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")


def clean_environment() -> dict[str, str]:
    """The variables of this process, without those that would let the checkout or its settings in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NEWSLETTER"))}


@dataclass(frozen=True)
class Installed:
    """A clean environment with the wheel in it, and an empty folder to work in."""

    wheel: Path
    sdist: Path
    bin: Path
    work: Path

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command of the environment in `work`, with nothing of the checkout in sight. Returns its stdout."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.work,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    tmp = tmp_path_factory.mktemp("wheel")
    source = tmp / "source"
    # A build writes into the tree it builds from; the checkout stays as it is.
    made_things = shutil.ignore_patterns(".*", "build", "dist", "out", "var", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=made_things)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp / "dist"), str(source)],
        check=True,
        capture_output=True,
    )
    [wheel], [sdist] = (tmp / "dist").glob("*.whl"), (tmp / "dist").glob("*.tar.gz")

    home = tmp / "venv"
    venv.create(home, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", f"--python={home}/bin/python"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, env=clean_environment())
    # Dependencies come from the environment of the tests. A plain path in a .pth file does not bring that
    # environment's own .pth files along, so its editable install of the checkout stays out of reach.
    [site] = home.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site / "dependencies.pth").write_text("\n".join(outer) + "\n")

    (tmp / "work").mkdir()
    return Installed(wheel, sdist, home / "bin", tmp / "work")


def test_the_wheel_carries_every_project_file_and_every_data_file(installed: Installed) -> None:
    carried = set(zipfile.ZipFile(installed.wheel).namelist())
    project = {f"newsletter/_project/{file.as_posix()}" for part in Shipped for file in files_of(part)}
    assert len(project) > 6
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "newsletter").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert carried - {name for name in carried if ".dist-info/" in name} == project | package


def test_the_wheel_carries_no_list_but_the_sample(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel, tarfile.open(installed.sdist) as sdist:
        contents = [wheel.namelist(), sdist.getnames()]
    for names in contents:
        assert [Path(name).name for name in names if name.endswith(".csv")] == ["daily-buzz.csv"]


def test_the_source_distribution_carries_every_file_of_deploy(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as sdist:
        carried = {name.partition("/")[2] for name in sdist.getnames() if not sdist.getmember(name).isdir()}
    made = {ROOT / "deploy/project", ROOT / "deploy/secrets"}
    ours = {file for file in (ROOT / "deploy").rglob("*") if file.is_file() and not made & set(file.parents)}
    assert len(ours) > 10
    assert {name for name in carried if name.startswith("deploy/")} == {str(file.relative_to(ROOT)) for file in ours}


def test_the_wheel_says_what_it_is(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        text = wheel.read(metadata).decode()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    assert "License-Expression: MIT\n" in text
    assert "Requires-Python: >=3.11\n" in text


def test_it_is_the_installed_package_that_runs(installed: Installed) -> None:
    where = installed.run("python", "-c", "import newsletter; print(newsletter.__file__)").strip()
    assert Path(where).is_relative_to(installed.bin.parent)


def test_init_check_and_a_dry_run_work_outside_a_checkout(installed: Installed) -> None:
    installed.run("newsletter", "init", "demo")
    project = installed.work / "demo"
    for part in Shipped:
        for file in files_of(part):
            if file.parts[:2] == ("templates", "preview"):  # the program's own page
                assert not (project / file).exists()
            else:
                assert (project / file).read_bytes() == (ROOT / file).read_bytes()

    # The package's own templates serve where the project has none.
    shutil.rmtree(project / "templates")
    checked = json.loads(installed.run("newsletter", "-c", "demo/config.toml", "check", "2026-01-07", "--json"))
    assert checked["issue"]["date"] == "2026-01-07"
    assert len(checked["issue"]["sections"]) == 5

    installed.run("newsletter", "-c", "demo/config.toml", "send", "2026-01-07", "--dry-run")
    out = project / "out" / "daily-buzz" / "2026-01-07"
    promised = {"index.html", "issue.html", "issue.txt", "messages", "recipients.csv", "summary.json"}
    assert promised <= {path.name for path in out.iterdir()}
    assert len(list((out / "messages").glob("*.eml"))) == 12

    installed.run("newsletter", "init", "demo", expect=5)
