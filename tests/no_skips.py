"""The rule that in CI no test may skip, as hooks of pytest."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

#: Set by `.ci/run`. A test that was skipped there has not been passed.
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}


def _fail_instead(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not IN_CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: no test may skip here ({reason})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one."""
    report = yield
    _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI so is a module that skips itself while it is collected."""
    report = yield
    _fail_instead(report)
    return report
