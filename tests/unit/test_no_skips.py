"""The rule that no test may skip in CI, tried on a small suite of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RULE = Path(__file__).parents[1] / "no_skips.py"

SUITE = {
    "test_call.py": "import pytest\ndef test_inside(): pytest.skip('no browser 1')\n",
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='no browser 2')\ndef test_marked(): pass\n",
    "test_fixture.py": (
        "import pytest\n@pytest.fixture\ndef browser(): pytest.skip('no browser 3')\ndef test_asking(browser): pass\n"
    ),
    "test_expected.py": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_expected(): assert False\n",
    "test_sound.py": "def test_sound(): pass\n",
}
MODULE = "import pytest\npytest.skip('no browser 4', allow_module_level=True)\ndef test_one(): pass\n"


def run_suite(folder: Path, suite: dict[str, str], *, ci: str, workers: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(RULE, folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in suite.items():
        (folder / name).write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-n", workers, str(folder)],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_in_ci_a_skipped_test_fails_and_says_its_name_and_reason(tmp_path: Path, workers: str) -> None:
    done = run_suite(tmp_path, SUITE, ci="true", workers=workers)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    for name, reason in [("test_call.py::test_inside", 1), ("test_mark.py::test_marked", 2), ("test_fixture.py::", 3)]:
        [said] = {
            line for line in done.stdout.splitlines() if line.startswith(name) and "no test may skip here" in line
        }
        assert f"no browser {reason}" in said
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert "1 passed" in done.stdout.splitlines()[-1]
    assert "1 xfailed" in done.stdout.splitlines()[-1]


def test_in_ci_a_module_that_skips_itself_fails_the_session(tmp_path: Path) -> None:
    done = run_suite(tmp_path, {"test_module.py": MODULE}, ci="true", workers="0")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "test_module.py: no test may skip here" in done.stdout
    assert "no browser 4" in done.stdout


def test_elsewhere_tests_may_skip(tmp_path: Path) -> None:
    done = run_suite(tmp_path, {**SUITE, "test_module.py": MODULE}, ci="", workers="0")
    assert done.returncode == pytest.ExitCode.OK
    assert "1 passed, 4 skipped, 1 xfailed" in done.stdout
