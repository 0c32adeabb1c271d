"""`newsletter web` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from projects import Project, _kept


@contextmanager
def web_process(project: Project, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and where it serves."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "newsletter", "web", "--port", "0", "--json", *arguments],
        cwd=project.folder,
        env=_kept(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            document: dict[str, Any] = json.loads(line)
            yield process, document["url"]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    with web_process(Project(tmp_path / "project")) as (process, url):
        assert httpx.get(url + "healthz").json() == {"status": "ok"}
        assert httpx.get(url + "readyz").json() == {"ready": True, "checks": {"database": "ok"}}
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err.strip()) == (0, "Ending.")


def test_a_port_that_is_taken_ends_it_with_3(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    with web_process(project) as (_, url):
        ended = project.run("web", "--port", url.rstrip("/").rpartition(":")[2])
    assert ended.code == 3
    assert "cannot be listened on: Address already in use" in ended.err
    assert "--port" in ended.err
